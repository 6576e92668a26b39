"""The thirteen figures: their data against the records, every one drawn, and what is said when measurements are missing."""

import dataclasses
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bitlaw.errors import InputError
from bitlaw.predictor import collect
from bitlaw.predictor.landscape import ModelRecords
from bitlaw.records import Measurement
from bitlaw.report.xu2024 import FIGURES, draw
from bitlaw.report.xu2024.costs import seconds_of
from bitlaw.report.xu2024.drawing import draw_png
from bitlaw.report.xu2024.formats import finer_groups, integers_against_mx, loss_by_bytes, noise_spread, rows_of_formats
from bitlaw.report.xu2024.landscapes import (
    along_directions,
    curves_by_family,
    losses_by_size,
    norm_exponents,
    taylor,
    weight_norms,
)
from bitlaw.report.xu2024.models import main_family
from bitlaw.report.xu2024.page import one_text, sheets_of
from bitlaw.report.xu2024.predictions import explained, predicted_changes, predicted_points
from bitlaw.report.xu2024.sheets import Axes, Layer, Sheet
from tests.predictor.simulated_families import simulate

MX = ("mxint6_k128", "mxint4_k128", "mxint3_k64", "mxint3_k128", "mxint2_k128", "mxfp4_e2m1_k32", "mxfp6_e3m2_k16")
INTEGERS = tuple(f"int{bits}_{scope}_sym_mse" for bits in (3, 4) for scope in ("g16", "g128", "row", "tensor"))


@pytest.fixture(scope="module")
def measured() -> list[Measurement]:
    return simulate(("opt", "gpt2", "mpt"), (50_000, 200_000, 800_000), (*MX, *INTEGERS))


@pytest.fixture(scope="module")
def models(measured: list[Measurement]) -> list[ModelRecords]:
    return collect(measured)


def layers(sheet: Sheet, kind: str) -> list[Layer]:
    return [layer for row in sheet.rows for axes in row for layer in axes.layers if layer.kind == kind]


