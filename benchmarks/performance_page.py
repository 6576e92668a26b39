"""The tables and the figure of docs/performance.md from the JSON lines that the GPU benchmarks wrote.

python benchmarks/performance_page.py benchmarks/results/*.jsonl [--figure docs/figures/performance-growth.png] > tables.md
"""

import argparse
import json
from pathlib import Path
from typing import Any

try:
    from benchmarks.performance_tables import draw, growth_table, sections
except ImportError:  # run as a script
    from performance_tables import draw, growth_table, sections

TOKENS = 128 * 2048


def read(paths: list[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for path in paths for line in Path(path).read_text().splitlines()]


def peer_seconds(peers: list[dict[str, Any]], shape: str, layers: int) -> tuple[float, bool] | None:
    """Return the peer's seconds for a shape, its best run, and whether they are scaled up from fewer blocks."""
    mine = [peer for peer in peers if peer["shape"] == shape]
    if not mine:
        return None
    best = min(mine, key=lambda peer: float(peer["seconds"]) / float(peer["layers"]))
    return best["seconds"] * layers / best["layers"], best["layers"] != layers


def one_table(runs: list[dict[str, Any]], peers: list[dict[str, Any]]) -> list[str]:
    """Quantization of one variant, beside the peer."""
    lines = [
        "| shape | bitlaw, s | calibration tokens/s | llm-compressor, s | ratio | of the roofline | peak, GiB | peer's peak, GiB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for run in runs:
        if run["what"] != "one":
            continue
        peer = peer_seconds(peers, run["shape"], run["layers"])
        theirs = next((p["peak_gib"] for p in peers if p["shape"] == run["shape"]), float("nan"))
        told, ratio = ("-", "-") if peer is None else (f"{peer[0]:.1f}{'*' * peer[1]}", f"{peer[0] / run['sweep']:.1f}")
        lines.append(
            f"| {run['shape']} | {run['sweep']:.2f} | {TOKENS / run['sweep']:,.0f} | {told} | {ratio} | "
            f"{run['share_of_roofline']:.0%} | {run['peak_gib']:.1f} | {theirs:.1f} |"
        )
    return lines


def stage_tables(runs: list[dict[str, Any]]) -> list[str]:
    """Where the time goes, for runs that were timed by stage."""
    lines: list[str] = []
    for run in runs:
        if "stages" not in run:
            continue
        lines += [
            "",
            f"`{run['what']}`, {run['shape']}, {run['staged_total']:.2f} s with the GPU drained around every stage:",
            "",
        ]
        lines += ["| stage | seconds | at the measured rates | share |", "|---|---|---|---|"]
        for stage, took in run["stages"].items():
            roof = run["roofline_seconds"].get(stage, 0.0)
            share = f"{roof / took:.0%}" if roof else "-"
            lines.append(f"| {stage} | {took:.2f} | {roof:.2f} | {share} |")
    return lines


def many_table(runs: list[dict[str, Any]], peers: list[dict[str, Any]]) -> list[str]:
    """Twelve variants with their evaluation against bare forwards and against the peer run twelve times."""
    lines = [
        "| shape | sweep, s | one bare evaluation, s | in bare evaluations | allowed | peer 12 times, s | ratio | of the roofline | peak, GiB |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    alone = {run["shape"]: run["sweep"] for run in runs if run["what"] == "one"}
    for run in runs:
        if run["what"] != "twelve":
            continue
        peer = peer_seconds(peers, run["shape"], run["layers"])
        bare = run["bare"]
        twelve = 0.0 if peer is None else 12 * (peer[0] + bare)
        told, ratio = (f"{twelve:.0f}", f"{twelve / run['sweep']:.1f}") if twelve else ("-", "-")
        lines.append(
            f"| {run['shape']} | {run['sweep']:.1f} | {bare:.2f} | {run['sweep'] / bare:.2f} | "
            f"{1.2 * 13 + alone[run['shape']] / bare:.2f} | {told} | {ratio} | {run['share_of_roofline']:.0%} | "
            f"{run['peak_gib']:.1f} |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+")
    parser.add_argument("--figure", type=Path, help="where to draw how cost grows")
    given = parser.parse_args()
    everything = read(given.results)
    runs = [entry for entry in everything if entry["what"] in ("one", "twelve")]
    peers = [entry for entry in everything if entry["what"] == "peer"]
    best: dict[tuple[str, str], dict[str, Any]] = {}
    for run in runs:
        key = (run["what"], run["shape"])
        if key not in best or run["sweep"] < best[key]["sweep"]:
            best[key] = run
    chosen = list(best.values())
    rates = chosen[0]["ceilings"]
    print(f"{chosen[0]['gpu']}; {peers[0]['peer'] if peers else 'no peer'}.")
    print(
        f"Measured rates: bfloat16 products {rates['bf16'] / 1e12:.0f} TFLOP/s, float32 {rates['fp32'] / 1e12:.0f}, "
        f"Cholesky {rates['cholesky'] / 1e12:.0f}; copies {rates['copy'] / 1e12:.1f} TB/s.\n"
    )
    print(
        "\n".join(
            [*one_table(chosen, peers), "", *many_table(chosen, peers), *stage_tables(chosen), *sections(everything)]
        )
    )
    if given.figure is not None and growth_table(everything):
        draw(everything, given.figure)


if __name__ == "__main__":
    main()
