"""The kernels of formats on a GPU against the torch code beside them, as JSON lines; every line says what it measured.

    python benchmarks/format_kernels_gpu.py [nearest] [columns] [search]        (default: all three)

nearest    rounding a float32 matrix to nearest, every format: microseconds of the call, GB/s of weights read and written
           beside those of a plain copy in the same run, torch's microseconds, the share of equal values. `chosen` tells who
           makes the parameters: where it is torch, `rounding_us` is the kernel's part alone.
columns    GPTQ's column kernel: microseconds per 128 columns of 24,576 rows by grid and micro-block, and torch's
search     the second paper's nine microscaling formats with eight dampings, micro-blocks of 32, on the four layers of a small
           block: seconds of `gptq_together` with the kernel and without
"""

import json
import sys
from collections.abc import Callable
from typing import Any

import torch

try:
    from benchmarks import gpu_shapes as shapes
    from benchmarks.gptq_kernel_gpu import COLUMNS, one_launch
except ImportError:  # run as a script
    import gpu_shapes as shapes
    from gptq_kernel_gpu import COLUMNS, one_launch

from bitlaw import catalog
from bitlaw.formats import group_parameters, group_width, parse_format, quantize_groups
from bitlaw.kernels import gptq_columns, grids, grouped, nearest_groups
from bitlaw.predictor.known_formats import PAPER_ELEMENTS
from bitlaw.quantize import InputStatistics
from bitlaw.quantize.arrangement import arrange, group_ranges
from bitlaw.quantize.columns import solve_columns
from bitlaw.quantize.gptq import GptqOptions
from bitlaw.quantize.gptq_together import gptq_together
from bitlaw.quantize.method import WeightJob

DEVICE = "cuda"
SIZE = 8192
ROWS = 24_576
BLOCKS = [
    ("int4_g128", 1), ("int2_g32", 1), ("int4_g128_sym", 1), ("int1.58_g128", 1), ("mxint4_k32", 1), ("mxint4_k32", 32),
    ("mxfp4_e2m1_k16", 16), ("mxfp4_e2m1_k128", 128), ("mxfp6_e3m2_k32_away", 32), ("nvfp4_k16", 1), ("nvfp4_k16", 16),
    ("fp8_e4m3_g128", 1), ("fp4_e2m1_g32", 1), ("nf4_g64", 1), ("nf4_g64", 64), ("kmeans4_g128", 1), ("int4_g128_mse", 1),
]  # fmt: skip


def tell(**fields: Any) -> None:
    print(json.dumps({key: float(f"{v:.4g}") if isinstance(v, float) else v for key, v in fields.items()}), flush=True)


def microseconds(work: Callable[[], Any], least_seconds: float = 0.05) -> float:
    """Return the time of one call, among so many that they take that long together; two calls first, not counted."""
    work()
    once = shapes.seconds(work)
    repeats = min(max(int(least_seconds / once), 1), 200)
    return shapes.seconds(lambda: [work() for _ in range(repeats)]) / repeats * 1e6


def nearest() -> None:
    weight = torch.randn(SIZE, SIZE, device=DEVICE, generator=torch.Generator(DEVICE).manual_seed(0))
    moved = 2 * weight.numel() * weight.element_size()
    other = torch.empty_like(weight)
    copied = moved / microseconds(lambda: other.copy_(weight)) / 1e3
    examples = sorted({name for entry in catalog.FORMATS.values() for name in entry.load().examples()})
    for name in examples:
        format = parse_format(name)
        grid = grids.grid_of(format, weight)
        assert grid is not None, f"{name} is a format without a kernel"
        took = microseconds(lambda format=format: grouped.quantize_groups(weight, format))
        torch_took = microseconds(lambda format=format: quantize_groups(weight, format))
        equal = (grouped.quantize_groups(weight, format) == quantize_groups(weight, format)).double().mean()
        by_torch: dict[str, Any] = {}
        kernel_took = took
        width = group_width(SIZE, format)
        if nearest_groups.choosing(grid, width).choice == grids.GIVEN:
            given = grid.pack(group_parameters(weight, format)).contiguous()
            kernel_took = microseconds(
                lambda grid=grid, width=width, given=given: nearest_groups.round_groups(weight, grid, width, given)
            )
            by_torch = {"rounding_us": kernel_took}
        rate = moved / kernel_took / 1e3
        tell(
            what="nearest",
            format=name,
            size=[SIZE, SIZE],
            chosen="torch" if by_torch else "kernel",
            microseconds=took,
            **by_torch,
            gigabytes_per_second=rate,
            copy_gigabytes_per_second=copied,
            of_a_copy=rate / copied,
            torch_us=torch_took,
            ratio=torch_took / took,
            equal=float(equal),
        )


