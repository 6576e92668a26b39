"""Files that are no fit, or from a newer bitlaw, are refused in words."""

import json
from pathlib import Path

import numpy as np
import pytest

from bitlaw.errors import InputError
from bitlaw.fit import Fit, fit
from tests.fit.simulated import FEW


@pytest.fixture(scope="module")
def result() -> Fit:
    return fit("ouyang2024-unified", FEW.draw(np.random.default_rng(1)), starts=1)


def test_a_fit_is_written_to_a_file_and_read_back(result: Fit, tmp_path: Path) -> None:
    path = tmp_path / "fit.json"
    result.to_json(path)
    assert Fit.from_json(path).to_dict() == result.to_dict()


def test_a_newer_fit_is_refused(result: Fit) -> None:
    with pytest.raises(InputError, match=r"reads up to 3\. Upgrade"):
        Fit.from_dict({**result.to_dict(), "bitlaw_fit": 4})


@pytest.mark.parametrize("text", ["{}", "[1, 2]", "not json", '{"law": "x"}'])
def test_other_files_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="bitlaw fit"):
        Fit.from_json(text)


def test_a_damaged_fit_is_refused(result: Fit) -> None:
    content = result.to_dict()
    del content["scatter"]
    with pytest.raises(InputError, match="damaged"):
        Fit.from_dict(content)
    with pytest.raises(InputError, match="damaged"):
        Fit.from_dict({**result.to_dict(), "surprise": 1})


def test_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Cannot read the fit"):
        Fit.from_json(tmp_path / "none.json")


def test_json_is_strict(result: Fit) -> None:
    """No NaN or Infinity, which other readers refuse: the infinite freedom of normal noise is a string."""
    content = json.loads(result.to_json(), parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    assert content["scatter"]["freedom"] == "inf"
    assert Fit.from_dict(content).scatter.freedom == np.inf
