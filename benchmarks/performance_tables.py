"""Tables of docs/performance.md beyond one and twelve variants, and the figure of how cost grows; `performance_page.py` prints them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

Line = dict[str, Any]
CHECKPOINTS = 20  # of each size, as the target counts them
SECONDS = (0.5, 1, 2, 5, 10, 20, 50, 100, 200)  # on the figure's axis
VARIED = {
    "parameters": "parameters in quantized layers",
    "calibration_tokens": "calibration tokens",
    "evaluation_tokens": "evaluated tokens",
    "variants": "GPTQ variants",
}


def markdown(heads: list[str], rows: Iterable[list[str]]) -> list[str]:
    """Return a Markdown table; none where there are no rows."""
    lines = [f"| {' | '.join(cells)} |" for cells in rows]
    return [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads), *lines] if lines else []


def paper_table(lines: list[Line]) -> list[str]:
    """The first paper's three variants, a checkpoint of each size, and the hours of all its checkpoints."""
    runs = sorted((x for x in lines if x["what"] == "paper"), key=lambda x: float(x["sweep"]))
    if not runs:
        return []
    heads = ["shape", "three variants and their evaluation, s", "compiling before, s", "one bare evaluation, s",
             "of the roofline", "peak, GiB"]  # fmt: skip
    compiling = [r["compile_seconds"] if r["compiled"] else 0.0 for r in runs]
    rows = [
        [
            r["shape"], f"{r['sweep']:.1f}", f"{once:.1f}" if once else "not compiled", f"{r['bare']:.2f}",
            f"{r['share_of_roofline']:.0%}", f"{r['peak_gib']:.1f}",
        ]
        for r, once in zip(runs, compiling, strict=True)
    ]  # fmt: skip
    total, once = sum(run["sweep"] for run in runs), sum(compiling)
    rows.append([f"all {len(runs)}", f"{total:.1f}", f"{once:.1f}", "", "", ""])
    return [
        *markdown(heads, rows),
        "",
        f"{CHECKPOINTS} checkpoints of each: {CHECKPOINTS * total:,.0f} s, {CHECKPOINTS * total / 3600:.2f} GPU-hours, and {once:.0f} s of compiling, "
        f"once a size. Compiled anew for every checkpoint it would be {CHECKPOINTS * (total + once) / 3600:.2f} hours.",
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
    heads = ["shape", "blocks", "on disk, GB", "seconds", "seconds a block", "all 80 blocks, s", "peak GPU memory, GB"]
    return markdown(
        heads,
        (
            [
                r["shape"], f"{r['blocks']} of {r['of_blocks']}", f"{r['checkpoint_gb']:.0f}", f"{r['seconds']:.0f}",
                f"{r['seconds_a_block']:.2f}", f"{r['seconds_all_blocks']:.0f}", f"{r['peak_gpu_gb']:.1f}",
            ]
            for r in lines if r["what"] == "larger_than_gpu"
        ),
    )  # fmt: skip


def growth_points(lines: list[Line], slope: Line) -> list[tuple[float, float]]:
    """Return what was varied and seconds, ascending, of the range that a line with a slope belongs to."""
    return sorted(
        (x["value"], x["seconds"])
        for x in lines
        if x["what"] == "growth" and (x["varied"], x["gpu"]) == (slope["of"], slope["gpu"])
    )


def growth_table(lines: list[Line]) -> list[str]:
    """Slopes of log seconds."""
    rows = []
    for one in [x for x in lines if x["what"] == "growth_slope"]:
        chosen = growth_points(lines, one)
        (low, fast), (high, slow) = chosen[0], chosen[-1]
        span, took = f"{low:,} to {high:,}", f"{fast:.2f} to {slow:.2f}"
        rows.append([VARIED[one["of"]], span, took, f"{one['slope']:.2f}", f"{one['upper_slope']:.2f}"])
    return markdown(["against", "from, to", "seconds", "slope of log seconds", "slope in the upper half"], rows)


def peer_table(lines: list[Line]) -> list[str]:
    """QiD beside the peer on a trained checkpoint."""

    def told(pair: list[float], sign: str = "") -> str:
        return f"{pair[0]:{sign}.5f} ± {pair[1]:.5f}"

    heads = [
        "model",
        "tokens",
        "on",
        "bits",
        "QiD, bitlaw",
        "QiD, llm-compressor",
        "difference",
        "same weights, at least",
    ]
    return markdown(
        heads,
        (
            [
                r["model"], f"{r['tokens']:.3g}", r["gpu"], str(r["bits"]), told(r["qid"]), told(r["peer_qid"]),
                told(r["difference"], "+"), f"{r['least_same']:.2%}",
            ]
            for r in lines if r["what"] == "peer_qid"
        ),
    )  # fmt: skip


def step_table(lines: list[Line]) -> list[str]:
    """Training steps, recorded and launched anew."""
    runs = [x for x in lines if x["what"] == "train_step"]
    rows = []
    for name in dict.fromkeys(r["model"] for r in runs):
        ways = {r["recorded"]: r for r in runs if r["model"] == name}
        recorded, anew = ways[True]["milliseconds"], ways[False]["milliseconds"]
        rate = f"{ways[True]['tokens_per_second'] / 1e6:.2f}M"
        rows.append([name, f"{recorded:.1f}", f"{anew:.1f}", f"{anew / recorded:.2f}", rate])
    return markdown(["model", "recorded, ms", "launched anew, ms", "ratio", "tokens/s"], rows)


def short(count: float) -> str:
    """Return a number in two or three digits: 16, 131k, 2.5G."""
    for name, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.2g}{name}" if count < 10 * size else f"{count / size:.0f}{name}"
    return f"{count:.0f}"


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
            x, y = zip(*growth_points(lines, one), strict=True)
            panel.loglog(x, y, "o-", color="#2a6f97", markersize=4)
            end = [x[-1] / 4, x[-1]]
            panel.loglog(end, [y[-1] * 4.0 ** -one["upper_slope"], y[-1]], "--", color="#b4441d", linewidth=1)
            panel.set_xticks(x, [short(value) for value in x])
            panel.set_xticks([], minor=True)
            panel.tick_params(axis="x", labelsize=7)
            panel.set_yticks(SECONDS, map(str, SECONDS))
            panel.set_yticks([], minor=True)
            panel.set_xlabel(VARIED[varied])
            panel.set_title(f"slope {one['slope']:.2f}, upper half {one['upper_slope']:.2f} (dashed)", fontsize=8)
        taken = [seconds for one in slopes.values() for _, seconds in growth_points(lines, one)]
        panels[0][0].set_ylim(0.8 * min(taken), 1.3 * max(taken))
        panels[0][0].set_ylabel("seconds of a sweep")
        figure.tight_layout()
        figure.savefig(path, dpi=130)
        plt.close(figure)


def sections(lines: list[Line]) -> list[str]:
    """Return all tables there are lines for, each under its title."""
    made = (
        ("The first paper's three variants", paper_table(lines)),
        ("Read block by block from disk", large_table(lines)),
        ("How cost grows", growth_table(lines)),
        ("QiD beside the peer", peer_table(lines)),
        ("A training step", step_table(lines)),
        ("Kernels by format", kernel_tables(lines)),
    )
    return [line for title, table in made if table for line in ("", f"### {title}", "", *table)]
