"""Reading block by block onto a GPU: the numbers of the model that is there whole, in a fraction of the memory."""

from contextlib import closing
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from bitlaw.quantize import make_variant
from bitlaw.records import Variant
from bitlaw.suites.streamed import StreamedModel
from bitlaw.sweep import sweep
from tests.sweep.families import FAMILIES
from tests.sweep.test_families import CALIBRATION, EVALUATION

pytestmark = pytest.mark.gpu
VARIANTS = [Variant(), make_variant("nearest", "int3_g16"), make_variant("gptq", "int4_g16")]


@pytest.mark.parametrize("family", ["gpt2", "llama3", "gemma2", "mixtral", "qwen2_moe", "gpt_oss"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_same_numbers(family: str, dtype: torch.dtype, tmp_path: Path) -> None:
    FAMILIES[family].make().save_pretrained(tmp_path, max_shard_size="20KB")
    resident = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=dtype).cuda().eval()
    whole = sweep(resident, VARIANTS, EVALUATION, CALIBRATION, batch_windows=3)
    with closing(StreamedModel(tmp_path, "cuda", dtype)) as streamed:
        parts = sweep(streamed, VARIANTS, EVALUATION, CALIBRATION, batch_windows=3)
    for ours, theirs in zip(parts, whole, strict=True):
        assert ours.seen.state == theirs.seen.state == "ok"
        # Kernels may sum in another order from run to run.
        assert ours.seen.nats == pytest.approx(theirs.seen.nats, rel=1e-3 if dtype == torch.bfloat16 else 1e-5)


def test_memory_is_that_of_a_block(tmp_path: Path) -> None:
    big = FAMILIES["llama3"].make(num_hidden_layers=12, hidden_size=512, intermediate_size=2048)
    big.save_pretrained(tmp_path)
    total = sum(p.numel() * 4 for p in big.parameters())
    block = sum(p.numel() * 4 for p in big.model.layers[0].parameters())
    del big
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    with closing(StreamedModel(tmp_path, "cuda", torch.float32)) as streamed:
        sweep(streamed, [Variant(), make_variant("nearest", "int4_g128")], EVALUATION)
    peak = torch.cuda.max_memory_allocated() - before
    assert peak < 6 * block < total
