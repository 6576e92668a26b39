"""What a law is: parameters with meanings and bounds, the columns it reads, a formula, published constants.

A law neither fits nor draws itself. Its formula takes parameter values and columns that broadcast against each other:

    values   name -> scalar, or [B, 1] for B parameter sets at once (starts, bootstrap replicates)
    columns  name -> [n] rows
    result   [n] or [B, n], nats per token
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitlaw.catalog import LAWS, find
from bitlaw.errors import InputError, UnknownName

Array = NDArray[np.float64]
Values = Mapping[str, Any]
Columns = Mapping[str, Any]
Formula = Callable[[Values, Columns], Array]
Gradient = Callable[[Values, Columns], dict[str, Array]]


@dataclass(frozen=True, kw_only=True)
class Variable:
    """A column a law may read: its symbol in formulas, its unit and what it means. `zero` says that it may be 0."""

    symbol: str
    unit: str
    meaning: str
    zero: bool = False


VARIABLES: Mapping[str, Variable] = {
    "parameters": Variable(symbol="N", unit="parameters", meaning="non-embedding parameters, raw count"),
    "tokens": Variable(symbol="D", unit="tokens", meaning="training tokens seen, raw count"),
    "bits": Variable(symbol="P", unit="bits", meaning="nominal bits per quantized weight"),
    "bits_per_weight": Variable(
        symbol="S", unit="bits", meaning="stored bits per quantized weight, scales and zero points counted"
    ),
    "group_size": Variable(symbol="G", unit="weights", meaning="weights that share a scale"),
    "layer_size": Variable(
        symbol="M", unit="parameters", meaning="mean parameters of a quantized linear layer: how wide the network is"
    ),
    "format_error": Variable(
        symbol="err",
        unit="1",
        meaning="mean squared error of rounding the weights to nearest, over their mean square: 10^(-SQNR/10)",
    ),
    "gaussian_error": Variable(
        symbol="gauss", unit="1", meaning="mean squared rounding error of the format on standard normal numbers"
    ),
    "learning_rate": Variable(symbol="LR", unit="1", meaning="learning rate in force at the checkpoint", zero=True),
    "peak_learning_rate": Variable(symbol="LRpeak", unit="1", meaning="largest learning rate of the schedule"),
    "step": Variable(symbol="T", unit="steps", meaning="optimizer steps taken"),
    "baseline_loss": Variable(symbol="L16", unit="nats", meaning="loss of the 16-bit model"),
    "share_quantized": Variable(
        symbol="Qr", unit="1", meaning="share of the parameters in low precision, 0 to 1", zero=True
    ),
    "calibration_samples": Variable(symbol="Cb", unit="samples", meaning="calibration samples of the quantizer"),
    "weight_bits": Variable(symbol="Pw", unit="bits", meaning="bits of the weights during training"),
    "activation_bits": Variable(symbol="Pa", unit="bits", meaning="bits of the activations during training"),
    "cache_bits": Variable(symbol="Pkv", unit="bits", meaning="bits of keys and values during training"),
    "exponent_bits": Variable(symbol="Eb", unit="bits", meaning="exponent bits of a floating format", zero=True),
    "mantissa_bits": Variable(symbol="Mb", unit="bits", meaning="mantissa bits of a floating format", zero=True),
}
"""Columns that formulas read, by the name they have in a `Table`. A law that needs another adds it here."""

INDICATOR = "is:"
"""Prefix of columns that are 1 where a text column has one value and 0 elsewhere, such as `is:method=gptq`."""

TARGETS: Mapping[str, str] = {
    "qid": "quantization-induced degradation: quantized loss minus 16-bit loss, nats per token",
    "baseline_loss": "loss of the 16-bit model, nats per token",
    "loss": "loss of the quantized model, nats per token",
    "capacity": "effective over actual parameters of a compressed model, 1",
    "critical_tokens": "training tokens beyond which more of them make the quantized model worse",
    "optimal_learning_rate": "peak learning rate with the least final loss",
    "task_error": "-ln of the accuracy adjusted for chance, nats",
}


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One constant of a law.

    `lower` and `upper` bound it; `starts` are values from which a fit may begin; `log` says that it is positive and
    fitted (and given its interval) on a log scale. A fit holds the parameter at `held`, or equal to the parameter
    `tied`, unless it is told to free it: for constants that most tables cannot tell. `prior` is (centre, standard
    deviation) on the fitting scale: what other suites say, which counts like one more row of that precision.
    """

    name: str
    meaning: str
    unit: str
    lower: float
    upper: float
    starts: tuple[float, ...]
    log: bool = False
    held: float | None = None
    tied: str = ""
    prior: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if not self.lower < self.upper or not self.starts or (self.log and self.lower <= 0):
            raise InputError(
                f"Parameter {self.name!r} needs lower < upper (lower > 0 on a log scale) and at least one start; "
                f"given lower={self.lower}, upper={self.upper}, starts={self.starts}."
            )
        if self.prior is not None and not self.prior[1] > 0:
            raise InputError(f"The prior of parameter {self.name!r} needs a standard deviation above 0: {self.prior}.")
        if not all(self.lower <= start <= self.upper for start in self.starts):
            raise InputError(f"Starts {self.starts} of parameter {self.name!r} leave [{self.lower}, {self.upper}].")


