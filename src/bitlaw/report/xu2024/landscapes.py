"""Figures 1, 2, 3 and 7: loss against size and noise, Taylor curves, quantized points over the landscape, weight norms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bitlaw.predictor.landscape import ModelRecords
from bitlaw.report.words import count
from bitlaw.report.xu2024 import models as named
from bitlaw.report.xu2024.sheets import NLL, SIZE, SNR, Absent, Axes, Layer, Sheet, arrays

ISO = tuple(range(30, -7, -2))
TERMS = ("weight_norm", "gradient_along", "curvature_along")
KINDS = ("mxint6", "mxint4", "mxint3", "mxint2")


def losses_by_size(models: Sequence[ModelRecords]) -> Sheet:
    """Figure 1, left: loss of the unquantized networks against their size, by family."""
    layers = []
    for family in named.families_of(models):
        x, y = arrays([(m.quantized_parameters, m.loss) for m in named.of_family(models, family)])
        layers.append(Layer(kind="line", x=x, y=y, color=family))
        layers.append(Layer(kind="points", x=x, y=y, color=family, label=named.family_name(family)))
    axes = Axes(title="", x_label=SIZE, y_label=NLL, layers=tuple(layers), x_scale="log", y_scale="log")
    tokens = [m.checkpoint.tokens for m in models if m.checkpoint.tokens]
    trained = ""
    if tokens and max(tokens) > min(tokens):  # a loss that rises with size may say so
        trained = f" They were trained on {count(min(tokens))} to {count(max(tokens))} tokens."
    return Sheet(
        name="1L",
        title="Loss against size",
        caption=f"{len(models)} unquantized networks on one text.{trained}",
        rows=((axes,),),
        palette="family",
        order=tuple(named.families_of(models)),
        width=4.6,
        height=3.4,
    )


def taylor(models: Sequence[ModelRecords]) -> Sheet:
    """Figure 1, right: one network's loss along random directions, and its Taylor curves of order 0, 1 and 2."""
    probed = [m for m in models if m.random]
    named.require(probed, "probes along random directions")
    model = _with_taylor(named.main_family(probed))
    layers = []
    for seed, points in model.seed_curves().items():
        x, y = arrays(points)
        layers.append(Layer(kind="line", x=x, y=y, color=f"direction {seed}", label=f"direction {seed}"))
        layers.append(Layer(kind="points", x=x, y=y, color=f"direction {seed}", size=12))
    terms = taylor_terms(model)
    top = max(y for points in model.seed_curves().values() for _, y in points)
    snr = np.linspace(min(ISO), max(ISO), 200)
    if terms is not None:
        norm, gradient, curvature = terms
        step = norm * 10.0 ** (-snr / 20.0)
        curves = {
            "order 0": np.full_like(step, model.loss),
            "order 1": model.loss + gradient * step,
            "order 2": model.loss + gradient * step + 0.5 * curvature * step**2,
        }
        for (label, y), dash in zip(curves.items(), ("dot", "dashdot", "dash")):
            shown = (y < 1.6 * top) & (y > 0.3 * model.loss)
            layers.append(
                Layer(kind="line", x=snr[shown], y=y[shown], color="ink", dash=dash, label=f"Taylor, {label}")
            )
    said = "Gradient and curvature were not recorded (taylor=true), so Taylor curves are missing." if terms is None else (
        "Taylor curves: mean gradient and curvature over the directions."
    )  # fmt: skip
    axes = Axes(
        title=named.title_of(model), x_label=SNR, y_label=NLL, layers=tuple(layers), y_scale="log", falling=True
    )
    return Sheet(
        name="1R",
        title="Loss along random directions, and its Taylor curves",
        caption=said,
        rows=((axes,),),
        order=tuple(f"direction {seed}" for seed in model.seed_curves()),
        palette="seeds",
        width=4.6,
        height=3.4,
    )


def taylor_terms(model: ModelRecords) -> tuple[float, float, float] | None:
    """Return |w|, and g.e and e.H.e (means over random directions); None where they were not recorded."""
    found = [terms for m in model.random if None not in (terms := tuple(getattr(m.seen, name, None) for name in TERMS))]
    if not found:
        return None
    norm, gradient, curvature = np.mean(np.array(found, dtype=float), axis=0).tolist()
    return norm, gradient, curvature


def _with_taylor(models: Sequence[ModelRecords]) -> ModelRecords:
    have = [m for m in models if taylor_terms(m) is not None]
    return named.middle(have or list(models))


