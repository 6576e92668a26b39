"""Independent references in numpy float64: no torch, no bit tricks, nothing shared with the package.

Grids are decoded from the definitions; a value is rounded by comparing its distance to both neighbours. All inputs are
float32 and all grids short, so distances are exact in float64.
"""

import functools
import math

import numpy as np

SPECIAL = {"e4m3": "no infinity, last code NaN", "e5m2": "as IEEE 754"}
FLOATS = [f"e{e}m{bits - 1 - e}" for bits in range(2, 9) for e in range(1, bits)]
INTS = [f"int{bits}" for bits in range(2, 9)]


def decode(element: str) -> list[float]:
    """Return every code's value, in the order of the codes."""
    if element.startswith("int"):
        bits = int(element[3:])
        signed = [code - (2**bits if code >= 2 ** (bits - 1) else 0) for code in range(2**bits)]
        return [value * 2.0 ** -(bits - 2) for value in signed]
    x, y = int(element[1]), int(element[3])
    values = []
    for code in range(2 ** (1 + x + y)):
        bits = f"{code:0{1 + x + y}b}"
        sign, exponent, fraction = (
            -1.0 if bits[0] == "1" else 1.0,
            int(bits[1 : 1 + x], 2),
            int(bits[1 + x :] or "0", 2),
        )
        ones = exponent == 2**x - 1
        if element == "e5m2" and ones:
            values.append(math.nan if fraction else sign * math.inf)
        elif element == "e4m3" and ones and fraction == 7:
            values.append(math.nan)
        elif exponent == 0:
            values.append(sign * fraction * 2.0 ** (1 - (2 ** (x - 1) - 1) - y))
        else:
            values.append(sign * (2**y + fraction) * 2.0 ** (exponent - (2 ** (x - 1) - 1) - y))
    return values


@functools.cache
def magnitudes(element: str) -> np.ndarray:
    """Return the magnitudes rounding may give, ascending from 0 (an integer's lowest code is not used)."""
    values = decode(element)
    return np.array(sorted({v for v in values if math.isfinite(v) and v >= 0}))


def nearest(x: np.ndarray, element: str, ties: str = "even") -> np.ndarray:
    """Return the grid value nearest to each x (float64). Beyond the ends: the ends; NaN stays."""
    grid = magnitudes(element)
    magnitude = np.abs(x)
    above = np.clip(np.searchsorted(grid, magnitude), 1, len(grid) - 1)
    low, high = grid[above - 1], grid[above]
    to_low, to_high = magnitude - low, high - magnitude
    steps_low = low / (high - low)  # a whole number: which multiple of the step `low` is
    tie_up = np.ones_like(steps_low, bool) if ties == "away" else steps_low % 2 == 1
    up = (to_high < to_low) | ((to_high == to_low) & tie_up)
    return np.where(np.isnan(x), np.nan, np.copysign(np.where(up, high, low), x))


def wide(x: np.ndarray) -> np.ndarray:
    """Return float32 as float64 (signalling NaN patterns make numpy warn)."""
    with np.errstate(invalid="ignore"):
        return x.astype(np.float64)


def floor_log2(x: float) -> int:
    return math.frexp(x)[1] - 1


def ceil_log2(x: float) -> int:
    mantissa, exponent = math.frexp(x)
    return exponent - 1 if mantissa == 0.5 else exponent


def shared_exponent(largest: float, element: str, rule: str) -> int:
    """Return s of the scale 2^s of a block with that largest magnitude (finite)."""
    top = float(magnitudes(element)[-1])
    emax = floor_log2(top)
    if largest == 0:
        return -127
    if rule == "floor":
        s = floor_log2(largest) - emax
    elif rule == "ceil":
        s = ceil_log2(largest) - emax
    elif rule == "rceil":
        quotient = float(np.float32(largest) / np.float32(top))
        s = ceil_log2(quotient) if quotient else -127
    else:
        fraction_bits = int(element[3:]) - 2 if element.startswith("int") else int(element[3])
        step = 2.0 ** (max(floor_log2(largest), -126) - fraction_bits)
        s = floor_log2(math.floor(largest / step + 0.5) * step or largest) - emax
    return max(-127, min(127, s))


def microscaled(blocks: np.ndarray, element: str, rule: str = "floor", ties: str = "even") -> np.ndarray:
    """Return blocks quantized, float32, beyond its largest number infinite. blocks [n, k], float32."""
    values = wide(blocks)
    finite = np.isfinite(values).all(1)
    largest = np.where(finite, np.abs(values).max(1, initial=0.0), 0.0)
    scale = np.array([2.0 ** shared_exponent(m, element, rule) for m in largest.tolist()])[:, None]
    with np.errstate(over="ignore"):
        quantized = (nearest(values / scale, element, ties) * scale).astype(np.float32)
    return np.where(finite[:, None], quantized, np.float32(np.nan))


def probes(element: str, seed: int = 0) -> np.ndarray:
    """Return float32 values where rounding to an element is hard, at scale 1: grid values, midpoints, and neighbours."""
    grid = magnitudes(element)
    points = np.concatenate([grid, (grid[1:] + grid[:-1]) / 2, [grid[-1] * 1.25, grid[-1] * 2, grid[1] / 4]])
    points = points.astype(np.float32)
    near = np.concatenate([points, np.nextafter(points, np.float32(np.inf)), np.nextafter(points, np.float32(0))])
    random = np.random.default_rng(seed).standard_normal(200).astype(np.float32) * np.float32(grid[-1] / 2)
    powers = np.float32(2.0) ** np.arange(-149, 128, dtype=np.float32)
    extremes = np.array([0, np.finfo(np.float32).max, np.finfo(np.float32).tiny, 1e-45, np.inf], np.float32)
    both = np.concatenate([near, random, powers, extremes])
    return np.concatenate([both, -both, [np.float32(np.nan)]])


def bfloat16_patterns() -> np.ndarray:
    """Return the float32 values of all 65 536 bit patterns of bfloat16: every exponent, denormals, infinities, NaN."""
    return (np.arange(2**16, dtype=np.uint32) << 16).view(np.float32)


def same(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """Return where two arrays hold the same number (zeros of both signs are one) or both NaN."""
    return (got == want) | (np.isnan(got) & np.isnan(want))
