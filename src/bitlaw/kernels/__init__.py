"""Fast paths of functions in `quantize` and `formats`, in Triton, each with the torch code it replaces as its oracle.

    grids.py          how kernels see a format: a few numbers, a way to choose parameters, a way to round
    rounding.py       choosing and rounding in those words, inside a kernel
    gptq_block.py     the column loop of GPTQ: one launch for a block of columns, any number of rows, variants and dampings
    gptq_columns.py   the whole loop around it: the columns behind a block follow by one matrix product
    nearest_groups.py rounding to nearest: parameters chosen and a whole matrix rounded in one launch
    grouped.py        that where it can run, else the torch code
    moments.py        second moments of 16-bit inputs, one triangle (library products, no kernel of ours)
    score_rows.py     cross-entropy, KL divergence and agreement, a row of logits a program

To add one: a file with the kernel and one Python function that launches it, a test in tests/kernels that compares it
with the torch code on random and adversarial input (on a CPU through Triton's interpreter) and compiles it
(tests/kernels/compiling.py), and a line above. A new format needs a function in grids.py, or goes through torch.
Importing this room does not import Triton; `available()` says whether a kernel can run on a device.
"""

from __future__ import annotations

import importlib.util

import torch


def available(device: torch.device) -> bool:
    """Whether Triton kernels run on tensors of this device."""
    return device.type == "cuda" and importlib.util.find_spec("triton") is not None


__all__ = ["available"]
