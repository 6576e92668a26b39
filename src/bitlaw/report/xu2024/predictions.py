"""Figures 5 and 12: the forest trained on four families, on two it never saw; what its inputs are worth, and one prediction apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bitlaw.predictor.explaining import importances, waterfall
from bitlaw.predictor.kinds import fit_kind, predict_kind
from bitlaw.predictor.landscape import ModelRecords
from bitlaw.predictor.metrics import r2
from bitlaw.predictor.rows import Rows, tabulate
from bitlaw.report.xu2024 import models as named
from bitlaw.report.xu2024.landscapes import points_panel
from bitlaw.report.xu2024.sheets import Absent, Axes, Layer, Sheet, arrays

TARGET = "gptq_change"
CHANGE = "change of loss by GPTQ, nats"
WORDS = {
    "nearest_loss": "loss after nearest",
    "sqnr_db": "SQNR",
    "bits": "bits P",
    "parameters": "parameters D",
    "baseline_loss": "loss before",
    "slope": "slope",
    "block": "block K",
    "exponent_bits": "exponent bits E",
}


def split_rows(models: Sequence[ModelRecords]) -> tuple[Rows, Rows]:
    """Return training rows and rows of the held-out families. Raises Absent when either is empty."""
    rows = tabulate(models)
    held = np.isin(rows.family, named.HELD)
    if not held.any() or held.all():
        raise Absent("the paper's split needs GPT-NeoX or MPT beside other families")
    return rows.take(~held), rows.take(held)


def predicted_changes(models: Sequence[ModelRecords], *, seed: int = 0) -> Sheet:
    """Figure 5, left: predicted against measured change; grey the training rows, coloured the families held out."""
    train, test = split_rows(models)
    panels = []
    largest = float(np.max(np.abs(tabulate(models).target(TARGET)))) or 1.0
    within = float(10.0 ** np.round(np.log10(0.03 * largest)))
    kinds = {"forest": "forest, eight inputs (the paper's)"}
    if all(curve is not None for curve in train.curves.values()):
        kinds["after-nearest"] = "landscape and a gain in dB (ours)"
    for kind, title in kinds.items():
        state = fit_kind(kind, train, TARGET, seed=seed)
        layers = [Layer(kind="identity", color="ink", dash="dash")]
        for rows, family in ((train, ""), *((test.take(test.family == f), f) for f in named.HELD if f in test.family)):
            y = predict_kind(kind, state, rows, TARGET) - rows.reference(TARGET)
            color = family or "grey"
            label = named.family_name(family) if family else "training families"
            layers.append(
                Layer(kind="points", x=rows.target(TARGET), y=y, color=color, label=label, size=14, alpha=0.75)
            )
        found = r2(test.target(TARGET), predict_kind(kind, state, test, TARGET) - test.reference(TARGET))
        panels.append(
            Axes(
                title=f"{title}: R2 {found:.3f}",
                x_label=f"measured {CHANGE}",
                y_label="predicted",
                layers=tuple(layers),
                x_scale="symlog",
                y_scale="symlog",
                linear_within=within,
            )
        )
    return Sheet(
        name="5L",
        title="Predicted and measured change",
        caption=f"R2 of the families that were held out. Axes are linear within {within:g} nats.",
        rows=(tuple(panels),),
        palette="family",
        order=named.HELD,
        width=4.6,
        height=3.8,
    )


def predicted_points(models: Sequence[ModelRecords], *, seed: int = 0) -> Sheet:
    """Figure 5, right: formats over the landscape of held-out networks; rings are the predicted losses after GPTQ."""
    train, test = split_rows(models)
    state = fit_kind("forest", train, TARGET, seed=seed)
    panels = []
    for family in named.HELD:
        mine = [m for m in named.of_family(models, family) if m.random and m.name in test.models]
        if not mine:
            continue
        model = named.middle(mine)
        rows = test.take(test.model == model.name)
        x, y = arrays(list(zip(rows["gptq_sqnr_db"], predict_kind("forest", state, rows, TARGET))))
        ring = Layer(kind="points", x=x, y=y, color="ink", filled=False, size=70, label="predicted after GPTQ")
        panels.append(points_panel(model, named.MX, extra=(ring,)))
    if not panels:
        raise Absent("no held-out network has probes and GPTQ")
    return Sheet(
        name="5R",
        title="Predictions over the landscape of networks never seen",
        caption="Hollow: nearest; filled: GPTQ; rings: predicted by the forest from the nearest points.",
        rows=(tuple(panels),),
        palette="bits",
        order=named.BITS,
        share_y=True,
        width=4.6,
        height=3.8,
    )


def explained(models: Sequence[ModelRecords], *, seed: int = 0) -> Sheet:
    """Figure 12: importance of the forest's inputs by impurity and by permutation, and the waterfall of one prediction."""
    train, test = split_rows(models)
    found = importances(tabulate(models), TARGET, seed=seed)
    places = np.arange(len(found), dtype=float)
    names = [WORDS.get(one.name, one.name) for one in found]
    bars = [
        Layer(
            kind="bars", x=np.array([one.impurity for one in found]), y=places - 0.2, color="impurity", label="impurity",
            low=np.array([one.impurity_sd for one in found]), width=0.36,
        ),
        Layer(
            kind="bars", x=np.array([one.permutation for one in found]), y=places + 0.2, color="permutation",
            label="permutation: fall of held-out R2", low=np.array([one.permutation_sd for one in found]), width=0.36,
        ),
    ]  # fmt: skip
    left = Axes(
        title="inputs of the forest",
        x_label="importance (bars: standard deviation)",
        y_label="",
        layers=tuple(bars),
        ticks=tuple(zip(places.tolist(), names)),
    )
    one = waterfall(fit_kind("forest", train, TARGET, seed=seed), test, shown_row(test), TARGET)
    return Sheet(
        name="12",
        title="Why the forest says what it says",
        caption=f"Right: {one.model.split('/')[-1]}, {one.format}: base {one.base:+.3f}, parts adding up to {one.prediction:+.3f}, measured "
        f"{one.measured:+.3f} nats.",
        rows=((left, _waterfall_axes(one.base, one.parts, one.prediction, one.measured)),),
        palette="bars",
        width=5.0,
        height=3.8,
    )


