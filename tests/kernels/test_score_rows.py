"""The scoring kernel against torch's log-softmax in float64; on a CPU through Triton's interpreter."""

import pytest
import torch

from bitlaw.sweep import score
from bitlaw.sweep.score import Tally, reference

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
pytest.importorskip("triton")


def logits(seed: int, dtype: torch.dtype, vocabulary: int = 700) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    made = 4.0 * torch.randn(2, 6, vocabulary, generator=generator)
    made[0, 1] = 3.0  # every logit the same: the first is the largest
    made[0, 2, 5] = 80.0  # one token takes all
    made[1, 0] -= 1e4
    return made.to(dtype).to(DEVICE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("vocabulary", [700, 5000])  # within one step of the walk, and over several
def test_equals_log_softmax(dtype: torch.dtype, vocabulary: int) -> None:
    from bitlaw.kernels.score_rows import score_rows

    base, variant = logits(1, dtype, vocabulary), logits(2, dtype, vocabulary)
    targets = torch.randint(0, vocabulary, (2, 5), generator=torch.Generator().manual_seed(3)).to(DEVICE)
    nats, kl, agree = score_rows(base[:, :5], variant[:, :5], targets)
    exact = [torch.log_softmax(x[:, :5].double(), -1) for x in (base, variant)]
    wanted = -exact[1].gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(nats.double(), wanted, rtol=1e-6, atol=2e-5)
    torch.testing.assert_close(kl.double(), (exact[0].exp() * (exact[0] - exact[1])).sum(-1), rtol=1e-5, atol=2e-5)
    first = [x[:, :5].float().cpu().argmax(-1) for x in (base, variant)]
    assert torch.equal(agree.cpu() == 1, first[0] == first[1])
    alone, none, all_agree = score_rows(None, variant[:, :5], targets)
    assert torch.equal(alone, nats)
    assert float(none.abs().max()) == 0.0
    assert bool((all_agree == 1).all())


def test_equal_logits_have_no_divergence() -> None:
    from bitlaw.kernels.score_rows import score_rows

    base = logits(1, torch.float32)
    _, kl, agree = score_rows(base, base.clone(), torch.zeros(2, 6, dtype=torch.int64, device=DEVICE))
    assert float(kl.abs().max()) < 1e-6
    assert bool((agree == 1).all())


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")  # numpy's, in the interpreter
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_row_that_is_not_finite_shows(bad: float) -> None:
    from bitlaw.kernels.score_rows import score_rows

    variant = logits(2, torch.float32)
    variant[1, 3, 7] = bad
    nats, _, _ = score_rows(None, variant, torch.zeros(2, 6, dtype=torch.int64, device=DEVICE))
    assert torch.isfinite(nats).logical_not().nonzero().tolist() == [[1, 3]]


def test_tallies_by_kernel_and_by_torch_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    base, variant = logits(1, torch.float32), logits(2, torch.float32)
    ids = torch.randint(0, 700, (2, 6), generator=torch.Generator().manual_seed(4)).to(DEVICE)
    tallies = []
    for by_kernel in (False, True):
        monkeypatch.setattr(score, "available", lambda device, chosen=by_kernel: chosen)
        truth = reference(base, ids)
        assert truth.by_kernel is by_kernel
        tally = Tally()
        tally.add(variant, truth)
        tallies.append(tally)
    assert tallies[0].agreements == tallies[1].agreements
    assert tallies[0].windows == tallies[1].windows == 2
    for name in ("nats", "baseline_nats", "kl_nats", "nats_squared", "difference_squared", "difference_tokens"):
        assert getattr(tallies[1], name) == pytest.approx(getattr(tallies[0], name), rel=1e-5)