def test_every_figure_is_drawn_into_one_folder_and_page(measured: list[Measurement], tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    image = pytest.importorskip("PIL.Image")
    drawn = draw(measured, tmp_path / "figures")
    assert set(drawn.figures) == set(FIGURES)
    assert not drawn.absent
    page = drawn.page.read_text()
    for name, path in drawn.figures.items():
        assert f'id="figure-{name}"' in page
        pixels = np.asarray(image.open(path).convert("L"))
        assert pixels.shape[0] > 300
        assert (pixels < 250).mean() > 0.01  # something is on it
    assert 'src="http' not in page


def test_losses_and_norms_are_those_of_the_records(models: list[ModelRecords]) -> None:
    opt = next(layer for layer in layers(losses_by_size(models), "points") if layer.color == "opt")
    mine = [m for m in models if m.family == "opt"]
    assert opt.x.tolist() == [50_000, 200_000, 800_000]
    assert opt.y.tolist() == [m.loss for m in mine]
    norms = next(layer for layer in layers(weight_norms(models), "points") if layer.color == "gpt2")
    assert norms.y == pytest.approx(0.02 * norms.x**0.5)
    assert norm_exponents(models)["mpt"] == pytest.approx(0.5)


def test_taylor_curves_are_the_terms_along_the_directions(models: list[ModelRecords]) -> None:
    sheet = taylor(models)
    second = next(layer for layer in layers(sheet, "line") if layer.label == "Taylor, order 2")
    model = next(m for m in models if m.name == "families/opt-200k@1000")
    share = 10.0 ** (-second.x / 20.0)
    np.testing.assert_allclose(second.y, model.loss + 0.01 * share + 64.0 * share**2, rtol=1e-9)
    zeroth = next(layer for layer in layers(sheet, "line") if layer.label == "Taylor, order 0")
    assert set(zeroth.y) == {model.loss}


def test_curves_have_the_range_over_directions(models: list[ModelRecords]) -> None:
    band = layers(curves_by_family(models), "band")[0]
    line = next(layer for layer in layers(curves_by_family(models), "line"))
    assert (band.low <= line.y).all()
    assert (line.y <= band.high).all()
    assert (band.high > band.low).any()


def test_directions_hold_the_quantized_point(models: list[ModelRecords]) -> None:
    sheet = along_directions(models)
    assert [axes.title for axes in sheet.rows[0]] == ["mxint6_k128", "mxint4_k128", "mxint3_k128", "mxint2_k128"]
    model = next(m for m in models if m.name == "families/opt-200k@1000")
    point = model.points["gptq", "mxint3_k128"]
    line = next(one for one in sheet.rows[0][2].layers if one.kind == "line" and one.color == "gptq")
    assert (point.seen.sqnr_db, point.loss) in list(zip(line.x, line.y))
    assert len(line.x) == 3


def test_rows_of_formats_hold_every_model_once(models: list[ModelRecords]) -> None:
    sheet = rows_of_formats(models, "nearest")
    assert [text for _, text in sheet.rows[0][0].ticks] == [
        "mxint6_k128", "mxint4_k128", "mxint3_k64", "mxint3_k128", "mxint2_k128", "mxfp6_e3m2_k16", "mxfp4_e2m1_k32",
    ]  # fmt: skip
    for axes in sheet.rows[0]:
        assert sum(len(layer.x) for layer in axes.layers) == 9 * 7
    low, high, wide = noise_spread(models, "nearest")["mxint4_k128"]
    values = [m.points["nearest", "mxint4_k128"].seen.sqnr_db for m in models]
    assert (low, high, wide) == (min(values), max(values), max(values) - min(values))


def test_finer_groups_are_compared_step_by_step(models: list[ModelRecords]) -> None:
    one = [row for row in finer_groups(models) if row[0] == "families/opt-50k@1000" and row[1] == "int4"]
    assert [step for _, _, step, _ in one] == ["tensor to row", "row to g128"]
    model = next(m for m in models if m.name == "families/opt-50k@1000")
    noise = {name: model.points["nearest", f"int4_{name}_sym_mse"].seen.sqnr_db for name in ("row", "g128")}
    assert one[1][3] == pytest.approx(noise["g128"] - noise["row"])
    names = [text for _, text in integers_against_mx(models).rows[0][0].ticks]
    assert names[:4] == ["int3_tensor_sym_mse", "int3_row_sym_mse", "int3_g128_sym_mse", "int3_g16_sym_mse"]


def test_bytes_and_seconds(models: list[ModelRecords]) -> None:
    base = next(layer for layer in layers(loss_by_bytes(models), "points") if layer.label == "16 bits")
    assert base.x.tolist() == pytest.approx([(n + 64_000) * 2 / 1e6 for n in (50_000, 200_000, 800_000)])
    found = seconds_of(models[0])
    assert found["gptq"] == pytest.approx(len(MX) * 6 * 0.05)
    assert found["baseline"] == 0.2


def test_predictions_are_of_families_the_forest_never_saw(models: list[ModelRecords]) -> None:
    pytest.importorskip("sklearn")
    sheet = predicted_changes(models)
    held = [layer for layer in sheet.rows[0][0].layers if layer.color == "mpt"]
    assert len(held[0].x) == 3 * len(MX)
    assert len(sheet.rows[0]) == 2
    rings = [layer for layer in layers(predicted_points(models), "points") if layer.label.startswith("predicted")]
    assert len(rings[0].x) == len(MX)


def test_the_waterfall_ends_at_the_prediction(models: list[ModelRecords]) -> None:
    pytest.importorskip("sklearn")
    right: Axes = explained(models).rows[0][1]
    bars = [layer for layer in right.layers if layer.kind == "bars"]
    at = 0.0
    for bar in bars[:-1]:
        assert bar.x2[0] == pytest.approx(at)
        at += bar.x[0]
    assert at == pytest.approx(bars[-1].x[0])


def test_missing_measurements_are_named(measured: list[Measurement], tmp_path: Path) -> None:
    bare = [
        m
        for m in measured
        if m.asked.variant.method in ("none", "nearest") and not m.asked.variant.format.startswith("int")
    ]
    drawn = draw(bare, tmp_path, only=["1L", "2L", "4", "5L", "8", "9", "10", "12"])
    assert set(drawn.figures) == {"1L", "8"}
    assert "probes along random directions" in drawn.absent["2L"]
    assert "integer formats" in drawn.absent["10"]
    assert "Figure 10 is missing" in drawn.page.read_text()
    with pytest.raises(InputError, match="no figure '14'"):
        draw(bare, tmp_path, only=["14"])
    with pytest.raises(InputError, match="No figure can be drawn"):
        draw(bare, tmp_path, only=["13"])
    other = [
        dataclasses.replace(m, asked=dataclasses.replace(m.asked, evaluation=dataclasses.replace(m.asked.evaluation, token_hash="f" * 64)))
        for m in bare
        if m.asked.checkpoint.family == "mpt"
    ]  # fmt: skip
    one = draw([*(m for m in bare if m.asked.checkpoint.family != "mpt"), *other], tmp_path, only=["1L"])
    assert "6 networks of 2 families" in one.page.read_text()


def test_the_same_sheet_gives_the_same_bytes(models: list[ModelRecords]) -> None:
    image = pytest.importorskip("PIL.Image")
    sheet = losses_by_size(models)
    assert draw_png(sheet) == draw_png(sheet)
    assert image.open(io.BytesIO(draw_png(sheet))).size[0] > 400


def test_losses_of_one_text_share_axes_and_single_networks_may_come_from_another(measured: list[Measurement]) -> None:
    moved = []
    for m in measured:
        if m.asked.checkpoint.family == "opt":
            other = replace(m.asked.evaluation, name="another text", token_hash="0" * 64)
            m = replace(m, asked=replace(m.asked, evaluation=other))
        moved.append(m)
    every = collect(moved)
    shown = one_text(every)
    assert {m.family for m in shown} == {"gpt2", "mpt"}
    sheets, absent = sheets_of(shown, ("1L", "3R", "10"), every)
    assert not absent
    assert {layer.color for layer in layers(sheets["1L"], "points")} == {"gpt2", "mpt"}
    assert sheets["3R"].title.startswith("OPT")
    assert set(sheets_of(shown, ("10",))[0]) == {"10"}  # without OPT another family stands for it


def test_a_family_without_quantized_models_stands_for_no_other(models: list[ModelRecords]) -> None:
    bare = [replace(m, points={}, along={}) if m.family == "opt" else m for m in models]
    assert {m.family for m in main_family(bare)} == {"gpt2"}
    panels = [axes.title for row in loss_by_bytes(bare).rows for axes in row]
    assert panels == ["GPT-2", "MPT"]