def shown_row(test: Rows) -> int:
    """Return the row to take apart: 3 bits with a block of 64 of MPT, as in the paper; else the largest change."""
    wanted = np.flatnonzero((test.format == "mxint3_k64") & (test.family == "mpt"))
    return int(wanted[len(wanted) // 2]) if len(wanted) else int(np.argmin(test.target(TARGET)))


def _waterfall_axes(base: float, parts: Mapping[str, float], prediction: float, measured: float) -> Axes:
    steps: list[tuple[str, float, float, str]] = [("base value", 0.0, base, "base")]
    at = base
    for name, value in parts.items():
        steps.append((WORDS.get(name, name), at, at + value, "down" if value < 0 else "up"))
        at += value
    steps.append(("prediction", 0.0, prediction, "base"))
    layers: list[Any] = []
    for place, (_, start, end, color) in enumerate(steps):
        layers.append(
            Layer(
                kind="bars",
                x=np.array([end - start]),
                y=np.array([float(place)]),
                low=np.array([np.nan]),
                x2=np.array([start]),
                color=color,
                width=0.7,
            )
        )
    ends = np.array([max(a, b) for _, a, b, _ in steps])
    texts = tuple(f"{b - a:+.3f}" for _, a, b, _ in steps)
    layers.append(Layer(kind="text", x=ends, y=np.arange(len(steps), dtype=float), texts=texts))
    layers.append(Layer(kind="upright", x=np.array([measured]), color="ink", dash="dash", label="measured"))
    return Axes(
        title="one prediction",
        x_label=CHANGE,
        y_label="",
        layers=tuple(layers),
        ticks=tuple((float(i), name) for i, (name, *_) in enumerate(steps)),
    )
