"""Figures 4, 6, 8, 9, 10, 11: formats before and after GPTQ: their noise, their loss, their bytes, integers beside microscaling."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bitlaw.predictor.budget import bytes_of
from bitlaw.predictor.known_formats import facts
from bitlaw.predictor.landscape import ModelRecords
from bitlaw.report.xu2024 import models as named
from bitlaw.report.xu2024.landscapes import points_panel
from bitlaw.report.xu2024.sheets import NLL, Absent, Axes, Layer, Sheet, arrays

SQNR = "SQNR, dB"
SCOPES = ("g16", "g32", "g64", "g128", "row", "tensor")


def gptq_against_nearest(models: Sequence[ModelRecords]) -> Sheet:
    """Figure 4: SQNR and loss after GPTQ against those of nearest, for one family."""
    chosen = named.main_family(models)
    noise: list[Layer] = []
    loss: list[Layer] = []
    for bits in named.BITS:
        for marker in ("o", "D"):
            pairs = [
                (m.points["nearest", f], m.points["gptq", f])
                for m in chosen
                for f in named.MX
                if named.bits_key(f) == bits
                and named.marker_of(f) == marker
                and ("nearest", f) in m.points
                and ("gptq", f) in m.points
            ]
            if not pairs:
                continue
            label = f"{bits}, {'mxfp' if marker == 'o' else 'mxint'}"
            x, y = arrays([(n.seen.sqnr_db, g.seen.sqnr_db) for n, g in pairs])
            noise.append(Layer(kind="points", x=x, y=y, color=bits, marker=marker, label=label, alpha=0.8))
            x, y = arrays([(n.loss, g.loss) for n, g in pairs])
            loss.append(Layer(kind="points", x=x, y=y, color=bits, marker=marker, label=label, alpha=0.8))
    if not noise:
        raise Absent("no format was measured with nearest and GPTQ")
    same = Layer(kind="identity", color="grey", dash="dash", label="equal")
    return Sheet(
        name="4",
        title=f"GPTQ against nearest, {named.family_name(chosen[0].family)}",
        caption="Left: GPTQ lowers the signal-to-noise ratio of the weights. Right: and the loss all the same.",
        rows=(
            (
                Axes(title="signal to noise", x_label="nearest, dB", y_label="GPTQ, dB", layers=(*noise, same)),
                Axes(title="loss", x_label="nearest, nats", y_label="GPTQ, nats", layers=(*loss, same)),
            ),
        ),
        palette="bits",
        order=named.BITS,
        width=4.2,
        height=3.4,
    )


def loss_by_bytes(models: Sequence[ModelRecords]) -> Sheet:
    """Figure 6: loss against the bytes of the whole network in one convention, a panel a family."""
    panels = []
    for family in named.families_of(models):
        layers: list[Layer] = []
        mine = [m for m in named.of_family(models, family) if m.points and m.checkpoint.parameters_total is not None]
        if not mine:
            continue
        base = [(bytes_of(m, 16.0, embeddings=True) / 1e6, m.loss) for m in mine]
        x, y = arrays(base)
        layers.append(Layer(kind="line", x=x, y=y, color="ink", width=0.8))
        layers.append(Layer(kind="points", x=x, y=y, color="ink", marker="s", label="16 bits"))
        for method in ("nearest", "gptq"):
            for bits in named.BITS:
                pairs = [
                    (bytes_of(m, float(p.seen.bits_per_weight or 16.0), embeddings=True) / 1e6, p.loss)
                    for m in mine
                    for f in named.MX
                    if named.bits_key(f) == bits and (p := m.points.get((method, f))) is not None
                ]
                if pairs:
                    x, y = arrays(pairs)
                    filled = method == "gptq"
                    layers.append(
                        Layer(
                            kind="points",
                            x=x,
                            y=y,
                            color=bits,
                            filled=filled,
                            label=f"{bits}, {method}",
                            size=16,
                            alpha=0.85,
                        )
                    )
        panels.append(
            Axes(title=named.family_name(family), x_label="MB", y_label=NLL, layers=tuple(layers), x_scale="log")
        )
    if not panels:
        raise Absent("no model says its total parameters, so bytes cannot be counted")
    return Sheet(
        name="6",
        title="Loss against bytes",
        caption="Bytes of everything by one convention: weights at their stored bits, embeddings and head at 16. Hollow: nearest; filled: GPTQ.",
        rows=tuple(tuple(panels[i : i + 3]) for i in range(0, len(panels), 3)),
        palette="bits",
        order=named.BITS,
        share_y=True,
        width=3.3,
    )


def rows_of_formats(models: Sequence[ModelRecords], method: str) -> Sheet:
    """Figures 8 (nearest) and 9 (GPTQ): a row a format; left its SQNR, right the loss, a mark a model."""
    shown = [f for f in named.MX if any((method, f) in m.points for m in models)]
    if not shown:
        raise Absent(f"no format was measured with {method}")
    places = {name: float(i) for i, name in enumerate(shown)}
    panels = []
    for title, value, label in (("signal to noise", "sqnr", SQNR), ("loss", "loss", NLL)):
        layers = []
        for family in named.families_of(models):
            pairs = [
                ((p.seen.sqnr_db if value == "sqnr" else p.loss), places[f])
                for m in named.of_family(models, family)
                for f in shown
                if (p := m.points.get((method, f))) is not None and p.seen.sqnr_db is not None
            ]
            if pairs:
                x, y = np.array(pairs, dtype=float).T
                offset = (named.families_of(models).index(family) - 2.5) * 0.1
                layers.append(
                    Layer(
                        kind="points",
                        x=x,
                        y=y + offset,
                        color=family,
                        size=9,
                        alpha=0.85,
                        label=named.family_name(family),
                    )
                )
        panels.append(
            Axes(
                title=title,
                x_label=label,
                y_label="",
                layers=tuple(layers),
                ticks=tuple((i, n) for n, i in places.items()),
            )
        )
    spread = noise_spread(models, method)
    widest = max(spread.values(), key=lambda one: one[2])
    said = (
        f"SQNR of one format differs between models by {widest[2]:.1f} dB at most ({widest[0]:.1f} to {widest[1]:.1f})."
    )
    return Sheet(
        name="8" if method == "nearest" else "9",
        title=f"Every format with {method}",
        caption=f"{said} The loss differs by model.",
        rows=(tuple(panels),),
        palette="family",
        order=tuple(named.families_of(models)),
        share_y=True,
        height=6.2,
        width=4.8,
    )


def noise_spread(
    models: Sequence[ModelRecords], method: str, formats: Sequence[str] = named.MX
) -> dict[str, tuple[float, float, float]]:
    """Return for each format the least and largest SQNR over models, dB, and their difference."""
    found = {}
    for name in formats:
        values = [
            p.seen.sqnr_db
            for m in models
            if (p := m.points.get((method, name))) is not None and p.seen.sqnr_db is not None
        ]
        if values:
            found[name] = (min(values), max(values), max(values) - min(values))
    return found


def integer_names(models: Sequence[ModelRecords]) -> list[str]:
    """Return the plain integer formats that were measured, by width, coarse groups first."""
    names = {f for m in models for _, f in m.points if f.startswith("int") and not f.startswith("int1.")}
    return sorted(names, key=lambda f: (facts(f).bits, -SCOPES.index(scope_of(f)), f))


def scope_of(name: str) -> str:
    """Return what shares a scale: g16 ... g128, row or tensor."""
    part = name.split("_")[1]
    return part if part in SCOPES else "row"


def integers_against_mx(models: Sequence[ModelRecords]) -> Sheet:
    """Figure 10: SQNR of integers with a float scale beside microscaling, three sizes."""
    chosen = named.three([m for m in named.main_family(models) if integer_names([m])])
    named.require(chosen, "integer formats (int4_g128_sym_mse, ...)")
    integers = integer_names(chosen)
    panels = []
    for title, shown in (("integers, float scale", integers), ("microscaling", list(named.MX))):
        layers = []
        for rank, model in enumerate(chosen):
            pairs = [
                (p.seen.sqnr_db, i)
                for i, f in enumerate(shown)
                if (p := model.points.get(("nearest", f))) is not None and p.seen.sqnr_db
            ]
            x, y = np.array(pairs, dtype=float).T if pairs else (np.array([]), np.array([]))
            layers.append(Layer(kind="points", x=x, y=y, color=f"size {rank + 1}", label=named.title_of(model)))
        ticks = tuple((float(i), name) for i, name in enumerate(shown))
        panels.append(Axes(title=title, x_label=SQNR, y_label="", layers=tuple(layers), ticks=ticks))
    return Sheet(
        name="10",
        title="Noise of integers and of microscaling",
        caption=finer_said(models),
        rows=(tuple(panels),),
        palette="size",
        order=tuple(f"size {rank + 1}" for rank in range(len(chosen))),
        height=5.6,
        width=4.9,
    )


def finer_groups(models: Sequence[ModelRecords]) -> list[tuple[str, str, str, float]]:
    """Return (model, width, step, dB) of each refinement of an integer format's scale, such as ("opt-1m", "int4", "row to g128", 0.6)."""
    found = []
    for model in models:
        noise = {
            f: p.seen.sqnr_db
            for (method, f), p in model.points.items()
            if method == "nearest" and p.seen.sqnr_db is not None
        }
        kinds = {(f.split("_")[0], f.split(scope_of(f), 1)[1]) for f in noise if f.startswith("int")}
        for width, rest in sorted(kinds):
            for coarse, fine in zip(SCOPES[::-1], SCOPES[-2::-1]):
                a, b = f"{width}_{coarse}{rest}", f"{width}_{fine}{rest}"
                if a in noise and b in noise:
                    found.append((model.name, width, f"{coarse} to {fine}", noise[b] - noise[a]))
    return found


