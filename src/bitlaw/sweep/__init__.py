"""One pass over a checkpoint with all its variants: the decoder blocks are walked once, every variant's stream beside the baseline's.

decoder.py   any Hugging Face causal model as embed -> blocks -> head, found by structure
layers.py    the linear layers of a block, which of them share an input, and statistics of those inputs
score.py     nats, KL and agreement per window, summed
engine.py    the walk
"""

from bitlaw.sweep.decoder import Decoder
from bitlaw.sweep.engine import sweep

__all__ = ["Decoder", "sweep"]
