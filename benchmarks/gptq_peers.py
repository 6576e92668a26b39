"""bitlaw's gptq against llm-compressor's and GPTQModel's on one trained checkpoint, as a Markdown table.

    python benchmarks/gptq_peers.py runs/demo/tiny            (in the peers' environment: scripts/test-peers makes it)

Each peer quantizes the last checkpoint of the suite's largest model on the same calibration windows; its dequantized
weights and bitlaw's are scored on the same evaluation windows. `same values` is the share of weights on which both
agree within a quarter of a step.
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
    from benchmarks.gptq_walk import gptq_weights, paired, window_nats
except ImportError:  # run as a script
    from gptq_walk import gptq_weights, paired, window_nats

from bitlaw.measure import MeasurePlan
from bitlaw.suites import open_suite
from bitlaw.text import open_text, token_windows

WEIGHTS_SCRIPT = Path(__file__).with_name("peer_weights.py")
BITS = (2, 3, 4)


@dataclass(frozen=True)
class Match:
    """A peer's settings and the bitlaw variant that should equal them; `equal` false: it is known to differ."""

    peer: str
    label: str
    group_size: int
    line: str
    plain: bool = True
    damping: float = 0.01
    static: bool = False
    equal: bool = True

    def setting(self, bits: int) -> dict[str, Any]:
        """What peer_weights.py is given for one width."""
        name = f"{self.label}-{bits}".replace(" ", "-").replace(",", "")
        return {
            "name": name,
            "bits": bits,
            "group_size": self.group_size,
            "damping": self.damping,
            "plain": self.plain,
            "static": self.static,
        }


STATIC = "gptq int{bits}_g32_sym scales=static"
SEQUENTIAL = "within_block=sequential"
GROUP_AWARE = "gptq int{bits}_g128_sym order=group_aware"
MATCHES = (
    Match("llm-compressor", "no order", 32, STATIC),
    Match("llm-compressor", "no order, damping 0.1", 32, f"{STATIC} damping=0.1", damping=0.1),
    Match("llm-compressor", "default order", 32, f"{STATIC} order=activation", plain=False),
    Match("GPTQModel", "static groups", 32, f"{STATIC} {SEQUENTIAL}", static=True),
    Match("GPTQModel", "no order, groups of 128", 128, f"gptq int{{bits}}_g128_sym {SEQUENTIAL}"),
    Match("GPTQModel", "default order, groups of 128", 128, f"{GROUP_AWARE} {SEQUENTIAL}", plain=False),
    Match("GPTQModel", "no order, groups of 32", 32, f"gptq int{{bits}}_g32_sym {SEQUENTIAL}", equal=False),
    Match("GPTQModel", "no order, groups of 32", 32, f"{STATIC} {SEQUENTIAL}", equal=False),
)


@dataclass(frozen=True)
class Compared:
    """One width of one match. QiD, its error, and the paired difference peer minus bitlaw, nats per token."""

    match: Match
    bits: int
    ours: tuple[float, float]
    peers: tuple[float, float]
    difference: tuple[float, float]
    same: Mapping[str, float]  # layer -> share of equal values

    @property
    def agrees(self) -> bool:
        """Whether QiD differs by at most two paired standard errors."""
        return abs(self.difference[0]) <= 2 * self.difference[1] or self.difference == (0.0, 0.0)


def peer_weights(
    peer: str, folder: Path, calibration: torch.Tensor, settings: Sequence[dict[str, Any]], work: Path
) -> dict[str, dict[str, torch.Tensor]]:
    """Quantized weights by setting and layer; the peer runs in a process of its own. calibration [windows, T]."""
    from safetensors.torch import load_file

    np.save(work / "calibration.npy", calibration.numpy())
    (work / "settings.json").write_text(json.dumps(list(settings)))
    command = [sys.executable, WEIGHTS_SCRIPT, peer, folder, work / "calibration.npy", work / "settings.json", work]
    done = subprocess.run([str(word) for word in command], cwd=work, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{peer} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return {s["name"]: load_file(work / f"{s['name']}.safetensors") for s in settings}


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
    base, tokens = window_nats(model, evaluation, {}), evaluation.shape[1] - 1
    rows = []
    for peer in dict.fromkeys(m.peer for m in matches):
        chosen = [(m, b) for m in matches if m.peer == peer for b in bits]
        settings = {m.setting(b)["name"]: m.setting(b) for m, b in chosen}
        theirs = peer_weights(peer, folder, calibration, list(settings.values()), work)
        for match, width in chosen:
            (_, variant) = MeasurePlan.make(variants=[match.line.format(bits=width)]).variants
            ours, other = gptq_weights(model, variant, calibration), theirs[match.setting(width)["name"]]
            if ours.keys() != other.keys():
                raise RuntimeError(f"{peer} quantized other layers: {sorted(ours.keys() ^ other.keys())}")
            nats, peer_nats = window_nats(model, evaluation, ours), window_nats(model, evaluation, other)
            rows.append(
                Compared(
                    match=match,
                    bits=width,
                    ours=paired(nats, base, tokens),
                    peers=paired(peer_nats, base, tokens),
                    difference=paired(peer_nats, nats, tokens),
                    same={
                        name: same_values(model.get_submodule(name).weight.data, ours[name], other[name], match, width)
                        for name in ours
                    },
                )
            )
    return rows


def same_values(weight: torch.Tensor, ours: torch.Tensor, other: torch.Tensor, match: Match, bits: int) -> float:
    """Share of values within a quarter of a step of each other; the step is that of the group's original weights."""
    groups = weight.reshape(len(weight), -1, match.group_size)
    step = 2 * groups.abs().amax(-1, keepdim=True) / (2**bits - 1)
    return float(((ours - other).reshape(groups.shape).abs() < step / 4).float().mean())


def table(rows: Sequence[Compared]) -> str:
    """Markdown; QiD in 1e-3 nats per token."""
    lines = [
        "| peer, setting | bitlaw | bits | QiD, peer | QiD, bitlaw | difference | same values, worst layer - best |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        shown = [f"{1e3 * value:.2f} ± {1e3 * error:.2f}" for value, error in (r.peers, r.ours)]
        mark = "" if r.agrees else " (!)"
        lines.append(
            f"| {r.match.peer}, {r.match.label} | `{r.match.line.format(bits=r.bits)}` | {r.bits} | {' | '.join(shown)} | "
            f"{1e3 * r.difference[0]:+.3f} ± {1e3 * r.difference[1]:.3f}{mark} | "
            f"{100 * min(r.same.values()):.1f} - {100 * max(r.same.values()):.1f} % |"
        )
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
