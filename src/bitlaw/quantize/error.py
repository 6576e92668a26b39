"""What a change of a weight does to its layer's output, and how much of it rounds to zero."""

from __future__ import annotations

import torch


def output_error(weight: torch.Tensor, changed: torch.Tensor, hessian: torch.Tensor) -> float:
    """Return the mean squared change of the layer's output, summed over outputs: tr(dW H dW^T), dW = changed - weight.

    weight, changed [out, in]; hessian [in, in], the mean of x^T x. In squared output units.
    """
    return float(row_errors(changed - weight, hessian).double().sum())


def row_errors(difference: torch.Tensor, hessian: torch.Tensor) -> torch.Tensor:
    """Return d H d^T for every row d. difference [..., in], hessian [in, in] -> [...]."""
    return ((difference @ hessian) * difference).sum(-1)


def kernel_share(quantized: torch.Tensor) -> float:
    """Return the quantization kernel of CrossQuant (arXiv 2410.07505): the share of elements that are zero when quantized.

    quantized: any shape, weights or activations. The empty tensor has share 0.
    """
    return float((quantized == 0).double().mean()) if quantized.numel() else 0.0
