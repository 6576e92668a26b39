"""Further tables of docs/performance.md from the JSON lines of the other benchmarks, and the figure of how cost grows.

python benchmarks/performance_more.py benchmarks/results/*.jsonl --figure docs/figures/performance-growth.png > tables.md
"""

import argparse
import json
from pathlib import Path
from typing import Any

Line = dict[str, Any]
CHECKPOINTS = 20  # of each size, as the target counts them
VARIED = {
    "parameters": "parameters in quantized layers",
    "calibration_tokens": "calibration tokens",
    "evaluation_tokens": "evaluated tokens",
    "variants": "GPTQ variants",
}


def paper_table(lines: list[Line]) -> list[str]:
    """The first paper's three variants, a checkpoint of each size, and the hours of all its checkpoints."""
    runs = sorted((x for x in lines if x["what"] == "paper"), key=lambda x: float(x["sweep"]))
    if not runs:
        return []
    total = sum(run["sweep"] for run in runs)
    return [
        "| shape | three variants and their evaluation, s | one bare evaluation, s | of the roofline | peak, GiB |",
        "|---|---|---|---|---|",
        *(
            f"| {r['shape']} | {r['sweep']:.1f} | {r['bare']:.2f} | {r['share_of_roofline']:.0%} | {r['peak_gib']:.1f} |"
            for r in runs
        ),
        f"| these {len(runs)}, {CHECKPOINTS} checkpoints each | {CHECKPOINTS * total:,.0f} = {CHECKPOINTS * total / 3600:.2f} hours | | | |",
    ]


def kernel_tables(lines: list[Line]) -> list[str]:
    """Rounding kernels and the column kernel by grid."""
    nearest = [x for x in lines if x["what"] == "nearest"]
    columns = [x for x in lines if x["what"] == "columns"]
    search = [x for x in lines if x["what"] == "search"]
    if not columns:
        return []
    whole = [x for x in nearest if x["chosen"] == "kernel"]
    ends = [min(x["of_a_copy"] for x in whole), max(x["of_a_copy"] for x in whole)]
    times = [min(x["ratio"] for x in whole), max(x["ratio"] for x in whole)]
    return [
        f"Rounding a {whole[0]['size'][0]} x {whole[0]['size'][1]} float32 matrix, {len(whole)} formats whose parameters the kernel chooses: "
        f"{ends[0]:.0%} to {ends[1]:.0%} of a copy's speed, {times[0]:.1f} to {times[1]:.1f} times torch; every value equal in "
        f"{sum(x['equal'] == 1.0 for x in nearest)} of {len(nearest)} formats.",
        "",
        "| GPTQ, 128 columns of 24,576 rows | micro-block | launch, us | call, us | torch, us | ratio |",
        "|---|---|---|---|---|---|",
        *(
            f"| {x['format']} | {x['micro_block']} | {x['launch_us']:.0f} | {x['call_us']:.0f} | {x['torch_us']:,.0f} | {x['ratio']:.1f} |"
            for x in columns
        ),
        "",
        *(
            f"{x['formats']} formats x {x['dampings']} dampings on the {len(x['layers'])} layers of a small block: {x['kernel_s']:.3f} s, "
            f"without the kernel {x['torch_s']:.3f} s."
            for x in search
        ),
    ]


def large_table(lines: list[Line]) -> list[str]:
    """Models read block by block from disk."""
    runs = [x for x in lines if x["what"] == "larger_than_gpu"]
    if not runs:
        return []
    return [
        "| shape | blocks | on disk, GB | seconds | seconds a block | all 80 blocks, s | peak GPU memory, GB |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {r['shape']} | {r['blocks']} of {r['of_blocks']} | {r['checkpoint_gb']:.0f} | {r['seconds']:.0f} | "
            f"{r['seconds_a_block']:.2f} | {r['seconds_all_blocks']:.0f} | {r['peak_gpu_gb']:.1f} |"
            for r in runs
        ),
    ]


