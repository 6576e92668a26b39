"""bitlaw's gptq against llm-compressor's and GPTQModel's on one trained checkpoint, as a Markdown table.

    python benchmarks/gptq_peers.py runs/demo/tiny            (in the peers' environment: scripts/test-peers makes it)

Each peer quantizes the last checkpoint of the suite's largest model on the same calibration windows; its dequantized
weights and bitlaw's are scored on the same evaluation windows. `same` is the share of weights on which both agree within
a quarter of a step, in the layer where it is least; `other` how many do not, in all layers. Four differences of QiD are shown:

    as it is    the peer's QiD minus bitlaw's, each with its own walk through the model
    float64     the same with the peer's Hessian factorised in float64, as bitlaw's is (`exact` in peer_weights.py)
    by layer    the same peer minus bitlaw given the peer's own Hessian of every layer: nothing upstream can differ
    reversed    bitlaw with the calibration windows in reverse order minus bitlaw: what the last bits of sums move
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

try:
    from benchmarks.gptq_walk import Weights, gptq_weights, paired, window_nats
except ImportError:  # run as a script
    from gptq_walk import Weights, gptq_weights, paired, window_nats

from bitlaw.formats import parse_format
from bitlaw.measure import MeasurePlan
from bitlaw.quantize import InputStatistics, find_method
from bitlaw.records import Variant
from bitlaw.suites import open_suite
from bitlaw.text import open_text, token_windows

WEIGHTS_SCRIPT = Path(__file__).with_name("peer_weights.py")
BITS = (2, 3, 4)


@dataclass(frozen=True)
class Match:
    """A peer's settings and the bitlaw variant that should equal them."""

    peer: str
    label: str
    group_size: int
    line: str
    plain: bool = True
    damping: float = 0.01
    static: bool = False
    symmetric: bool = True

    def setting(self, bits: int, exact: bool) -> dict[str, Any]:
        """What peer_weights.py is given for one width; `exact`: with the Hessian factorised in float64."""
        name = f"{self.label}-{bits}{'-exact' * exact}".replace(" ", "-").replace(",", "")
        return {
            "name": name,
            "exact": exact,
            "bits": bits,
            "symmetric": self.symmetric,
            "group_size": self.group_size,
            "damping": self.damping,
            "plain": self.plain,
            "static": self.static,
        }


STATIC = "gptq int{bits}_g32_sym scales=static"
SEQUENTIAL = "within_block=sequential"
BLOCK = f"scales=block {SEQUENTIAL}"
AWARE = "order=group_aware"
MATCHES = (
    Match("llm-compressor", "no order", 32, STATIC),
    Match("llm-compressor", "no order, damping 0.1", 32, f"{STATIC} damping=0.1", damping=0.1),
    Match("llm-compressor", "default order", 32, f"{STATIC} order=activation", plain=False),
    Match("llm-compressor", "asymmetric", 32, "gptq int{bits}_g32 scales=static", symmetric=False),
    Match("GPTQModel", "static groups", 32, f"{STATIC} {SEQUENTIAL}", static=True),
    Match("GPTQModel", "no order, groups of 128", 128, f"gptq int{{bits}}_g128_sym {SEQUENTIAL}"),
    Match(
        "GPTQModel", "default order, groups of 128", 128, f"gptq int{{bits}}_g128_sym {AWARE} {SEQUENTIAL}", plain=False
    ),
    Match("GPTQModel", "asymmetric, groups of 128", 128, f"gptq int{{bits}}_g128 {SEQUENTIAL}", symmetric=False),
    Match("GPTQModel", "no order, groups of 32", 32, f"gptq int{{bits}}_g32_sym {BLOCK}"),
    Match("GPTQModel", "default order, groups of 32", 32, f"gptq int{{bits}}_g32_sym {AWARE} {BLOCK}", plain=False),
)


Paired = tuple[float, float]
"""A mean difference of windows and its paired standard error, nats per token."""


NOTHING = 5e-7
"""Nats per token that the tables print as 0."""


def agrees(difference: Paired) -> bool:
    """Whether QiD differs by at most two paired standard errors, or by nothing."""
    return abs(difference[0]) <= max(2 * difference[1], NOTHING)


@dataclass(frozen=True)
class Against:
    """What another's QiD is more than bitlaw's, of each layer the share of values that both hold, and how many differ in all."""

    difference: Paired
    same: Mapping[str, float]
    different: int


@dataclass(frozen=True)
class Compared:
    """One width of one match: bitlaw's QiD, and the four comparisons of this file's head."""

    match: Match
    bits: int
    ours: Paired
    shipped: Against
    exact: Against
    by_layer: Against
    reversed: Against


