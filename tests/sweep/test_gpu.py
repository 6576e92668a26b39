"""The sweep on a GPU gives the CPU's numbers."""

import pytest
import torch

from bitlaw.quantize import make_variant
from bitlaw.records import Variant
from bitlaw.sweep import sweep
from tests.sweep.models import FAMILIES, windows

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("family", FAMILIES)
def test_cpu_and_gpu_agree(family: str) -> None:
    evaluation, calibration = windows(32, 24, seed=1), windows(40, 24, seed=2)
    variants = [
        Variant(),
        make_variant("nearest", "int3_g16"),
        make_variant("gptq", "int4_g16"),
        make_variant("gptq", "int3_g32_sym", {"order": "activation"}),
        make_variant("gptq", "int2_g16", {"upstream": "full_precision", "scales": "static"}),
    ]
    torch.backends.cuda.matmul.allow_tf32 = False
    on_cpu = sweep(FAMILIES[family](), variants, evaluation, calibration)
    on_gpu = sweep(FAMILIES[family]().cuda(), variants, evaluation, calibration)
    for a, b in zip(on_cpu, on_gpu, strict=True):
        assert a.seen.state == b.seen.state == "ok"
        tokens = a.seen.tokens_scored
        assert abs(a.seen.nats - b.seen.nats) / tokens < (2e-5 if a.variant.method != "gptq" else 3e-3)
        spread = (a.seen.difference_squared / a.seen.windows) ** 0.5 * a.seen.windows**0.5 / tokens
        assert abs(a.seen.nats - b.seen.nats) / tokens <= 2 * spread + 2e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_probes_lie_at_the_same_points_and_have_the_same_taylor_terms(family: str) -> None:
    """Directions are drawn on the CPU, so a GPU moves the weights by the very same numbers."""
    evaluation = windows(16, 24, seed=1)
    variants = [
        make_variant("perturb_random", "none", {"snr_db": 10.0, "taylor": True}),
        make_variant("perturb_random", "none", {"snr_db": 0.0, "seed": 1}),
        make_variant("perturb_along", "mxint3_k16", {"offset_db": -1.0}),
    ]
    torch.backends.cuda.matmul.allow_tf32 = False
    on_cpu = [s.seen for s in sweep(FAMILIES[family](), variants, evaluation)]
    on_gpu = [s.seen for s in sweep(FAMILIES[family]().cuda(), variants, evaluation)]
    for a, b in zip(on_cpu, on_gpu, strict=True):
        assert a.state == b.state == "ok"
        assert a.sqnr_db == pytest.approx(b.sqnr_db, abs=1e-4)
        assert a.nats / a.tokens_scored == pytest.approx(b.nats / b.tokens_scored, abs=2e-5)
    assert on_cpu[0].gradient_along == pytest.approx(on_gpu[0].gradient_along, rel=1e-3, abs=1e-6)
    assert on_cpu[0].curvature_along == pytest.approx(on_gpu[0].curvature_along, rel=1e-2, abs=1e-6)


@pytest.mark.parametrize("device", ["cuda:0", "cuda:1"])
def test_the_kernels_run_where_their_tensors_are(device: str) -> None:
    """Triton launches on the current GPU: a sweep on another one has to say so."""
    if torch.device(device).index >= torch.cuda.device_count():
        pytest.skip("needs two GPUs")
    evaluation, calibration = windows(32, 24, seed=1), windows(40, 24, seed=2)
    variants = [
        Variant(),
        make_variant("nearest", "mxint3_k16"),
        make_variant("nearest", "nf4_g32"),
        make_variant("gptq", "int4_g16", {"upstream": "full_precision"}),
    ]
    here = sweep(FAMILIES["llama"]().cuda(), variants, evaluation, calibration)
    there = sweep(FAMILIES["llama"]().to(device), variants, evaluation, calibration)
    for a, b in zip(here, there, strict=True):
        assert a.seen.nats == pytest.approx(b.seen.nats, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_compiled_and_eager_agree(dtype: torch.dtype) -> None:
    evaluation, calibration = windows(32, 24, seed=1), windows(40, 24, seed=2)
    variants = [
        Variant(),
        make_variant("nearest", "int3_g16"),
        make_variant("gptq", "int4_g16", {"upstream": "full_precision"}),
    ]
    eager, compiled = (
        sweep(FAMILIES["llama"]().cuda().to(dtype), variants, evaluation, calibration, batch_windows=12, compile=how)
        for how in ("no", "yes")
    )
    within = 1e-4 if dtype == torch.float32 else 2e-2
    for a, b in zip(eager, compiled, strict=True):
        assert (b.compiled, b.notes) == (True, "")
        assert a.seen.nats / a.seen.tokens_scored == pytest.approx(b.seen.nats / b.seen.tokens_scored, abs=within)
