"""Tables: from measurements and CSV, what is left out and why, filters, groups, and clear words about bad input."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bitlaw.errors import InputError, UnknownName
from bitlaw.fit import Table
from bitlaw.records import Asked, Checkpoint, Measurement, Seen, TextSet, Variant

GOOD = "model,parameters,tokens,bits,qid\na,1e8,1e9,2,0.5\na,1e8,1e10,2,0.9\nb,1e9,1e9,4,-0.001\n"


def measurement(step: int = 10, method: str = "gptq", bits: float = 2.0, qid: float = 0.5, **changes) -> Measurement:
    checkpoint = Checkpoint(
        suite="tiny", model="m", step=step, commit="c", family="gpt_neox", parameters=25_000, tokens=step * 1000
    )
    variant = Variant() if method == "none" else Variant(method=method, format=f"int{bits:g}_g128", bits=bits)
    text = TextSet(name="t", token_hash="h", windows=2, window_tokens=101)
    seen = Seen(
        windows=2,
        tokens_scored=200,
        tokens_squared=20_000.0,
        nats=800.0 + 200 * qid,
        nats_squared=1.0,
        nats_tokens=1.0,
        baseline_nats=800.0,
        difference_squared=(100 * qid + 1) ** 2 + (100 * qid - 1) ** 2,
        difference_tokens=100.0 * 200 * qid,
    )
    asked = Asked(checkpoint=checkpoint, variant=variant, calibration=text, evaluation=text)
    built = Measurement(asked=asked, seen=seen)
    if "checkpoint" in changes:
        asked = replace(asked, checkpoint=replace(checkpoint, **changes["checkpoint"]))
    return replace(built, asked=asked, seen=replace(seen, **changes.get("seen", {})))


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.csv"
    path.write_text(text)
    return path


def test_measurements_become_rows_with_their_paired_error() -> None:
    table = Table.from_measurements([measurement(qid=0.5), measurement(step=20, qid=-0.01)])
    np.testing.assert_allclose(table["qid"], [0.5, -0.01])
    np.testing.assert_allclose(table["baseline_loss"], [4.0, 4.0])
    np.testing.assert_allclose(table["loss"], [4.5, 3.99])
    # windows of 100 tokens whose differences are 1 nat above and below the mean: se = sqrt(2 * 2) / 200
    np.testing.assert_allclose(table["qid_se"], [0.01, 0.01])
    assert table["checkpoint"].tolist() == ["tiny/m@10", "tiny/m@20"]
    assert table["format"].tolist() == ["int2_g128", "int2_g128"]


def test_what_is_left_out_is_counted_with_its_reason() -> None:
    table = Table.from_measurements(
        [
            measurement(),
            measurement(method="none"),
            measurement(seen={"state": "failed", "reason": "loss is NaN"}),
            measurement(checkpoint={"tokens": None}),
            measurement(seen={"nats": float("inf")}),
        ]
    )
    assert len(table) == 1
    assert table.left_out == {
        "unquantized baselines": 1,
        "failed: loss is NaN": 1,
        "checkpoints whose tokens or parameters are unknown or 0": 1,
        "rows whose QiD is not finite": 1,
    }


def test_nothing_to_fit_says_what_there_was() -> None:
    with pytest.raises(InputError, match="1 unquantized baselines"):
        Table.from_measurements([measurement(method="none")])
    with pytest.raises(InputError, match="there were no measurements"):
        Table.from_measurements([])


def test_csv_is_read_with_its_own_or_mapped_names(tmp_path: Path) -> None:
    plain = Table.from_csv(write(tmp_path, GOOD))
    mapped = Table.from_csv(
        write(tmp_path, GOOD.replace("parameters", "N").replace("tokens", "D")),
        names={"N": "parameters", "D": "tokens"},
    )
    for name in plain.columns:
        np.testing.assert_array_equal(plain[name], mapped[name])
    assert plain["qid"].tolist() == [0.5, 0.9, -0.001]
    assert plain["model"].tolist() == ["a", "a", "b"]


def test_missing_columns_are_named_with_near_matches(tmp_path: Path) -> None:
    text = GOOD.replace("parameters", "params").replace("qid", "delta")
    with pytest.raises(InputError, match=r"lacks columns 'parameters' .*is it 'params'\?.*'qid'.*Its columns: model"):
        Table.from_csv(write(tmp_path, text))


def test_other_required_columns_can_be_named(tmp_path: Path) -> None:
    text = "parameters,tokens,baseline_loss\n1e8,1e9,3.5\n"
    assert len(Table.from_csv(write(tmp_path, text), required=("parameters", "tokens", "baseline_loss"))) == 1


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("a,0,1e9,2,.5", "line 5: parameters is 0"),
        ("a,1e8,-1e9,2,.5", "line 5: tokens is -1e"),
        ("a,nan,1e9,2,.5", "line 5: parameters is nan"),
        ("a,1e8,,2,.5", "line 5: tokens is nan"),
        ("a,1e8,1e9,0,.5", "line 5: bits is 0"),
        ("a,1e8,1e9,2,inf", "line 5: qid is infinite"),
        ("a,1e8,many,2,.5", "line 5: tokens is 'many', which is not a number"),
        ("a,1e8,1e9,2", "line 5: 4 values under 5"),
    ],
)
def test_impossible_values_are_found_by_line(tmp_path: Path, row: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Table.from_csv(write(tmp_path, GOOD + row + "\n"))


def test_negative_standard_errors_are_refused(tmp_path: Path) -> None:
    text = "parameters,tokens,bits,qid,qid_se\n1e8,1e9,2,.5,-1\n"
    with pytest.raises(InputError, match="standard error cannot be negative"):
        Table.from_csv(write(tmp_path, text))


def test_a_row_without_a_measurement_is_left_out_and_counted(tmp_path: Path) -> None:
    table = Table.from_csv(write(tmp_path, GOOD + "a,1e8,1e11,2,\n"))
    assert len(table) == 3
    assert table.left_out == {"rows without qid": 1}


def test_unreadable_files_are_input_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Cannot read"):
        Table.from_csv(tmp_path / "none.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(InputError, match="Cannot read"):
        Table.from_csv(tmp_path / "binary.csv")
    with pytest.raises(InputError, match="lacks columns"):
        Table.from_csv(write(tmp_path, ""))
    with pytest.raises(InputError, match="no usable row"):
        Table.from_csv(write(tmp_path, GOOD.splitlines()[0] + "\n"))
    with pytest.raises(InputError, match="names column 'qid' twice"):
        Table.from_csv(write(tmp_path, "parameters,tokens,bits,qid,qid\n"))


@pytest.mark.parametrize("name", ["parameters", "tokens"])
def test_counts_in_billions_are_refused(tmp_path: Path, name: str) -> None:
    rows = {"parameters": "1e8", "tokens": "1e9", name: "7"}
    text = f"parameters,tokens,bits,qid\n{rows['parameters']},{rows['tokens']},2,.5\n"
    with pytest.raises(InputError, match=f"{name} is at most 7: that looks like millions, billions"):
        Table.from_csv(write(tmp_path, text))


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("6900,3e11,2,.5", "parameters is at most 6900"),
        ("6.9e9,300000,2,.5", "tokens / parameters"),
        ("1e8,1e10,2,35", "percent or perplexity"),
        ("1e8,1e10,64,.1", "bits reach 64"),
    ],
)
def test_unlikely_units_are_warned_about(tmp_path: Path, row: str, words: str) -> None:
    table = Table.from_csv(write(tmp_path, f"parameters,tokens,bits,qid\n{row}\n"))
    assert any(words in warning for warning in table.warnings), table.warnings


def test_likely_units_raise_no_warning(tmp_path: Path) -> None:
    assert Table.from_csv(write(tmp_path, GOOD)).warnings == ()


def test_where_filters_by_value_and_by_several(tmp_path: Path) -> None:
    table = Table.from_csv(write(tmp_path, GOOD))
    assert table.where(model="a")["qid"].tolist() == [0.5, 0.9]
    assert len(table.where(bits=(2, 4))) == 3
    assert len(table.where(model="a", tokens=1e10)) == 1
    with pytest.raises(InputError, match=r"No rows of mine\.csv have model = 'c'\. Its values: a, b"):
        table.where(model="c")
    with pytest.raises(InputError, match="at once"):
        table.where(model="b", bits=2)
    with pytest.raises(UnknownName, match="Did you mean 'model'"):
        table.where(modell="a")


def test_rows_are_grouped_by_model_and_checkpoint() -> None:
    table = Table(
        columns={
            "suite": np.array(["s", "s", "s", "t"]),
            "model": np.array(["a", "a", "a", "a"]),
            "step": np.array([1, 1, 2, 1]),
        }
    )
    assert table.clusters("model").tolist() == [0, 0, 0, 1]
    assert table.clusters("checkpoint").tolist() == [0, 0, 1, 2]
    assert len(table.one_row_a_checkpoint()) == 3
    with pytest.raises(InputError, match="by model or checkpoint"):
        table.clusters("row")


def test_without_names_rows_of_one_size_are_one_model() -> None:
    table = Table(columns={"parameters": np.array([1e8, 1e8, 1e9]), "tokens": np.array([1e9, 2e9, 1e9])})
    assert table.clusters("model").tolist() == [0, 0, 1]
    assert len(np.unique(table.clusters("checkpoint"))) == 3


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(InputError, match="bits 2, qid 3"):
        Table(columns={"bits": np.ones(2), "qid": np.ones(3)})
