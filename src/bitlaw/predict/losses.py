"""The loss of the 16-bit model beside a degradation: which law or fit gives it, how sure it is, and their sum.

Interval of the 16-bit loss: of a Fit, its band with scatter; of published constants, how far they miss three losses read
off the paper's figure. Outside the fitted range it widens as QiD does, with local exponents that stray by the same share:

    log half-width^2 = (inside)^2 + z^2 sum_j (u_j / |e_j| s_j ln r_j)^2

with u_j / e_j drift over exponent of QiD (evidence.py), s_j the local slope of ln loss in ln x_j at the edge of the
range and r_j the factor outside. No drift of the loss itself could be measured; this is an assumption, and said.
The sum's half-widths are those of the parts in quadrature.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from bitlaw.catalog import LAWS
from bitlaw.errors import InputError
from bitlaw.fit.drift import widened
from bitlaw.fit.result import Fit
from bitlaw.laws import Law, load_law
from bitlaw.laws.law import Array
from bitlaw.predict.evidence import LOSS_WORDS, UNIFIED, drift, loss_scatter
from bitlaw.predict.sources import Source, fit_source, named_source, published_source

PUBLISHED_LOSS = "ouyang2024-loss"
NO_LOSS = "no loss law given for the text and tokenizer of this fit; give loss_law=Fit of a law of the 16-bit loss"
SHARES = {"tokens": "beta", "parameters": "alpha"}  # the exponent of the unified law that each drift is compared with


@dataclass(frozen=True, kw_only=True)
class LossSource:
    """A law of the 16-bit loss that can answer, with its interval."""

    source: Source

    @property
    def name(self) -> str:
        """The law's name."""
        return self.source.name

    def value(self, columns: Mapping[str, Array | float]) -> Array:
        """Return the 16-bit loss, nats per token."""
        return self.source.value(columns)

    def band(self, columns: Mapping[str, Array], level: float) -> tuple[Array, Array]:
        """Return (low, high) of a measured 16-bit loss; columns [n]."""
        mean = self.value(columns)
        sure = NormalDist().inv_cdf((1 + level) / 2)
        if self.source.fit is not None:
            low, high = self.source.fit.band({**self.source.also, **columns}, level=level, scatter=True)
        else:
            reach = sure * loss_scatter(self.source.law, self.source.values)
            low, high = mean * np.exp(-reach), mean * np.exp(reach)
        return widened(mean, low, high, sure * self._stray(columns))

    @property
    def conditions(self) -> tuple[str, ...]:
        """What its fit warned of, which counts for the answers it takes part in."""
        return tuple(f"16-bit loss: {said}" for said in self.source.fit.warnings) if self.source.fit else ()

    def words(self, asked: Mapping[str, float]) -> str:
        """Return in words which law this is, where it comes from and how far outside its range it is asked."""
        outside = self.source.outside({name: asked[name] for name in self.source.law.variables if name in asked})
        said = f" (outside: {'; '.join(out.words for out in outside)})" if outside else ""
        return f"{self.name}, {self.source.origin}{said}"

    def made_of(self) -> str:
        """Return in words what `band` contains."""
        if self.source.fit is not None:
            return f"16-bit loss: uncertainty of its fit ({self.source.fit.interval_words}) and its scatter"
        return LOSS_WORDS

    def _stray(self, columns: Mapping[str, Array]) -> Array:
        constants = load_law(UNIFIED).constants().values
        total = np.zeros(np.shape(columns["tokens"]))
        inner = {name: np.asarray(columns[name], float) for name in columns}
        for name in SHARES:
            if name in self.source.fitted:
                inner[name] = np.clip(inner[name], *self.source.fitted[name])
        for name, exponent in SHARES.items():
            if name not in self.source.fitted:
                continue
            below, beyond = drift()[name]
            low, high = self.source.fitted[name]
            value = np.asarray(columns[name], float)
            up, down = ({**inner, name: inner[name] * factor} for factor in (1.01, 1 / 1.01))
            slope = (np.log(self.value(up)) - np.log(self.value(down))) / (2 * np.log(1.01))
            far = beyond * np.maximum(np.log(value / high), 0.0) + below * np.maximum(np.log(low / value), 0.0)
            total = total + (slope * far / constants[exponent]) ** 2
        return np.asarray(np.sqrt(total))


def resolve_loss(loss_law: str | Law | Fit, source: Source) -> tuple[LossSource | None, str]:
    """Return the law of the 16-bit loss to stand beside a law of QiD, or None and why there is none.

    `auto`: none beside a Fit; else the published law of the same paper if there is one, else `ouyang2024-loss`. `none`:
    none. Raises InputError for a law that gives something else.
    """
    if isinstance(loss_law, str) and loss_law == "none":
        return None, "none asked for"
    if isinstance(loss_law, str) and loss_law == "auto":
        if source.fit is not None:
            return None, NO_LOSS
        loss_law = _of_the_same_paper(source.law.name)
    if isinstance(loss_law, str):
        found = named_source(loss_law, source.also)
    elif isinstance(loss_law, Fit):
        found = fit_source(loss_law, source.also)
    else:
        found = published_source(loss_law, source.also)
    if found.law.target != "baseline_loss":
        raise InputError(f"Law {found.law.name!r} gives {found.law.target}, not baseline_loss. Use {PUBLISHED_LOSS!r}.")
    return LossSource(source=found), ""


def _of_the_same_paper(name: str) -> str:
    """Return the law of the 16-bit loss that the paper of a law of QiD published, as `name` or `name@setting`."""
    paper = name.split("-", 1)[0]
    for other in LAWS:
        law = load_law(other)
        if law.target != "baseline_loss":
            continue
        for published in law.published:
            if paper in (other.split("-", 1)[0], published.setting) and set(law.names) <= set(published.values):
                return f"{other}@{published.setting}" if published.setting else other
    return PUBLISHED_LOSS


def total_band(parts: tuple[tuple[Array, Array, Array], ...]) -> tuple[Array, Array]:
    """Return (low, high) of a sum of independent parts (value, low, high): half-widths in quadrature."""
    value = sum(part[0] for part in parts)
    below = np.sqrt(sum((part[0] - part[1]) ** 2 for part in parts))
    above = np.sqrt(sum((part[2] - part[0]) ** 2 for part in parts))
    return np.asarray(value - below), np.asarray(value + above)
