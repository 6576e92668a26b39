"""Tables joined: common columns, all rows, what was left out added up; and a holdout of one's own."""

import numpy as np
import pytest

from bitlaw.errors import InputError
from bitlaw.fit import Holdout, Table, compare, joined, public_table

ONE = Table(columns={"tokens": [1.0, 2.0], "suite": ["a", "a"], "bits": [2.0, 3.0]}, source="one", left_out={"old": 1})
TWO = Table(columns={"suite": ["b"], "tokens": [3.0]}, source="two", left_out={"old": 2}, warnings=("odd",))


def test_common_columns_and_all_rows() -> None:
    both = joined([ONE, TWO])
    assert list(both.columns) == ["tokens", "suite"]
    np.testing.assert_array_equal(both["tokens"], [1.0, 2.0, 3.0])
    assert both["suite"].tolist() == ["a", "a", "b"]
    assert (both.source, both.left_out, both.warnings) == ("one and two", {"old": 3}, ("odd",))


def test_nothing_to_join_is_said() -> None:
    with pytest.raises(InputError, match="at least one table"):
        joined([])
    with pytest.raises(InputError, match="one, x have no column in common"):
        joined([ONE, Table(columns={"kl": [0.0]}, source="x")])


def test_a_holdout_of_ones_own_leaves_out_its_rows() -> None:
    """BLOOM predicts OPT: the same numbers as by hand."""
    table = public_table("opt-bloom").where(method="gptq", bits=4)
    out = table["family"] == "opt"
    found = compare(["ouyang2024-size"], table, [Holdout(name="family", words="OPT", turns=(out,))], baselines=False)
    row = found.of("ouyang2024-size", "family")
    assert (row.tested, found.holdouts) == (int(out.sum()), {"family": "OPT"})
    assert found.closest("family") == found.best("family") == row
    from bitlaw.fit import fit

    by_hand = fit("ouyang2024-size", table.take(~out)).predict({"parameters": table["parameters"][out]})
    assert row.log_error == pytest.approx(float(np.sqrt(np.mean(np.log(by_hand / table["qid"][out]) ** 2))))
    with pytest.raises(InputError, match="No law has scores on holdout 'bits'"):
        found.closest("bits")
