"""The loss of a model quantized with the kernels is that of the torch code, within 1e-4 nats a token."""

import pytest
import torch

from bitlaw.kernels import gptq_columns, grouped
from bitlaw.quantize import make_variant
from bitlaw.sweep import sweep
from tests.sweep.models import FAMILIES, windows

pytest.importorskip("triton")
pytestmark = pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")  # the interpreter's own arithmetic
SEARCH = {"upstream": "full_precision", "damping_rule": "search", "micro_block": 16}
VARIANTS = [
    ("nearest", "mxfp4_e2m1_k16", {}),
    ("nearest", "nf4_g32", {}),
    ("nearest", "int3_g16_mse", {}),
    ("gptq", "int3_g16", {"upstream": "full_precision"}),
    ("gptq", "nvfp4_k16", {"upstream": "full_precision"}),
    ("gptq", "nf4_g16", {"upstream": "full_precision"}),
    ("gptq", "mxint3_k16", SEARCH),
    ("gptq", "mxfp4_e2m1_k16", SEARCH),
]


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_the_loss_is_the_same(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.backends.cuda.matmul.allow_tf32 = False
    evaluation, calibration = windows(32, 24, seed=1), windows(40, 24, seed=2)
    variants = [make_variant(*asked) for asked in VARIANTS]
    if device == "cpu":  # the interpreter runs programs one after the other
        monkeypatch.setattr("bitlaw.kernels.gptq_block.launch", lambda *_: (256, 1))
    seen = {}
    for there in (False, True):
        for room in (gptq_columns, grouped):
            monkeypatch.setattr(room, "available", lambda _, there=there: there)
        seen[there] = [one.seen for one in sweep(FAMILIES["llama"]().to(device), variants, evaluation, calibration)]
    for plain, kernel in zip(seen[False], seen[True], strict=True):
        assert plain.state == kernel.state == "ok"
        assert kernel.nats / kernel.tokens_scored == pytest.approx(plain.nats / plain.tokens_scored, abs=1e-4)
        assert kernel.weight_kernel == pytest.approx(plain.weight_kernel, abs=1e-4)
