"""Models of known shapes with random weights, random token ids, and a GPU's ceilings: what the GPU benchmarks share."""

import time
from collections.abc import Callable
from typing import Any

import torch


def config(shape: str, layers: int = 0) -> Any:
    """Return the transformers config of a shape; `layers` keeps so many blocks, 0 all."""
    from transformers import GPTNeoXConfig, LlamaConfig

    neox = {  # width, layers, heads, as EleutherAI published them
        "pythia-14m": (128, 6, 4),
        "pythia-31m": (256, 6, 8),
        "pythia-70m": (512, 6, 8),
        "pythia-160m": (768, 12, 12),
        "pythia-410m": (1024, 24, 16),
        "pythia-1b": (2048, 16, 8),
        "pythia-1.4b": (2048, 24, 16),
        "pythia-2.8b": (2560, 32, 32),
        "pythia-6.9b": (4096, 32, 32),
        "pythia-12b": (5120, 36, 40),
    }
    llama = {  # width, layers, heads, key-value heads, feed-forward, vocabulary
        "llama-3-8b": (4096, 32, 32, 8, 14336, 128256),
        "llama-3-70b": (8192, 80, 64, 8, 28672, 128256),
        "llama-tiny": (128, 80, 4, 2, 256, 512),
    }
    if shape in neox:
        width, depth, heads = neox[shape]
        return GPTNeoXConfig(
            vocab_size=50304,
            hidden_size=width,
            num_hidden_layers=layers or depth,
            num_attention_heads=heads,
            intermediate_size=4 * width,
            max_position_embeddings=2048,
        )
    width, depth, heads, groups, mlp, vocabulary = llama[shape]
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=layers or depth,
        num_attention_heads=heads,
        num_key_value_heads=groups,
        intermediate_size=mlp,
        max_position_embeddings=8192,
        tie_word_embeddings=False,
    )


def random_model(shape: str, device: str = "cuda", layers: int = 0) -> Any:
    """Return the model in bfloat16 with transformers' own random weights."""
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    with torch.device(device):
        return AutoModelForCausalLM.from_config(config(shape, layers), dtype=torch.bfloat16).eval()


def random_ids(windows: int, length: int, vocabulary: int, seed: int) -> torch.Tensor:
    return torch.randint(0, vocabulary, (windows, length), generator=torch.Generator().manual_seed(seed))


def seconds(work: Callable[[], Any]) -> float:
    """Return the wall time of one call, the GPU's work included."""
    torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - started


def rate(a: torch.Tensor, b: torch.Tensor, repeats: int = 10) -> float:
    """Return FLOP/s of a matrix product of square matrices."""
    for _ in range(3):
        a @ b
    took = seconds(lambda: [a @ b for _ in range(repeats)])
    return 2.0 * len(a) ** 3 * repeats / took


def ceilings() -> dict[str, float]:
    """Return this GPU's measured rates: FLOP/s in bfloat16 and float32 products, bytes/s of a copy, Cholesky FLOP/s."""
    torch.backends.cuda.matmul.allow_tf32 = False
    generator = torch.Generator("cuda").manual_seed(0)
    square = torch.randn(8192, 8192, device="cuda", generator=generator)
    half = square.bfloat16()
    big = torch.empty(1 << 31, dtype=torch.uint8, device="cuda")
    other = torch.empty_like(big)
    other.copy_(big)
    copy = seconds(lambda: [other.copy_(big) for _ in range(10)])
    positive = square @ square.T / 8192 + torch.eye(8192, device="cuda")
    torch.linalg.cholesky(positive)
    factor = seconds(lambda: torch.linalg.cholesky(positive))
    return {
        "bf16": rate(half, half.T.contiguous()),
        "fp32": rate(square, square.T.contiguous()),
        "copy": 2.0 * big.numel() * 10 / copy,
        "cholesky": 8192.0**3 / 3 / factor,
    }


def linear_shapes(shape: str) -> tuple[list[tuple[int, list[int]]], int]:
    """Return (in, [out, ...]) of each distinct input of a block, and the number of blocks."""
    made = config(shape)
    width, mlp = made.hidden_size, made.intermediate_size
    if "pythia" in shape:
        groups = [(width, [3 * width]), (width, [width]), (width, [mlp]), (mlp, [width])]
    else:
        narrow = width // made.num_attention_heads * made.num_key_value_heads
        groups = [(width, [width, narrow, narrow]), (width, [width]), (width, [mlp, mlp]), (mlp, [width])]
    return groups, made.num_hidden_layers


def block_parameters(shape: str) -> int:
    groups, _ = linear_shapes(shape)
    return sum(columns * sum(rows) for columns, rows in groups)


def environment() -> str:
    import transformers

    name = torch.cuda.get_device_name()
    return f"{name}, torch {torch.__version__}, transformers {transformers.__version__}"
