"""What calibration tells: of a layer's input its moments (computed once and shared), of its weights their gradients."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from bitlaw.errors import HessianError, InputError, NonFiniteError, UnreadError
from bitlaw.kernels import moments
from bitlaw.quantize.triangular import invert_lower


class InputStatistics:
    """Sums over calibration tokens for one input, shared by all layers and variants that read it.

    hessian    [in, in]  mean of x^T x (GPTQ's H up to a factor that cancels)
    magnitude  [in]      mean of |x| (AWQ's measure of a channel)
    largest    [in]      max of |x| (SmoothQuant's)
    drift      [in, in]  mean of (x' - x)^T x, x' the same tokens' input in the 16-bit network (GPTAQ's asymmetry); 0 unless given

    All float32; 16-bit inputs on a GPU are multiplied as they are and summed in float32 (kernels/moments.py). What methods derive from them is kept with `derived`, so variants that share an input share that work too.
    """

    def __init__(self, features: int, device: torch.device | str = "cpu") -> None:
        self._sum = torch.zeros(features, features, dtype=torch.float32, device=device)
        self._absolute = torch.zeros(features, dtype=torch.float32, device=device)
        self._largest = torch.zeros(features, dtype=torch.float32, device=device)
        self._drift: torch.Tensor | None = None
        self._one_triangle = False
        self.tokens = 0
        self._kept: dict[Hashable, Any] = {}

    @classmethod
    def from_hessian(cls, hessian: torch.Tensor, tokens: int = 1) -> InputStatistics:
        """Return statistics with the given mean second moment [in, in]; magnitude and largest are its diagonal's root."""
        made = cls(hessian.shape[0], hessian.device)
        made._sum = hessian * tokens
        made._largest = hessian.diagonal().clamp_min(0.0).sqrt().to(torch.float32)
        made._absolute = made._largest * tokens
        made.tokens = tokens
        return made

    @property
    def features(self) -> int:
        """Width of the input."""
        return self._sum.shape[0]

    def add(self, inputs: torch.Tensor, full_precision: torch.Tensor | None = None) -> None:
        """Count the tokens of inputs [..., in]; full_precision [..., in] is what the 16-bit network has in their place."""
        x = inputs.reshape(-1, inputs.shape[-1])
        if moments.serves(x):
            moments.add_lower(self._sum, x)
            self._one_triangle = True
            self._absolute += torch.linalg.vector_norm(x, 1, dim=0, dtype=torch.float32)
            self._largest = torch.maximum(self._largest, torch.linalg.vector_norm(x, torch.inf, dim=0).float())
        else:
            x = x.to(torch.float32)
            self._sum.addmm_(x.T, x)
            absolute = x.abs()
            self._absolute += absolute.sum(0)
            self._largest = torch.maximum(self._largest, absolute.amax(0))
        if full_precision is not None:
            x = x.to(torch.float32)
            if self._drift is None:
                self._drift = torch.zeros_like(self._sum)
            self._drift.addmm_((full_precision.reshape(x.shape).to(torch.float32) - x).T, x)
        self.tokens += x.shape[0]
        self._kept.clear()

    @property
    def hessian(self) -> torch.Tensor:
        """Mean of x^T x over tokens, [in, in]."""
        if self._one_triangle:
            self._sum, self._one_triangle = moments.mirrored(self._sum), False
        return self._sum / max(self.tokens, 1)

    @property
    def magnitude(self) -> torch.Tensor:
        """Mean of |x| over tokens, [in]."""
        return self._absolute / max(self.tokens, 1)

    @property
    def largest(self) -> torch.Tensor:
        """Largest |x| of any token, [in]."""
        return self._largest

    @property
    def drift(self) -> torch.Tensor:
        """Mean of (x' - x)^T x over tokens, [in, in]; zero where the 16-bit network's inputs were not given."""
        return torch.zeros_like(self._sum) if self._drift is None else self._drift / max(self.tokens, 1)

    def unused(self) -> torch.Tensor:
        """Which inputs were zero on every calibration token, [in], bool."""
        return self._sum.diagonal() == 0

    def derived(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return what `make` makes of these statistics, made once for each key until tokens are added."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    def order(self, kind: str, width: int = 0) -> torch.Tensor:
        """Return the order in which columns are quantized, [in], stored column of each place.

        `none` as stored; `activation` largest diagonal first; `group_aware` (arXiv 2505.14638) groups of `width` stored
        columns by their largest diagonal, and the columns of a group by theirs, so groups stay together.
        """
        columns = torch.arange(self.features, device=self._sum.device)
        if kind == "none":
            return columns
        by_diagonal = torch.argsort(self._sum.diagonal(), descending=True, stable=True)
        if kind == "activation":
            return by_diagonal
        groups = columns // width
        # Groups in the order in which their largest member comes, then the columns sorted by that rank.
        first = torch.full((int(groups[-1]) + 1,), self.features, device=columns.device)
        first = first.scatter_reduce(0, groups[by_diagonal], columns, "amin")
        rank = torch.argsort(torch.argsort(first))
        return by_diagonal[torch.argsort(rank[groups[by_diagonal]], stable=True)]

    def inverse_factor(self, damping: float, order: str, *, width: int = 0, rule: str = "relative") -> torch.Tensor:
        """Return U, upper triangular, with U^T U = (H + lambda I)^-1, columns in that order.

        lambda is damping * mean(diag H) for the rule `relative`, damping itself (mean squared input) for `absolute`.
        [in, in], float32; float64 inside on a CPU. Unused inputs get 1 on the diagonal. With J the reversal,
        J H J = L L^T gives H = (J L J)(J L J)^T and U = (J L J)^-1: one Cholesky and one triangular inverse.
        Raises HessianError if H is not finite or not positive definite after damping.
        """
        factor: torch.Tensor = self.derived(
            ("inverse_factor", damping, order, width, rule), lambda: self._factorise(damping, order, width, rule)
        )
        return factor

    def inverse_factors(self, dampings: Sequence[float], order: str, *, width: int = 0) -> torch.Tensor:
        """Return the factors of those dampings (`relative`) that give a positive definite H, [found, in, in], in order.

        Raises HessianError if none does.
        """

        def make() -> torch.Tensor:
            factors = self._sum.new_empty(len(dampings), self.features, self.features)
            sound = []
            for number, damping in enumerate(dampings):
                lower, is_sound = self._cholesky(damping, order, width, "relative")
                sound.append(is_sound)
                factors[number] = invert_lower(lower).flip(0, 1)
            found = torch.stack(sound).tolist()  # the host waits once for all
            if not any(found):
                raise self._not_definite(dampings[-1])
            return factors if all(found) else factors[found]

        factors: torch.Tensor = self.derived(("inverse_factors", tuple(dampings), order, width), make)
        return factors

    def _factorise(self, damping: float, order: str, width: int, rule: str) -> torch.Tensor:
        lower, is_sound = self._cholesky(damping, order, width, rule)
        if not is_sound:
            raise self._not_definite(damping)
        inverse = invert_lower(lower)
        del lower
        factor: torch.Tensor = inverse.flip(0, 1).to(torch.float32).contiguous()
        return factor

    def _cholesky(self, damping: float, order: str, width: int, rule: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return L of the damped and reversed H, and whether there is one, [] bool."""
        work = torch.float64 if self._sum.device.type == "cpu" else torch.float32
        hessian = self.hessian.to(work)  # a copy: damped in place, and freed as soon as it has been used
        diagonal = hessian.diagonal()
        unused = torch.where(self.unused(), torch.ones_like(diagonal), torch.zeros_like(diagonal))
        share = damping * diagonal.mean() if rule == "relative" else torch.full_like(diagonal, damping)
        diagonal.copy_(diagonal + (unused + share))
        if order == "none":
            hessian = hessian.flip(0, 1)
        else:
            permutation = self.order(order, width).flip(0)
            hessian = hessian[permutation][:, permutation]
        lower, info = torch.linalg.cholesky_ex(hessian)
        return lower, (info == 0) & torch.isfinite(lower).all()

    def _not_definite(self, damping: float) -> HessianError:
        return HessianError(
            f"the Hessian of {self.features} inputs from {self.tokens} tokens is not positive definite with "
            f"damping={damping}: raise damping or calibrate on more tokens"
        )


@dataclass(frozen=True, kw_only=True)
class WeightGradients:
    """Gradients of the mean loss with respect to one weight, over calibration batches of the unquantized model.

    absolute [out, in] mean of |g|; squared [out, in] mean of g^2 (the diagonal of the empirical Fisher matrix); float32.
    """

    absolute: torch.Tensor
    squared: torch.Tensor


@dataclass(frozen=True, kw_only=True)
class Direction:
    """A layer's part of a direction over many layers: standard normal noise [out, in], float32, and `length`.

    `length` is |w| / |noise|, both norms over all layers of the direction, so length * noise is as long as the weights.
    """

    noise: torch.Tensor
    length: float


@dataclass(frozen=True, kw_only=True)
class CalibratedDirection:
    """A layer's part of a direction, and what its inputs tell."""

    inputs: InputStatistics
    direction: Direction


Statistics = InputStatistics | WeightGradients | Direction | CalibratedDirection | None
"""What a method's function is given: what its `needs` name, or None."""


def require_inputs(weight: torch.Tensor, statistics: Statistics) -> InputStatistics:
    """Return the statistics if they are those of the weight's inputs. weight [out, in].

    Raises HessianError for statistics that are missing, of the wrong size, of no token or not finite; NonFiniteError
    for a weight that is not finite.
    """
    in_features = weight.shape[1]
    if not isinstance(statistics, InputStatistics) or statistics.features != in_features:
        given = f"[{statistics.features}, {statistics.features}]" if isinstance(statistics, InputStatistics) else "none"
        raise HessianError(
            f"a weight of {in_features} inputs needs a Hessian [{in_features}, {in_features}], given {given}"
        )
    if statistics.tokens == 0:
        raise UnreadError(f"the Hessian of {in_features} inputs was made from no token: give a calibration text")
    if not statistics.derived("finite", lambda: bool(torch.isfinite(statistics.hessian).all())):
        raise HessianError("the Hessian holds NaN or infinite values: calibration inputs overflowed")
    require_finite(weight)
    return statistics


def require_gradients(weight: torch.Tensor, statistics: Statistics) -> WeightGradients:
    """Return the gradients if they are those of the weight [out, in]. Raises InputError or NonFiniteError otherwise."""
    if not isinstance(statistics, WeightGradients) or statistics.absolute.shape != weight.shape:
        given = (
            list(statistics.absolute.shape) if isinstance(statistics, WeightGradients) else type(statistics).__name__
        )
        raise InputError(f"A weight {list(weight.shape)} needs gradients of its own shape, given {given}.")
    require_finite(weight)
    if not (torch.isfinite(statistics.absolute).all() and torch.isfinite(statistics.squared).all()):
        raise NonFiniteError("the gradients hold NaN or infinite values")
    return statistics


def require_finite(weight: torch.Tensor) -> None:
    """Raise NonFiniteError if the weight holds NaN or infinite values."""
    if not torch.isfinite(weight).all():
        raise NonFiniteError("the weight holds NaN or infinite values")
