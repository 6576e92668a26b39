"""What calibration tells about a layer's input: its second moment, and the factor GPTQ needs, computed once and kept."""

from __future__ import annotations

import torch

from bitlaw.errors import HessianError


class InputStatistics:
    """Sum of x^T x over calibration tokens for one input, shared by all layers and variants that read it.

    hessian [in, in], float32, is the mean of x^T x over `tokens` tokens (GPTQ's H up to a factor that cancels).
    """

    def __init__(self, features: int, device: torch.device | str = "cpu") -> None:
        self._sum = torch.zeros(features, features, dtype=torch.float32, device=device)
        self.tokens = 0
        self._factors: dict[tuple[float, str], torch.Tensor] = {}

    @classmethod
    def from_hessian(cls, hessian: torch.Tensor, tokens: int = 1) -> InputStatistics:
        """Return statistics with the given mean second moment [in, in]."""
        made = cls(hessian.shape[0], hessian.device)
        made._sum = hessian * tokens
        made.tokens = tokens
        return made

    @property
    def features(self) -> int:
        """Width of the input."""
        return self._sum.shape[0]

    def add(self, inputs: torch.Tensor) -> None:
        """Count the tokens of inputs [..., in]."""
        x = inputs.reshape(-1, inputs.shape[-1]).to(torch.float32)
        self._sum.addmm_(x.T, x)
        self.tokens += x.shape[0]
        self._factors.clear()

    @property
    def hessian(self) -> torch.Tensor:
        """Mean of x^T x over tokens, [in, in]."""
        return self._sum / max(self.tokens, 1)

    def unused(self) -> torch.Tensor:
        """Which inputs were zero on every calibration token, [in], bool."""
        return self._sum.diagonal() == 0

    def order(self, kind: str) -> torch.Tensor:
        """Return the order in which columns are quantized, [in]: `none` as stored, `activation` largest diagonal first."""
        if kind == "none":
            return torch.arange(self.features, device=self._sum.device)
        return torch.argsort(self._sum.diagonal(), descending=True, stable=True)

    def inverse_factor(self, damping: float, order: str) -> torch.Tensor:
        """Return U, upper triangular, with U^T U = (H + damping * mean(diag H) * I)^-1, columns in that order.

        [in, in], float32; float64 inside on a CPU. Unused inputs get 1 on the diagonal. With J the reversal,
        J H J = L L^T gives H = (J L J)(J L J)^T and U = (J L J)^-1: one Cholesky and one triangular inverse.
        Raises HessianError if H is not finite or not positive definite after damping.
        """
        if (damping, order) not in self._factors:
            self._factors[damping, order] = self._factorise(damping, order)
        return self._factors[damping, order]

    def _factorise(self, damping: float, order: str) -> torch.Tensor:
        work = torch.float64 if self._sum.device.type == "cpu" else torch.float32
        hessian = self.hessian.to(work)
        if not torch.isfinite(hessian).all():
            raise HessianError("the Hessian holds NaN or infinite values: calibration inputs overflowed")
        diagonal = hessian.diagonal()
        mean = diagonal.mean()
        unused = torch.where(self.unused(), torch.ones_like(diagonal), torch.zeros_like(diagonal))
        hessian = hessian + torch.diag(unused + damping * mean)
        permutation = self.order(order).flip(0)
        lower, info = torch.linalg.cholesky_ex(hessian[permutation][:, permutation])
        if int(info) != 0 or not torch.isfinite(lower).all():
            raise HessianError(
                f"the Hessian of {self.features} inputs from {self.tokens} tokens is not positive definite with "
                f"damping={damping}: raise damping or calibrate on more tokens"
            )
        eye = torch.eye(self.features, dtype=work, device=lower.device)
        inverse = torch.linalg.solve_triangular(lower, eye, upper=False)
        factor: torch.Tensor = inverse.flip(0, 1).to(torch.float32).contiguous()
        return factor