def curves_by_family(models: Sequence[ModelRecords]) -> Sheet:
    """Figure 2, left: mean and range over directions, a panel a family; dashed: the unquantized loss."""
    panels = []
    ranks: dict[str, None] = {}
    for family in named.families_of(models):
        layers = []
        for rank, model in enumerate(m for m in named.of_family(models, family) if m.random):
            curve = model.curve_if_any
            if curve is None:
                continue
            key = f"size {rank + 1}"
            ranks[key] = None
            layers.append(Layer(kind="level", y=np.array([model.loss]), color=key, dash="dash", width=0.8))
            layers.append(Layer(kind="band", x=curve.snr_db, low=curve.low, high=curve.high, color=key, alpha=0.25))
            layers.append(
                Layer(
                    kind="line", x=curve.snr_db, y=curve.loss, color=key, label=f"{count(model.quantized_parameters)}"
                )
            )
        if layers:
            panels.append(
                Axes(title=named.family_name(family), x_label=SNR, y_label=NLL, layers=tuple(layers), falling=True)
            )
    named.require([m for m in models if m.random], "probes along random directions")
    return Sheet(
        name="2L",
        title="Landscapes by family",
        caption="Line: mean over random directions; band: their range; dashed: the unquantized loss. Darker is larger within a family.",
        rows=_rows(panels),
        palette="size",
        order=tuple(ranks),
        share_y=True,
        width=3.2,
    )


def iso_snr(models: Sequence[ModelRecords]) -> Sheet:
    """Figure 2, right: loss against size at equal noise, a line each 2 dB, a panel a family."""
    panels = []
    for family in named.families_of(models):
        found = [(m, c) for m in named.of_family(models, family) if m.random and (c := m.curve_if_any) is not None]
        if len(found) < 2:
            continue
        sizes = np.array([m.quantized_parameters for m, _ in found], dtype=float)
        layers = []
        for snr in ISO:
            y = np.array([float(c.at(float(snr))) if c.low_db - 1 <= snr else np.nan for _, c in found])
            layers.append(Layer(kind="line", x=sizes, y=y, color=f"{snr} dB", label=f"{snr} dB", width=1.6))
        base = np.array([m.loss for m, _ in found])
        layers.append(Layer(kind="line", x=sizes, y=base, color="ink", dash="dash", label="unquantized"))
        panels.append(
            Axes(
                title=named.family_name(family),
                x_label=SIZE,
                y_label=NLL,
                layers=tuple(layers),
                x_scale="log",
                y_scale="log",
            )
        )
    if not panels:
        raise Absent("no family with two probed sizes was measured")
    return Sheet(
        name="2R",
        title="Loss against size at equal signal-to-noise ratio",
        caption="A line each 2 dB, from the models' mean curves; dashed: unquantized.",
        rows=_rows(panels),
        palette="snr",
        order=tuple(f"{snr} dB" for snr in ISO),
        share_y=True,
        width=3.2,
    )


def points_over_landscape(
    models: Sequence[ModelRecords], formats: Sequence[str] = named.MX, *, name: str = "3L", title: str = ""
) -> Sheet:
    """Figure 3, left: every format before (hollow) and after GPTQ (filled) over the random curves of three sizes."""
    chosen = named.three([m for m in named.main_family([m for m in models if m.random]) if _points(m, formats)])
    named.require(chosen, "probes, nearest and GPTQ")
    panels = [points_panel(model, formats) for model in chosen]
    return Sheet(
        name=name,
        title=title or "Formats over the landscape",
        caption="Hollow: nearest; filled: GPTQ of the same format; circles mxfp, diamonds mxint. Grey: random directions.",
        rows=(tuple(panels),),
        palette="bits",
        order=named.BITS,
        share_y=True,
        height=3.4,
    )


def points_panel(
    model: ModelRecords, formats: Sequence[str], *, title: str = "", extra: tuple[Layer, ...] = ()
) -> Axes:
    """Return the axes of one model: random curves in grey, nearest hollow, GPTQ filled, joined."""
    layers = [
        Layer(kind="line", x=x, y=y, color="grey", width=1.0, label="random directions")
        for x, y in (arrays(points) for points in model.seed_curves().values())
    ]
    layers.append(
        Layer(kind="level", y=np.array([model.loss]), color="ink", dash="dash", width=0.8, label="unquantized")
    )
    for marker, kind in (("o", "mxfp"), ("D", "mxint"), ("s", "int")):
        for bits in named.BITS:
            mine = [f for f in formats if named.marker_of(f) == marker and named.bits_key(f) == bits]
            before = [(m.seen.sqnr_db, m.loss) for f in mine if (m := model.points.get(("nearest", f))) is not None]
            both = [
                (n.seen.sqnr_db, n.loss, g.seen.sqnr_db, g.loss)
                for f in mine
                if (n := model.points.get(("nearest", f))) is not None
                and (g := model.points.get(("gptq", f))) is not None
            ]
            if both:
                x, y, x2, y2 = np.array(both, dtype=float).T
                layers.append(Layer(kind="arrows", x=x, y=y, x2=x2, y2=y2, color=bits, width=0.7))
                layers.append(Layer(kind="points", x=x2, y=y2, color=bits, marker=marker, label=f"{bits}, {kind}"))
            if before:
                x, y = arrays(before)
                layers.append(Layer(kind="points", x=x, y=y, color=bits, marker=marker, filled=False))
    return Axes(title=title or named.title_of(model), x_label=SNR, y_label=NLL, layers=(*layers, *extra), falling=True)