def columns() -> None:
    generator = torch.Generator(DEVICE).manual_seed(1)
    weight = torch.randn(ROWS, COLUMNS, device=DEVICE, generator=generator)
    factor = torch.triu(0.02 * torch.randn(COLUMNS, COLUMNS, device=DEVICE, generator=generator), diagonal=1)
    factor += torch.eye(COLUMNS, device=DEVICE)
    available = gptq_columns.available
    for name, cell in BLOCKS:
        format = parse_format(name)
        took = microseconds(one_launch(name, ROWS, cell))
        places = arrange(torch.arange(COLUMNS, device=DEVICE), "none", group_ranges(COLUMNS, format))
        bound = format.prepare(weight)

        def loop(places: Any = places, bound: Any = bound, cell: int = cell) -> torch.Tensor:
            return solve_columns(weight, factor, places, bound, micro_block=cell)

        whole = microseconds(loop)
        got = loop()
        gptq_columns.available = lambda device: False  # type: ignore[assignment]
        torch_took = microseconds(loop)
        differs = (got - loop()).abs() > 1e-4 * weight.abs().amax()
        gptq_columns.available = available  # type: ignore[assignment]
        tell(
            what="columns",
            format=name,
            micro_block=cell,
            rows=ROWS,
            launch_us=took,
            call_us=whole,
            torch_us=torch_took,
            ratio=torch_took / whole,
            equal=1.0 - float(differs.double().mean()),
        )


def search(width: int = 256) -> None:
    """A decoder block of this width: attention in and out, feed-forward up and down."""
    layers = [(width, 3 * width), (width, width), (width, 4 * width), (4 * width, width)]
    options = GptqOptions(upstream="full_precision", damping_rule="search", micro_block=32)
    available = gptq_columns.available
    generator = torch.Generator(DEVICE).manual_seed(2)

    def prepared() -> list[tuple[list[WeightJob], InputStatistics]]:
        made = []
        for features, outputs in layers:
            seen = InputStatistics(features, DEVICE)
            seen.add(torch.randn(8192, features, device=DEVICE, generator=generator))
            weight = torch.randn(outputs, features, device=DEVICE, generator=generator) * 0.02
            formats = [parse_format(f"{name}_k32_short") for name in PAPER_ELEMENTS]
            made.append(([WeightJob(weight=weight, format=one, options=options) for one in formats], seen))
        return made

    work = prepared()
    seconds = {}
    for way, there in (("kernel", available), ("torch", lambda device: False)):
        gptq_columns.available = there  # type: ignore[assignment]
        for _ in range(2):  # the second has its factors and its compiled kernels
            seconds[way] = shapes.seconds(lambda: [gptq_together(jobs, seen) for jobs, seen in work])
    gptq_columns.available = available  # type: ignore[assignment]
    tell(
        what="search",
        formats=len(PAPER_ELEMENTS),
        dampings=8,
        layers=layers,
        kernel_s=seconds["kernel"],
        torch_s=seconds["torch"],
        ratio=seconds["torch"] / seconds["kernel"],
    )


def main() -> None:
    torch.backends.cuda.matmul.allow_tf32 = False
    tell(what="environment", environment=shapes.environment())
    for name in sys.argv[1:] or ["nearest", "columns", "search"]:
        {"nearest": nearest, "columns": columns, "search": search}[name]()


if __name__ == "__main__":
    main()
