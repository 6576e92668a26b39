"""Critical tokens: the numeric turn equals a brute-force grid and, for laws of that form, Kumar's closed form."""

import math
from dataclasses import replace

import numpy as np
import pytest

from bitlaw.errors import InputError
from bitlaw.fit import fit
from bitlaw.laws import load_law
from bitlaw.predict import critical_tokens
from bitlaw.predict.critical import FLAT
from bitlaw.predict.crossing import turning_point
from tests.fit.simulated import EXACT, FEW

LOSS = {"Nc": 1e10, "aN": 0.1, "Dc": 1e6, "aD": 0.3}


def total(n: float, bits: int, tokens: np.ndarray, loss: str = "ouyang2024-loss") -> np.ndarray:
    columns = {"parameters": n, "tokens": tokens, "bits": bits}
    laws = [load_law(loss), load_law(f"ouyang2024-{bits}bit")]
    return sum(law.evaluate(law.constants().values, columns) for law in laws)


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("n", [85e6, 1e9, 70e9])
def test_brute_force_grid(n: float, bits: int) -> None:
    tokens = np.geomspace(1e8, 1e14, 600_001)  # steps of 2.3e-5 in ln D
    values = total(n, bits, tokens)
    answer = critical_tokens(n, bits)
    assert answer.value == pytest.approx(tokens[np.argmin(values)], rel=1e-4)
    assert answer.quantized_loss == pytest.approx(float(values.min()), abs=1e-9)
    assert answer.baseline_loss + answer.qid == pytest.approx(answer.quantized_loss)
    flat = tokens[values <= values.min() + FLAT]
    assert (answer.flat_from, answer.flat_to) == pytest.approx((flat[0], flat[-1]), rel=1e-4)
    assert answer.closed_form is None
    assert answer.interval.low < answer.value < answer.interval.high


@pytest.mark.parametrize("setting", ["printed", "with bias"])
@pytest.mark.parametrize("bits", [3, 4, 5])
def test_kumar_in_closed_form(setting: str, bits: int) -> None:
    law = load_law("kumar2024-critical-tokens")
    exact = float(law.evaluate(law.constants(setting).values, {"parameters": 1e8, "bits": float(bits)}))
    answer = critical_tokens(1e8, bits, law=f"kumar2024-ptq@{setting}")
    assert answer.loss_source.startswith("chinchilla2022-loss@kumar2024")
    assert answer.closed_form == pytest.approx(exact, rel=1e-6)
    assert answer.value == pytest.approx(exact, rel=1e-5)


def test_more_bits_and_larger_models_can_train_longer() -> None:
    found = {(n, bits): critical_tokens(n, bits).value for n in (1e9, 7e9) for bits in (2, 3, 4)}
    assert found[1e9, 2] < found[1e9, 3] < found[1e9, 4]
    assert all(found[1e9, bits] < found[7e9, bits] for bits in (2, 3, 4))


def test_the_measured_valley_of_12b_at_2_bits() -> None:
    """Figure 2 of the paper: 12B at 2 bits is best near 3 to 4e10 tokens; the interval reaches there."""
    answer = critical_tokens(11_327_027_200, 2)
    assert answer.interval.low < 3.5e10 < 2 * answer.interval.high
    assert answer.inside


def test_given_tokens_are_compared() -> None:
    assert critical_tokens(7e9, 3, tokens=1e12).ratio == pytest.approx(critical_tokens(7e9, 3).value / 1e12)


def test_fits_of_both_laws_answer() -> None:
    exact = replace(FEW, **EXACT)
    generator = np.random.default_rng(0)
    ours = fit("ouyang2024-unified", exact.draw(generator), starts=2)
    losses = fit("ouyang2024-loss", replace(exact, law="ouyang2024-loss", truth=LOSS).draw(generator), starts=2)
    answer = critical_tokens(1e5, 2, law=ours, loss_law=losses)
    tokens = np.geomspace(1e4, 1e9, 400_001)
    columns = {"parameters": 1e5, "tokens": tokens, "bits": 2.0}
    values = ours.predict(columns) + losses.predict(columns)
    assert answer.value == pytest.approx(tokens[np.argmin(values)], rel=1e-4)
    with pytest.raises(InputError, match="need a law of the 16-bit loss: no loss law given"):
        critical_tokens(1e5, 2, law=ours)


def test_a_loss_that_never_turns_is_said() -> None:
    flat = fit(
        "ouyang2024-unified", replace(FEW, **EXACT).draw(np.random.default_rng(0)), fixed={"beta": 0.0}, starts=2
    )
    with pytest.raises(InputError, match="never gets worse with training"):
        critical_tokens(1e5, 4, law=flat, loss_law="ouyang2024-loss")


def test_strict_refuses_outside_the_range_of_either_law() -> None:
    assert critical_tokens(1e9, 3, strict=True).inside
    with pytest.raises(InputError, match=r"parameters 7e\+10 is 6.2x beyond"):
        critical_tokens(70e9, 2, strict=True)
    with pytest.raises(InputError, match="strict was asked for"):
        critical_tokens(1e9, 2, loss_law="chinchilla2022-loss@kumar2024", strict=True)


def test_a_turn_needs_a_rise() -> None:
    assert turning_point(lambda x: (np.log(x) - 3.0) ** 2, 0.01) == pytest.approx(math.exp(3.0), rel=1e-6)
    assert math.isinf(turning_point(lambda x: -np.log(x), 0.01))
    ripple = turning_point(lambda x: (np.log(x) - 30.0) ** 2 / 100 + 1e-3 * np.sin(3 * np.log(x)), 0.01)
    assert abs(math.log(ripple) - 30.0) < 1.5


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"parameters": 7}, "7e9 for 7 billion"),
        ({"bits": 0}, "bits=0"),
        ({"tokens": -1.0}, "tokens=-1"),
        ({"loss_law": "none"}, "none asked for"),
        ({"loss_law": "ouyang2024-unified"}, "not baseline_loss"),
        ({"law": "ouyang2024-loss"}, "needs qid from tokens"),
        ({"law": "kumar2024-ptq@biased"}, "biased"),
    ],
)
def test_impossible_questions_are_refused(asked: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        critical_tokens(**{"parameters": 1e9, "bits": 2, **asked})
