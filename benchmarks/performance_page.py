"""The tables and the figure of docs/performance.md from the JSON lines that the GPU benchmarks wrote.

python benchmarks/performance_page.py benchmarks/results/*.jsonl [--figure docs/figures/performance-growth.png] > tables.md
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

try:
    from benchmarks.performance_tables import Line, draw, growth_table, markdown, sections
except ImportError:  # run as a script
    from performance_tables import Line, draw, growth_table, markdown, sections

TOKENS = 128 * 2048
TWELVE = 12
MATRIX_STAGES = ("statistics", "blocks", "head")  # bound by the rate of bfloat16 products


def read(paths: Sequence[str | Path]) -> list[Line]:
    """Return the lines that count: those that a later run supersedes are left out."""
    lines = [json.loads(line) for path in paths for line in Path(path).read_text().splitlines() if line]
    return [at_other_rates(line) for line in lines if "superseded" not in line]


def at_other_rates(line: Line) -> Line:
    """Return a run whose rate of bfloat16 products was disturbed with the rate that its line names instead."""
    if "ceilings_instead" not in line:
        return line
    rates = line["ceilings"] | line["ceilings_instead"]
    roof = {
        stage: took * line["ceilings"]["bf16"] / rates["bf16"] if stage in MATRIX_STAGES else took
        for stage, took in line["roofline_seconds"].items()
    }
    return line | {
        "ceilings": rates, "roofline_seconds": roof, "share_of_roofline": sum(roof.values()) / line["sweep"]
    }  # fmt: skip


def peer_seconds(peers: list[Line], shape: str, layers: int) -> tuple[float, bool] | None:
    """Return the peer's seconds for a shape, its best run, and whether they are scaled up from fewer blocks."""
    mine = [peer for peer in peers if peer["shape"] == shape]
    if not mine:
        return None
    best = min(mine, key=lambda peer: float(peer["seconds"]) / float(peer["layers"]))
    return best["seconds"] * layers / best["layers"], best["layers"] != layers


def one_table(runs: list[Line], peers: list[Line]) -> list[str]:
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


def stage_tables(runs: list[Line]) -> list[str]:
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


def all_blocks(run: Line, blocks: int) -> Line:
    """Return what a run of twelve on some of the blocks gives for all of them; the head and the embeddings are there once.

    The head's part of the seconds was not timed. It is taken at its operations by the measured rate, the least that it can be: more
    would leave less for the blocks, and those are what is multiplied.
    """
    times = blocks / run["layers"]
    head = run["roofline_seconds"]["head"]
    bare_head = head / (TWELVE + 1)
    sweep = times * (run["sweep"] - head) + head
    roof = times * (sum(run["roofline_seconds"].values()) - head) + head
    return run | {
        "layers": blocks,
        "sweep": sweep,
        "bare": times * (run["bare"] - bare_head) + bare_head,
        "share_of_roofline": roof / sweep,
        "peak_gib": None,
    }


def many_table(runs: list[Line], peers: list[Line]) -> list[str]:
    """Twelve variants with their evaluation against bare forwards and against the peer run twelve times."""
    heads = ["shape", "sweep, s", "compiling before, s", "one bare evaluation, s", "in bare evaluations", "allowed",
             "peer 12 times, s", "ratio", "with compiling", "of the roofline", "peak, GiB"]  # fmt: skip
    alone = {run["shape"]: run for run in runs if run["what"] == "one"}
    rows = []
    for run in runs:
        if run["what"] != "twelve":
            continue
        blocks = alone[run["shape"]]["layers"]
        if run["layers"] == blocks:
            rows.append(_many_row(run, run["shape"], alone, peers))
        else:
            rows.append(_many_row(run, f"{run['shape']}, {run['layers']} of {blocks} blocks", alone, peers))
            whole = all_blocks(run, blocks)
            rows.append(_many_row(whole, f"{run['shape']}, all {blocks}, extrapolated", alone, peers))
    return markdown(heads, rows)


def _many_row(run: Line, name: str, alone: dict[str, Line], peers: list[Line]) -> list[str]:
    whole, bare, compiling = alone[run["shape"]], run["bare"], run.get("compile_seconds", 0.0)
    quantization = whole["sweep"] * run["layers"] / whole["layers"]
    peer = peer_seconds(peers, run["shape"], run["layers"])
    told, ratio, with_compiling = "-", "-", "-"
    if peer is not None:
        twelve = TWELVE * (peer[0] + bare)
        told, ratio = f"{twelve:.0f}{'*' * peer[1]}", f"{twelve / run['sweep']:.2f}"
        with_compiling = f"{twelve / (run['sweep'] + compiling):.2f}"
    return [
        name, f"{run['sweep']:.1f}", f"{compiling:.1f}", f"{bare:.2f}", f"{run['sweep'] / bare:.2f}",
        f"{1.2 * (TWELVE + 1) + quantization / bare:.2f}", told, ratio, with_compiling,
        f"{run['share_of_roofline']:.0%}", "-" if run["peak_gib"] is None else f"{run['peak_gib']:.1f}",
    ]  # fmt: skip


def page(paths: Sequence[str | Path]) -> list[str]:
    """Return all tables, as lines of Markdown."""
    everything = read(paths)
    runs = [entry for entry in everything if entry["what"] in ("one", "twelve")]
    peers = [entry for entry in everything if entry["what"] == "peer"]
    best: dict[tuple[str, str], Line] = {}
    for run in runs:
        key = (run["what"], run["shape"])
        if key not in best or run["sweep"] < best[key]["sweep"]:
            best[key] = run
    chosen = sorted(best.values(), key=lambda run: float(run["sweep"]))
    rates = [entry["ceilings"] for entry in everything if "ceilings" in entry]
    return [
        f"{chosen[0]['gpu']}; {peers[0]['peer'] if peers else 'no peer'}.",
        f"Measured rates: bfloat16 products {between(rates, 'bf16')} TFLOP/s, float32 {between(rates, 'fp32')}, "
        f"Cholesky {between(rates, 'cholesky')}; copies {between(rates, 'copy', 1)} TB/s.",
        "",
        *one_table(chosen, peers),
        "",
        *many_table(chosen, peers),
        *stage_tables(chosen),
        *sections(everything),
    ]


def between(rates: list[dict[str, float]], name: str, digits: int = 0) -> str:
    """Return the range of a rate over all calls, in units of 1e12."""
    low, high = (f"{end(rate[name] for rate in rates) / 1e12:.{digits}f}" for end in (min, max))
    return low if low == high else f"{low} to {high}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+")
    parser.add_argument("--figure", type=Path, help="where to draw how cost grows")
    given = parser.parse_args()
    print("\n".join(page(given.results)))
    everything = read(given.results)
    if given.figure is not None and growth_table(everything):
        draw(everything, given.figure)


if __name__ == "__main__":
    main()
