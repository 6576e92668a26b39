"""Is a model a chain of blocks, as the walk over its blocks takes it to be? If not, why not.

Asked of a few tokens: is every block called once and in order, with what the block before it returned; and do the blocks one
by one give the logits of the model's own forward pass? A model that is read block by block is asked the first only, which
needs no weights.
"""

from __future__ import annotations

import torch
from torch import nn

from bitlaw.errors import CheckpointError
from bitlaw.suites.streamed import StreamedModel
from bitlaw.sweep.decoder import Decoder
from bitlaw.sweep.whole_model import WholeModel

TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3}
"""Largest difference of a logit, in standard deviations of the logits; 16-bit models differ by up to a tenth."""


def take_apart(model: nn.Module | StreamedModel, ids: torch.Tensor) -> tuple[Decoder, str]:
    """Return the model cut at its blocks and no words, or the whole model and why it cannot be cut. ids [1, T], a few tokens.

    Raises CheckpointError for a model that is read block by block and cannot be cut.
    """
    if isinstance(model, StreamedModel):
        decoder = Decoder(model)
        decoder.embed(ids.to(decoder.device))
        if not decoder.is_chain(tuple(ids.shape)):
            raise CheckpointError(
                f"{type(model.model).__name__} does not hand hidden states from block to block, so it cannot be read block by "
                "block. Use --stream no (stream='no') on a machine that holds it."
            )
        return decoder, ""
    try:
        decoder = Decoder(model)
        why = _differs(decoder, ids.to(decoder.device))
    except CheckpointError as error:
        why = str(error).partition(". ")[0]
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        why = f"its blocks cannot be run one by one ({type(error).__name__}: {str(error).partition(chr(10))[0][:200]})"
    return (WholeModel(model), why) if why else (decoder, "")


@torch.no_grad()
def _differs(decoder: Decoder, ids: torch.Tensor) -> str:
    """Return in words what the blocks one by one do otherwise than the model; empty if nothing."""
    hidden = decoder.embed(ids)
    if not decoder.is_chain(tuple(ids.shape)):
        return "what a block reads is not what the block before it returned"
    for index in range(len(decoder.blocks)):
        hidden = decoder.run_block(index, hidden)
    ours = decoder.head(ids, hidden)
    own = decoder.model(input_ids=ids, use_cache=False).logits
    if not torch.isfinite(own).all():
        return ""  # nothing to compare; the sweep says what is not finite
    allowed = TOLERANCE.get(own.dtype, 0.1) * float(own.double().std())
    difference = float((ours - own).abs().max())
    if difference > allowed:
        return f"its blocks one by one give logits that differ by {difference:.2g} from the model's own"
    return ""