@dataclass(frozen=True, kw_only=True)
class Published:
    """One published set of constants. A constant that is not known is absent from `values`.

    `sureness` says how the numbers were obtained (read, recovered, inferred); `fitted` gives the range of each
    variable they were fitted on; `data` says what was measured; `setting` tells the sets of one law apart.
    """

    values: Mapping[str, float]
    source: str
    sureness: str
    fitted: Mapping[str, tuple[float, float]]
    data: str
    note: str = ""
    setting: str = ""


@dataclass(frozen=True, kw_only=True)
class Law:
    """A formula for a loss or a degradation, with everything needed to fit it, print it and use published constants.

    `text` is the formula as people read it. `target` is one of `TARGETS`. `gradient` returns the derivative with
    respect to each parameter; without one, central differences are used.
    """

    name: str
    summary: str
    text: str
    target: str
    parameters: tuple[Parameter, ...]
    variables: tuple[str, ...]
    formula: Formula
    gradient: Gradient | None = None
    published: tuple[Published, ...] = field(default_factory=tuple)
    source: str = ""

    def __post_init__(self) -> None:
        if self.target not in TARGETS:
            raise InputError(f"Law {self.name!r} has target {self.target!r}. Known: {', '.join(TARGETS)}.")
        if unknown := [name for name in self.variables if name not in VARIABLES and not name.startswith(INDICATOR)]:
            raise InputError(f"Law {self.name!r} reads unknown columns {unknown}. Known: {', '.join(VARIABLES)}.")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters, in order."""
        return tuple(parameter.name for parameter in self.parameters)

    def parameter(self, name: str) -> Parameter:
        """Return the parameter of that name. Raises InputError if there is none."""
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter
        raise InputError(f"Law {self.name!r} has no parameter {name!r}. Its parameters: {', '.join(self.names)}.")

    def constants(self, setting: str | None = None) -> Published:
        """Return the first published set that gives every parameter, or the set of that setting.

        Raises InputError if there is none.
        """
        if setting is not None and (known := [p.setting for p in self.published]) and setting not in known:
            raise UnknownName(f"setting of {self.name!r}", setting, known)
        for published in self.published:
            if all(name in published.values for name in self.names) and setting in (None, published.setting):
                return published
        known = sorted({name for published in self.published for name in published.values})
        missing = [name for name in self.names if name not in known]
        raise InputError(
            f"Law {self.name!r} cannot be evaluated: its published constants lack {', '.join(missing) or 'a full set'}"
            f" (known: {', '.join(known) or 'none'}). Fit it to a table of measurements first."
        )

    def evaluate(self, values: Values, columns: Columns) -> Array:
        """Return the formula's value, nats per token. values: see module; raises InputError for a missing name."""
        self._check(values, columns)
        return self.formula(values, columns)

    def derivatives(self, values: Values, columns: Columns) -> dict[str, Array]:
        """Return d nats / d parameter for each parameter, each of the shape of `evaluate`."""
        self._check(values, columns)
        if self.gradient is not None:
            return self.gradient(values, columns)
        return {name: self._central(name, values, columns) for name in self.names}

    def _central(self, name: str, values: Values, columns: Columns) -> Array:
        value = np.asarray(values[name], dtype=float)
        step = 1e-6 * (np.abs(value) if self.parameter(name).log else np.maximum(np.abs(value), 1e-3))
        up = self.formula({**values, name: value + step}, columns)
        down = self.formula({**values, name: value - step}, columns)
        return np.asarray((up - down) / (2.0 * step))

    def _check(self, values: Values, columns: Columns) -> None:
        if missing := [name for name in self.names if name not in values]:
            raise InputError(f"Law {self.name!r} needs values of {', '.join(missing)}; given: {', '.join(values)}.")
        if missing := [name for name in self.variables if name not in columns]:
            raise InputError(f"Law {self.name!r} needs columns {', '.join(missing)}; given: {', '.join(columns)}.")


def law_names() -> tuple[str, ...]:
    """Names of every law in the catalog, in its order."""
    return tuple(LAWS)


def load_law(name: str) -> Law:
    """Return the law of that name. Raises UnknownName with the near matches."""
    law = find("law", name).load()
    if not isinstance(law, Law):
        raise TypeError(f"catalog entry of law {name!r} is a {type(law).__name__}, not a Law")
    return law