def finer_said(models: Sequence[ModelRecords]) -> str:
    """Return in words whether a finer group raises SQNR."""
    found = finer_groups(models)
    if not found:
        return "Only one group size was measured."
    up = sum(gain > 0 for *_, gain in found)
    networks = len({name for name, *_ in found})
    return (
        f"A finer group raised SQNR in {up} of {len(found)} refinements in {networks} {'network' if networks == 1 else 'networks'} (mean {np.mean([g for *_, g in found]):+.2f} dB, least "
        f"{min(g for *_, g in found):+.2f} dB)."
    )


def integers_over_landscape(models: Sequence[ModelRecords]) -> Sheet:
    """Figure 11: integer formats, and microscaling ones, over the landscape of one network."""
    have = [m for m in named.main_family(models) if integer_names([m]) and m.random]
    named.require(have, "integer formats and probes")
    model = named.middle(have)
    names = integer_names([model])
    return Sheet(
        name="11",
        title=f"{named.title_of(model)}: integers and microscaling over the landscape",
        caption="Hollow: nearest; filled: GPTQ. Squares are integers with a float scale.",
        rows=(
            (
                points_panel(model, names, title="integers, float scale"),
                points_panel(model, named.MX, title="microscaling"),
            ),
        ),
        palette="bits",
        order=named.BITS,
        share_y=True,
        width=4.4,
        height=3.6,
    )
