"""Numeric formats on bare tensors. A format rounds numbers; it knows no layer and no model.

A format sees a group of weights, chooses its parameters (scale, zero point, ...) from them, and rounds values to the grid
those parameters span. That is all a method needs: nearest rounds whole groups at once, GPTQ one column at a time.

To add one: write `formats/<name>.py` with a frozen dataclass that satisfies `base.Format`, and add one line to
`catalog.FORMATS` under the letters its names begin with. `tests/formats/test_conformance.py` picks it up.
"""

from bitlaw.formats.base import Format, parse_format
from bitlaw.formats.grouping import group_starts, quantize_groups

__all__ = ["Format", "group_starts", "parse_format", "quantize_groups"]
