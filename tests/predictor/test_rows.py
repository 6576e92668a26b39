"""The feature table: every input against the measurement it comes from, duplicates once, and what is left out and why."""

import math

import numpy as np
import pytest

from bitlaw.errors import InputError
from bitlaw.predictor import PAPER_FORMATS, Rows, collect, tabulate
from bitlaw.predictor.known_formats import canonical_name, facts, snr_at
from bitlaw.records import Measurement
from tests.predictor.simulated_families import effective_db, planted, simulate


def test_names_say_what_formats_say() -> None:
    from bitlaw.formats import bits_per_weight, canonical, parse_format

    for name in (
        *PAPER_FORMATS,
        "int4_g128",
        "int3_g16_sym_mse",
        "nf4_g64",
        "nvfp4_k16",
        "mxfp4_e1m2_k32_even",
        "mxfp4_e1m2_k64_short",
        "mxint3_k32_short_rceil",
    ):
        assert canonical_name(name) == canonical(name)
        if name.endswith(("_even", "_rceil")):
            continue
        known, format = facts(name), parse_format(canonical(name))
        assert (known.bits, known.block) == (format.bits, format.group_size)
        assert known.bits_per_weight == pytest.approx(bits_per_weight(4096, format, rows=4096), abs=1e-4)


def test_gaussian_noise_is_that_of_the_paper_s_figure_8() -> None:
    expected = {"mxint6": (30.8, 29.6, 29.0, 28.8), "mxint4": (18.6, 17.6, 16.9, 16.7), "mxint2": (6.4, 5.4, 4.9, 4.7)}
    for element, values in expected.items():
        for block, value in zip((16, 32, 64, 128), values):
            assert facts(f"{element}_k{block}").gaussian_db == pytest.approx(value, abs=0.1)
    assert facts("mxfp6_e3m2_k32").exponent_bits == 3
    assert facts("mxfp4_e1m2_k32").name == "mxint4_k32"


def test_blocks_longer_than_a_row_are_as_long_as_the_row() -> None:
    assert snr_at("mxint4_k128", 64) == facts("mxint4_k64").gaussian_db
    assert facts("mxint4_k64").gaussian_db < snr_at("mxint4_k128", 45) < facts("mxint4_k32").gaussian_db
    assert snr_at("mxint4_k16", 45) == facts("mxint4_k16").gaussian_db
    assert snr_at("nf4_row", 45) == facts("nf4_row").gaussian_db


def test_one_row_a_model_and_distinct_format(rows: Rows) -> None:
    assert len(rows) == 12 * 28
    assert len(set(zip(rows.model.tolist(), rows.format.tolist()))) == len(rows)
    assert not rows.left_out


def test_inputs_are_what_was_measured(measurements: list[Measurement], rows: Rows) -> None:
    i = next(
        i for i in range(len(rows)) if rows.model[i] == "families/opt-800k@1000" and rows.format[i] == "mxint3_k64"
    )
    land = planted("opt", 800_000)
    nearest = next(
        m for m in measurements
        if (m.asked.checkpoint.model, m.asked.variant.method, m.asked.variant.format) == ("opt-800k", "nearest", "mxint3_k64")
    )  # fmt: skip
    assert rows["nearest_loss"][i] == nearest.loss
    assert rows["sqnr_db"][i] == nearest.seen.sqnr_db
    assert rows["baseline_loss"][i] == nearest.baseline_loss
    assert (rows["parameters"][i], rows["bits"][i], rows["exponent_bits"][i], rows["block"][i]) == (800_000, 3, 0, 64)
    assert (rows["tokens"][i], rows["lr_state"][i]) == (16_000_000, pytest.approx(0.1))
    at = effective_db("nearest", nearest.seen.sqnr_db)
    assert rows["slope"][i] == pytest.approx((land.excess(at + 1) - land.excess(at - 1)) / 2, rel=0.1)
    assert rows["slope_along"][i] == 1
    assert rows.target("gptq_change")[i] == rows["gptq_loss"][i] - rows["nearest_loss"][i]


def test_without_probes_along_nearest_the_slope_is_the_random_one() -> None:
    rows = tabulate(collect(simulate(("opt",), (50_000,), ("mxint4_k32", "mxint3_k32"), along=False)))
    curve = rows.curves["families/opt-50k@1000"]
    assert curve is not None
    np.testing.assert_allclose(rows["slope"], curve.slope(rows["sqnr_db"]))
    assert (rows["slope_along"] == 0).all()


def test_missing_probes_and_methods_are_named() -> None:
    with pytest.raises(InputError, match="without a slope"):
        tabulate(collect(simulate(("opt",), (50_000,), ("mxint4_k32",), along=False, probes=False)))
    with pytest.raises(InputError, match="without a GPTQ"):
        tabulate(collect(simulate(("opt",), (50_000,), ("mxint4_k32",), methods=("nearest",))))
    alone = tabulate(collect(simulate(("opt",), (50_000,), ("mxint4_k32",), methods=("nearest",))), need_gptq=False)
    assert math.isnan(alone["gptq_loss"][0])
    with pytest.raises(InputError, match="No unquantized baseline"):
        collect([m for m in simulate(("opt",), (50_000,), ("mxint4_k32",)) if m.asked.variant.method != "none"])


def test_probes_of_some_layers_are_no_points_of_the_curve() -> None:
    import dataclasses

    found = simulate(("opt",), (50_000,), ("mxint4_k32",))
    one = next(m for m in found if m.asked.variant.method == "perturb_random")
    options = {**one.asked.variant.options, "layers": "layers.0"}
    layered = dataclasses.replace(
        one, asked=dataclasses.replace(one.asked, variant=dataclasses.replace(one.asked.variant, options=options))
    )
    model = collect([*found, layered])[0]
    assert [where for where, _ in model.layers] == ["layers.0"]
    assert len(model.random) == 3 * 19  # 18 distances and the Taylor probe, three directions