def peer_weights(
    peer: str, folder: Path, calibration: torch.Tensor, settings: Sequence[dict[str, Any]], work: Path
) -> dict[str, dict[str, torch.Tensor]]:
    """Quantized weights by setting and layer, Hessians under `<setting>.hessians`; the peer runs in a process of its own."""
    from safetensors.torch import load_file

    np.save(work / "calibration.npy", calibration.numpy())
    (work / "settings.json").write_text(json.dumps(list(settings)))
    command = [sys.executable, WEIGHTS_SCRIPT, peer, folder, work / "calibration.npy", work / "settings.json", work]
    done = subprocess.run([str(word) for word in command], cwd=work, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{peer} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    names = [s["name"] for s in settings] + [f"{s['name']}.hessians" for s in settings if s["exact"]]
    return {name: load_file(work / f"{name}.safetensors") for name in names}


def compare(
    model: torch.nn.Module,
    folder: Path,
    calibration: torch.Tensor,
    evaluation: torch.Tensor,
    matches: Sequence[Match],
    work: Path,
    bits: Sequence[int] = BITS,
) -> list[Compared]:
    """Compare every match at every width. folder: model and tokenizer; calibration, evaluation [windows, T]."""
    base = window_nats(model, evaluation, {})
    rows = []
    for peer in dict.fromkeys(m.peer for m in matches):
        chosen = [(m, b) for m in matches if m.peer == peer for b in bits]
        settings = [m.setting(b, exact) for m, b in chosen for exact in (False, True)]
        theirs = peer_weights(peer, folder, calibration, settings, work)
        for match, width in chosen:
            (_, variant) = MeasurePlan.make(variants=[match.line.format(bits=width)]).variants
            ours = gptq_weights(model, variant, calibration, batch=1)  # the peers read one window at a time
            exact = match.setting(width, True)["name"]
            pairs = {  # what is compared with what
                "shipped": (theirs[match.setting(width, False)["name"]], ours),
                "exact": (theirs[exact], ours),
                "by_layer": (theirs[exact], given_hessians(model, variant, theirs[f"{exact}.hessians"])),
                "reversed": (gptq_weights(model, variant, calibration.flip(0), batch=1), ours),
            }
            steps = {name: step(model.get_submodule(name).weight.data, match, width) for name in ours}
            found = {name: against(model, evaluation, *pair, steps) for name, pair in pairs.items()}
            nats = window_nats(model, evaluation, ours)
            rows.append(Compared(match=match, bits=width, ours=paired(nats, base, evaluation.shape[1] - 1), **found))
    return rows


def given_hessians(model: torch.nn.Module, variant: Variant, hessians: Mapping[str, torch.Tensor]) -> Weights:
    """bitlaw's weights of every layer from the Hessian that another tool had there."""
    method, format = find_method(variant.method), parse_format(variant.format)
    options = method.make_options(variant.options)
    return {
        name: method.quantize(
            model.get_submodule(name).weight.data, InputStatistics.from_hessian(hessian), format, options, name
        ).weight
        for name, hessian in hessians.items()
    }


def against(
    model: torch.nn.Module, evaluation: torch.Tensor, other: Weights, ours: Weights, steps: Mapping[str, torch.Tensor]
) -> Against:
    """Compare two sets of weights; steps: of each layer, as `step` gives them."""
    if ours.keys() != other.keys():
        raise RuntimeError(f"other layers were quantized: {sorted(ours.keys() ^ other.keys())}")
    nats, others = (window_nats(model, evaluation, weights) for weights in (ours, other))
    same = {layer: same_values(ours[layer], other[layer], steps[layer]) for layer in ours}
    return Against(
        difference=paired(others, nats, evaluation.shape[1] - 1),
        same=same,
        different=round(sum((1.0 - same[layer]) * ours[layer].numel() for layer in ours)),
    )


def step(weight: torch.Tensor, match: Match, bits: int) -> torch.Tensor:
    """The grid's step of each group of the original weight. weight [out, in] -> [out, groups, 1]."""
    groups = weight.reshape(len(weight), -1, match.group_size)
    reach = 2 * groups.abs().amax(-1, keepdim=True)
    if not match.symmetric:
        reach = groups.amax(-1, keepdim=True).clamp_min(0) - groups.amin(-1, keepdim=True).clamp_max(0)
    return reach / (2**bits - 1)


def same_values(ours: torch.Tensor, other: torch.Tensor, steps: torch.Tensor) -> float:
    """Share of values within a quarter of a step of each other; steps [out, groups, 1]."""
    return float(((ours - other).reshape(*steps.shape[:2], -1).abs() < steps / 4).double().mean())


def table(rows: Sequence[Compared]) -> str:
    """Markdown; QiD in 1e-3 nats per token."""
    compared = ("as it is", "float64", "by layer", "reversed")
    heads = [
        "peer, setting",
        "bitlaw",
        "bits",
        "QiD, bitlaw",
        *(w for name in compared for w in (name, "other" if name == "by layer" else "same")),
    ]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for r in rows:
        cells = [f"{r.match.peer}, {r.match.label}", f"`{r.match.line.format(bits=r.bits)}`", str(r.bits)]
        cells.append(f"{1e3 * r.ours[0]:.2f} ± {1e3 * r.ours[1]:.2f}")
        for found in (r.shipped, r.exact, r.by_layer, r.reversed):
            mark = "" if agrees(found.difference) else " (!)"
            cells.append(f"{1e3 * found.difference[0]:+.3f} ± {1e3 * found.difference[1]:.3f}{mark}")
            cells.append(str(found.different) if found is r.by_layer else f"{100 * min(found.same.values()):.1f} %")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite")
    parser.add_argument("--peer", action="append", help="only this peer")
    given = parser.parse_args()
    checkpoint = max(open_suite(given.suite).checkpoints, key=lambda c: (c.described.parameters, c.described.step))
    model, tokenizer = checkpoint.load()
    length = int(model.config.max_position_embeddings)
    evaluation = token_windows(tokenizer, open_text("sample:evaluation"), length, windows=256)
    calibration = token_windows(tokenizer, open_text("sample:train"), length, windows=128, seed=0)
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "model"
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        rows = compare(
            model,
            folder,
            torch.from_numpy(calibration.ids).long(),
            torch.from_numpy(evaluation.ids).long(),
            [m for m in MATCHES if not given.peer or m.peer in given.peer],
            Path(work),
        )
    print(f"{checkpoint.described.model} step {checkpoint.described.step}, 1e-3 nats per token\n")
    print(table(rows))


if __name__ == "__main__":
    main()
