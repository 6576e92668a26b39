"""Figure data are the records' numbers, nothing more and nothing less; what is drawn has them all."""

from __future__ import annotations

import dataclasses
import re

import matplotlib
import numpy as np
import pytest

from bitlaw.fit import Table, fit
from bitlaw.records import Variant
from bitlaw.report.drawing import draw, slug
from bitlaw.report.experiments import format_family, sort_experiments
from bitlaw.report.figures import (
    bits_figure,
    divergence_figure,
    exponents_figure,
    frontier_figure,
    loss_figure,
    predicted_figure,
    qid_figure,
)
from bitlaw.report.series import small_scale
from tests.report.simulated_suite import PLANTED, SIZES, TOKENS, planted_qid, simulate

MEASUREMENTS = simulate()
(EXPERIMENT,) = sort_experiments(MEASUREMENTS)
GPTQ, NEAREST = EXPERIMENT.quantized
BY_KEY = {m.key: m for m in MEASUREMENTS}


@pytest.fixture(scope="module")
def fits():
    return {
        setup: [fit("ouyang2024-unified", Table.from_measurements(rows))]
        for setup, rows in EXPERIMENT.quantized.items()
    }


def all_points(figure):
    return [points for row in figure.rows for panel in row for points in panel.points]


def test_setups_are_named_by_method_when_that_tells_them_apart():
    assert (GPTQ.label, NEAREST.label) == ("gptq", "nearest")
    assert list(EXPERIMENT.models) == list(SIZES)
    assert EXPERIMENT.bits == [2.0, 3.0, 4.0]


def test_qid_points_are_those_of_the_records():
    figure = qid_figure(EXPERIMENT, GPTQ, [])
    assert [[panel.y_scale for panel in row] for row in figure.rows] == [["linear"] * 3, ["symlog"] * 3]
    for row in figure.rows:
        keys = [key for panel in row for points in panel.points for key in points.keys]
        assert sorted(keys) == sorted(m.key for m in EXPERIMENT.quantized[GPTQ])
        for panel, bits in zip(row, (2.0, 3.0, 4.0)):
            for points in panel.points:
                measured = [BY_KEY[key] for key in points.keys]
                assert points.x.tolist() == list(TOKENS)
                assert points.y.tolist() == [m.qid for m in measured]
                assert points.error.tolist() == [m.qid_se for m in measured]
                assert points.bits == (bits,) * 6
                assert points.joined
    assert min(float(p.y.min()) for p in all_points(figure)) < 0  # negative ones are kept


def test_curves_are_the_fit(fits):
    one = fits[GPTQ][0]
    figure = qid_figure(EXPERIMENT, GPTQ, [one])
    for panel, bits in zip(figure.rows[0], (2.0, 3.0, 4.0)):
        for line in panel.lines:
            columns = {"parameters": np.array(float(SIZES[line.model])), "tokens": line.x, "bits": np.array(bits)}
            np.testing.assert_allclose(line.y, one.predict(columns), rtol=1e-12)
            assert (line.x[0], line.x[-1]) == pytest.approx((TOKENS[0], TOKENS[-1]))
            assert np.all((line.low <= line.y) & (line.y <= line.high))
            truth = [planted_qid("gptq", SIZES[line.model], d, bits) for d in line.x]
            np.testing.assert_allclose(line.y, truth, rtol=0.25)
        assert not any(points.joined for points in panel.points)


def test_predicted_against_measured(fits):
    figure = predicted_figure(EXPERIMENT, fits)
    for panel, setup in zip(figure.rows[0], (GPTQ, NEAREST)):
        for points in panel.points:
            measured = [BY_KEY[key] for key in points.keys]
            assert points.y.tolist() == [m.qid for m in measured]
            law = [planted_qid(setup.method, m.asked.checkpoint.parameters, m.asked.checkpoint.tokens, m.asked.variant.bits)
                   for m in measured]  # fmt: skip
            np.testing.assert_allclose(points.x, law, rtol=0.25)
    assert predicted_figure(EXPERIMENT, {}) is None


def test_qid_against_bits_is_at_the_last_checkpoint(fits):
    for panel in bits_figure(EXPERIMENT, fits).rows[0]:
        assert [points.model for points in panel.points] == list(SIZES)
        for points in panel.points:
            assert points.x.tolist() == [2.0, 3.0, 4.0]
            assert {BY_KEY[key].asked.checkpoint.tokens for key in points.keys} == {TOKENS[-1]}


