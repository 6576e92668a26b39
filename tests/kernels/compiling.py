"""Compiles every variant of the column kernel for an H100, which needs no GPU; run by test_compiles.py in its own process.

The interpreter takes programs that the compiler refuses.
"""

import os

os.environ["TRITON_INTERPRET"] = "0"

import torch
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile

from bitlaw.formats import parse_format
from bitlaw.kernels import gptq_block, grids, nearest_groups

FORMATS = ["int4_g16", "int4_g16_mse", "mxint4_k16", "mxfp4_e2m1_k16_away", "fp4_e2m1_g16", "int1.58_g16", "nvfp4_k16",
           "nf4_g16", "kmeans8_row"]  # fmt: skip
POINTERS = dict.fromkeys(("block", "factor", "given", "facts", "table", "values", "errors"), "*fp32")
POINTERS |= {"group_of": "*i32", "kinds": "*i32"}
NEAREST_POINTERS = {
    "weight": "*bf16",
    "out": "*bf16",
    "given": "*fp32",
    "facts": "*fp32",
    "table": "*fp32",
    "tries": "*fp32",
}


def compiled(kernel, pointers: dict[str, str], constants: dict[str, object], warps: int = 1) -> None:
    """Compile; what is neither a pointer nor a constant is a whole number."""
    rest = {name: "i32" for name in kernel.arg_names if name not in pointers and name not in constants}
    signature = {name: {**pointers, **rest, **dict.fromkeys(constants, "constexpr")}[name] for name in kernel.arg_names}
    made = compile(
        ASTSource(fn=kernel, signature=signature, constexprs=constants),
        target=GPUTarget("cuda", 90, 32),
        options={"num_warps": warps},
    )
    assert made.asm["cubin"]


def main() -> None:
    for name in FORMATS:
        grid = grids.grid_of(parse_format(name), torch.ones(2, 16))
        for cell in (1, 32):
            compiled(gptq_block._columns, POINTERS, gptq_block.constants(grid.family, 128, 16, cell, rows=4))
            print(name, cell, flush=True)
    for name in [*FORMATS, "int4_row", "nf4_row"]:
        grid = grids.grid_of(parse_format(name), torch.ones(2, 16))
        width = 16 if name not in ("int4_row", "nf4_row") else 2 * nearest_groups.WIDEST_TILE
        family = nearest_groups.choosing(grid, width)
        for choose_only in (False, True) if family.choice != grids.GIVEN else (False,):
            pointers = NEAREST_POINTERS | ({"out": "*fp32"} if choose_only else {})
            constants = nearest_groups.constants(family, 5 * width, width, choose_only=choose_only)
            compiled(nearest_groups._groups, pointers, constants, warps=4)
        print("nearest", name, flush=True)
    print("all")


if __name__ == "__main__":
    main()
