"""Figure 13: what measuring costs: seconds of GPTQ and of mapping the landscape, against the size of the network."""

from __future__ import annotations

from collections.abc import Sequence

from bitlaw.predictor.landscape import ModelRecords
from bitlaw.report.xu2024 import models as named
from bitlaw.report.xu2024.sheets import SIZE, Absent, Axes, Layer, Sheet, arrays

KINDS = {
    "gptq": "GPTQ, all formats",
    "nearest": "nearest, all formats",
    "landscape": "landscape, random directions",
    "baseline": "one evaluation",
}


def seconds_of(model: ModelRecords) -> dict[str, float]:
    """Return seconds of each kind of work for one network: sums over formats and probes, with the sweep's shared work."""
    found = {
        method: sum(p.made.seconds for (m, name), p in model.points.items() if m == method and name in named.MX)
        for method in ("gptq", "nearest")
    }
    return {**found, "landscape": sum(m.made.seconds for m in model.random), "baseline": model.baseline.made.seconds}


def seconds_by_size(models: Sequence[ModelRecords]) -> Sheet:
    """Figure 13: a line a kind of work."""
    chosen = [m for m in named.main_family(models) if m.random and m.points]
    if not chosen:
        raise Absent("no network with GPTQ and probes was measured")
    layers = []
    for kind, label in KINDS.items():
        x, y = arrays([(m.quantized_parameters, s) for m in chosen if (s := seconds_of(m)[kind]) > 0])
        if len(x):
            layers.append(Layer(kind="line", x=x, y=y, color=kind))
            layers.append(Layer(kind="points", x=x, y=y, color=kind, label=label))
    where = sorted({m.made.device for one in chosen for m in (one.baseline, *one.random)})
    axes = Axes(
        title=named.family_name(chosen[0].family),
        x_label=SIZE,
        y_label="seconds",
        layers=tuple(layers),
        x_scale="log",
        y_scale="log",
    )
    return Sheet(
        name="13",
        title="What it costs",
        caption=f"Seconds as recorded, on {', '.join(where)}; one sweep measures all of them, and shares its work among them.",
        rows=((axes,),),
        palette="costs",
        order=tuple(KINDS),
        width=4.6,
        height=3.4,
    )