def test_loss_holds_baseline_and_variants_of_each_model():
    figure = loss_figure(EXPERIMENT, NEAREST)
    assert [panel.title for panel in figure.rows[0]] == [
        "neox-25k (N = 25.1k)",
        "neox-100k (N = 99.6k)",
        "neox-397k (N = 397k)",
    ]
    for panel in figure.rows[0]:
        assert [points.bits[0] for points in panel.points] == [16.0, 4.0, 3.0, 2.0]
        for points in panel.points:
            assert points.y.tolist() == [BY_KEY[key].loss for key in points.keys]
            assert points.error.tolist() == [BY_KEY[key].loss_se for key in points.keys]


def test_divergence_and_agreement():
    kl, agreement = divergence_figure(EXPERIMENT, GPTQ).rows
    for row, value in ((kl, lambda m: m.kl), (agreement, lambda m: 100 * m.agreement)):
        for panel in row:
            for points in panel.points:
                assert points.y.tolist() == [value(BY_KEY[key]) for key in points.keys]


def test_divergence_that_was_not_counted_is_left_out():
    rows = [dataclasses.replace(m, seen=dataclasses.replace(m.seen, kl_nats=None)) for m in MEASUREMENTS]
    (experiment,) = sort_experiments(rows)
    assert divergence_figure(experiment, GPTQ) is None


def test_bytes_of_the_frontier():
    for panel in frontier_figure(EXPERIMENT).rows[0]:
        for points in panel.points:
            measured = [BY_KEY[key] for key in points.keys]
            assert points.bits == (2.0, 3.0, 4.0, 16.0)
            assert points.x.tolist() == [SIZES[points.model] * m.seen.bits_per_weight / 8 for m in measured]
            assert points.y.tolist() == [m.loss for m in measured]


def test_constants_with_intervals_and_published_ones(fits):
    rows = exponents_figure(fits).rows
    fitted = {(row.label, row.parameter): row for row in rows if not row.published}
    assert set(fitted) == {(label, name) for label in ("gptq", "nearest") for name in ("k", "beta", "alpha", "gamma")}
    for name, truth in PLANTED.items():
        assert fitted["gptq", name].value == pytest.approx(truth, rel=0.1)
        assert (fitted["gptq", name].low, fitted["gptq", name].high) == fits[GPTQ][0].intervals[name]
    assert {row.parameter: row.value for row in rows if row.published}["beta"] == 0.5251
    assert exponents_figure({}) is None


def test_the_linear_part_of_an_axis_is_where_noise_lives():
    rows = list(EXPERIMENT.quantized[GPTQ])
    noise = float(np.median([m.qid_se for m in rows]))
    assert 0.3 < small_scale(rows) / (2 * noise) < 3.2
    assert small_scale(rows[:1]) > 0
    quiet = [dataclasses.replace(m, seen=dataclasses.replace(m.seen, windows=1)) for m in rows]
    assert 0 < small_scale(quiet) < max(m.qid for m in rows) / 100


@pytest.mark.parametrize(
    ("name", "bits", "family"),
    [("int4_g128", 4.0, "int_g128"), ("int4_g128_sym", 4.0, "int_g128_sym"), ("nf4", 4.0, "nf"), ("fp8_e4m3", 8.0, "fp_e4m3"),
     ("int16_row", 1.0, "int16_row"), ("fp4_e2m1_g32", 4.0, "fp_e2m1_g32"), ("none", 16.0, "none")],
)  # fmt: skip
def test_format_families(name, bits, family):
    assert format_family(Variant(method="x", format=name, bits=bits)) == family


def test_a_drawn_figure_links_every_point_and_stands_alone():
    figure = qid_figure(EXPERIMENT, GPTQ, [])
    before = dict(matplotlib.rcParams)
    svg = draw(figure, EXPERIMENT.models, EXPERIMENT.bits, prefix="f7")
    assert dict(matplotlib.rcParams) == before
    titles = dict(re.findall(r'<a href="#row-([0-9a-f]{32})"><title>([^<]*)</title>', svg))
    assert set(titles) == {m.key for m in EXPERIMENT.quantized[GPTQ]}
    m = EXPERIMENT.quantized[GPTQ][0]
    assert titles[m.key].startswith(f"neox-25k, 82k tokens, gptq int2_g128: QiD {m.qid:.4f}"[:55])
    ids = re.findall(r'\sid="([^"]+)"', svg)
    assert all(one.startswith("f7-") for one in ids)
    assert len(ids) == len(set(ids))
    used = re.findall(r'(?:href="#|url\(#)(?!row-)([^")]+)', svg)
    assert set(used) <= set(ids)
    assert svg == draw(figure, EXPERIMENT.models, EXPERIMENT.bits, prefix="f7")


def test_slugs():
    assert slug("tiny, scored on X (64 windows)") == "tiny-scored-on-x-64-windows"