def growth_table(lines: list[Line]) -> list[str]:
    """Slopes of log seconds."""
    slopes = [x for x in lines if x["what"] == "growth_slope"]
    if not slopes:
        return []
    points = [x for x in lines if x["what"] == "growth"]
    rows = []
    for one in slopes:
        chosen = sorted((p["value"], p["seconds"]) for p in points if p["varied"] == one["of"])
        (low, fast), (high, slow) = chosen[0], chosen[-1]
        rows.append(
            f"| {VARIED[one['of']]} | {low:,} to {high:,} | {fast:.2f} to {slow:.2f} | {one['slope']:.2f} | {one['upper_slope']:.2f} |"
        )
    return [
        "| against | from, to | seconds | slope of log seconds | slope in the upper half |",
        "|---|---|---|---|---|",
        *rows,
    ]


def peer_table(lines: list[Line]) -> list[str]:
    """QiD beside the peer on a trained checkpoint."""
    runs = [x for x in lines if x["what"] == "peer_qid"]
    if not runs:
        return []

    def told(pair: list[float], sign: str = "") -> str:
        return f"{pair[0]:{sign}.5f} ± {pair[1]:.5f}"

    return [
        "| model | tokens | bits | QiD, bitlaw | QiD, llm-compressor | difference | same weights, at least |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {r['model']} | {r['tokens']:.3g} | {r['bits']} | {told(r['qid'])} | {told(r['peer_qid'])} | "
            f"{told(r['difference'], '+')} | {r['least_same']:.2%} |"
            for r in runs
        ),
    ]


def step_table(lines: list[Line]) -> list[str]:
    """Training steps, recorded and launched anew."""
    runs = [x for x in lines if x["what"] == "train_step"]
    names = dict.fromkeys(r["model"] for r in runs)
    if not names:
        return []
    rows = []
    for name in names:
        ways = {r["recorded"]: r for r in runs if r["model"] == name}
        recorded, anew = ways[True]["milliseconds"], ways[False]["milliseconds"]
        rate = ways[True]["tokens_per_second"]
        rows.append(f"| {name} | {recorded:.1f} | {anew:.1f} | {anew / recorded:.2f} | {rate / 1e6:.2f}M |")
    return ["| model | recorded, ms | launched anew, ms | ratio | tokens/s |", "|---|---|---|---|---|", *rows]


def draw(lines: list[Line], path: Path) -> None:
    """Seconds against each thing that is varied, log axes, with the slope of the upper half."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from bitlaw.report.style import SETTINGS

    slopes = {x["of"]: x for x in lines if x["what"] == "growth_slope"}
    with matplotlib.rc_context(dict(SETTINGS)):
        figure, panels = plt.subplots(1, len(slopes), figsize=(3.1 * len(slopes), 2.9), sharey=True, squeeze=False)
        for panel, (varied, one) in zip(panels[0], slopes.items(), strict=True):
            chosen = sorted(
                (x["value"], x["seconds"]) for x in lines if x["what"] == "growth" and x["varied"] == varied
            )
            x, y = zip(*chosen, strict=True)
            panel.loglog(x, y, "o-", color="#2a6f97", markersize=4)
            end = [x[-1] / 4, x[-1]]
            panel.loglog(end, [y[-1] * 4.0 ** -one["upper_slope"], y[-1]], "--", color="#b4441d", linewidth=1)
            panel.set_xlabel(VARIED[varied])
            panel.set_title(f"slope {one['slope']:.2f}, upper half {one['upper_slope']:.2f}")
        panels[0][0].set_ylabel("seconds of a sweep")
        figure.tight_layout()
        figure.savefig(path, dpi=130)
        plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", type=Path)
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args()
    lines = [json.loads(line) for path in given.results for line in path.read_text().splitlines()]
    for title, table in (
        ("The first paper's three variants", paper_table(lines)),
        ("Read block by block from disk", large_table(lines)),
        ("How cost grows", growth_table(lines)),
        ("QiD beside the peer", peer_table(lines)),
        ("A training step", step_table(lines)),
        ("Kernels by format", kernel_tables(lines)),
    ):
        if table:
            print(f"### {title}\n", *table, "", sep="\n")
    if given.figure is not None and growth_table(lines):
        draw(lines, given.figure)


if __name__ == "__main__":
    main()
