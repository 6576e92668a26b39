"""Small random models for the sweep's tests, weights large enough that quantization matters."""

import torch
from torch import nn
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, LlamaConfig, LlamaForCausalLM

VOCABULARY = 96


def gpt_neox(parallel: bool = True) -> nn.Module:
    torch.manual_seed(0)
    return _amplified(
        GPTNeoXForCausalLM(
            GPTNeoXConfig(
                vocab_size=VOCABULARY,
                hidden_size=32,
                num_hidden_layers=3,
                num_attention_heads=4,
                intermediate_size=64,
                max_position_embeddings=64,
                use_parallel_residual=parallel,
            )
        )
    )


def llama() -> nn.Module:
    torch.manual_seed(0)
    return _amplified(
        LlamaForCausalLM(
            LlamaConfig(
                vocab_size=VOCABULARY,
                hidden_size=32,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                intermediate_size=64,
                max_position_embeddings=64,
            )
        )
    )


FAMILIES = {"gpt_neox": gpt_neox, "gpt_neox_serial": lambda: gpt_neox(False), "llama": llama}


def _amplified(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(4.0)
    return model.eval()


def windows(count: int, length: int, seed: int) -> torch.Tensor:
    return torch.randint(0, VOCABULARY, (count, length), generator=torch.Generator().manual_seed(seed))