def along_directions(models: Sequence[ModelRecords]) -> Sheet:
    """Figure 3, right: one network along random, nearest and GPTQ directions of four integer formats."""
    have = [m for m in named.main_family(models) if any(len(points) > 2 for points in m.along.values())]
    have = have or [m for m in named.main_family(models) if m.along]
    named.require(have, "probes along the nearest or GPTQ direction")
    model = named.middle(have)
    panels = []
    for kind in KINDS:
        name = f"{kind}_k128"
        layers = [
            Layer(kind="line", x=x, y=y, color="grey", width=1.0, label="random")
            for x, y in (arrays(points) for points in model.seed_curves().values())
        ]
        for direction, dash in (("nearest", "dash"), ("gptq", "solid")):
            found = [(m.seen.sqnr_db, m.loss) for _, m in model.along.get((direction, name), ())]
            point = model.points.get((direction, name))
            here = [] if point is None else [(point.seen.sqnr_db, point.loss)]
            x, y = arrays([pair for pair in found + here if pair[0] is not None])
            if len(x) > 1:
                layers.append(Layer(kind="line", x=x, y=y, color=direction, dash=dash, label=f"{direction} direction"))
            if here:
                x, y = arrays(here)
                layers.append(
                    Layer(
                        kind="points",
                        x=x,
                        y=y,
                        color=direction,
                        filled=direction == "gptq",
                        size=42,
                        label=f"{direction} point",
                    )
                )
        panels.append(Axes(title=name, x_label=SNR, y_label=NLL, layers=tuple(layers), falling=True))
    return Sheet(
        name="3R",
        title=f"{named.title_of(model)}: random, nearest and GPTQ directions",
        caption="A direction that stays low at the same SNR is flatter. Marks are the quantized networks.",
        rows=_rows(panels, columns=4),
        palette="methods",
        order=("nearest", "gptq"),
        share_y=True,
        width=2.9,
    )


def weight_norms(models: Sequence[ModelRecords]) -> Sheet:
    """Figure 7: the l2 norm of all quantized weights against their number, with D^0.5 guides."""
    layers = []
    every: list[tuple[float, float]] = []
    for family in named.families_of(models):
        pairs = [(m.quantized_parameters, norm) for m in named.of_family(models, family) if (norm := weight_norm(m))]
        if not pairs:
            continue
        every += pairs
        x, y = arrays(pairs)
        layers.append(Layer(kind="line", x=x, y=y, color=family))
        layers.append(Layer(kind="points", x=x, y=y, color=family, label=named.family_name(family)))
    if not every:
        raise Absent("no weight norm was recorded (seen.weight_norm)")
    sizes = np.array([min(x for x, _ in every), max(x for x, _ in every)])
    ratios = [y / np.sqrt(x) for x, y in every]
    for ratio in np.geomspace(min(ratios), max(ratios), 3):
        layers.append(Layer(kind="line", x=sizes, y=ratio * np.sqrt(sizes), color="grey", dash="dot", label="∝ D^0.5"))
    axes = Axes(title="", x_label=SIZE, y_label="|w|", layers=tuple(layers), x_scale="log", y_scale="log")
    return Sheet(
        name="7",
        title="Norm of the quantized weights",
        caption="Dotted: proportional to the square root of D. " + slopes_said(models),
        rows=((axes,),),
        palette="family",
        order=tuple(named.families_of(models)),
        width=4.6,
        height=3.4,
    )


def weight_norm(model: ModelRecords) -> float:
    """Return |w| of all quantized weights; 0 where it was not recorded."""
    every = [model.baseline, *model.points.values(), *model.random]
    return max((m.seen.weight_norm for m in every if m.seen.weight_norm is not None), default=0.0)


def norm_exponents(models: Sequence[ModelRecords]) -> dict[str, float]:
    """Return for each family with three sizes or more the exponent of |w| in D."""
    found = {}
    for family in named.families_of(models):
        pairs = [(m.quantized_parameters, n) for m in named.of_family(models, family) if (n := weight_norm(m))]
        if len({x for x, _ in pairs}) > 2:
            x, y = np.log(np.array(pairs, dtype=float)).T
            found[family] = float(np.polyfit(x, y, 1)[0])
    return found


def slopes_said(models: Sequence[ModelRecords]) -> str:
    """Return the exponents as words."""
    found = norm_exponents(models)
    return (
        "Exponents of D: " + ", ".join(f"{named.family_name(f)} {e:.2f}" for f, e in found.items()) + "."
        if found
        else ""
    )


def _points(model: ModelRecords, formats: Sequence[str]) -> bool:
    return any((method, name) in model.points for method in ("nearest", "gptq") for name in formats)


def _rows(panels: Sequence[Axes], columns: int = 3) -> tuple[tuple[Axes, ...], ...]:
    return tuple(tuple(panels[i : i + columns]) for i in range(0, len(panels), columns))
