"""Numeric formats on bare tensors. A format rounds numbers; it knows no layer and no model.

A format sees a group of weights, chooses its parameters (scale, zero point, codebook, ...) from them, and rounds values to
the grid those parameters span. That is all a method needs: nearest rounds whole groups at once, GPTQ one column at a time.

To add one: write `formats/<name>.py` with a frozen dataclass that satisfies `base.Format` (`scope.Scoped` brings the part
about groups), and add one line to `catalog.FORMATS` under what its names begin with. The conformance tests, the table in
`docs/formats.md` and the list of an error for an unknown format pick it up through `examples()`.
"""

from bitlaw.formats.base import Format, parse_format
from bitlaw.formats.equality import canonical, duplicates
from bitlaw.formats.grouping import (
    bits_per_weight,
    group_columns,
    group_of,
    group_parameters,
    group_starts,
    group_width,
    quantize_groups,
)

__all__ = [
    "Format",
    "bits_per_weight",
    "canonical",
    "duplicates",
    "group_columns",
    "group_of",
    "group_parameters",
    "group_starts",
    "group_width",
    "parse_format",
    "quantize_groups",
]
