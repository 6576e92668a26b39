"""One pass over a checkpoint with all its variants: the decoder blocks are walked once, every variant's stream beside the baseline's.

decoder.py       any Hugging Face causal model as embed -> blocks -> head, found by structure
layers.py        the linear layers of a block, which of them share an input, and statistics of those inputs
activations.py   inputs of linear layers rounded on their way; kv_cache.py  keys and values, where attention stores them
score.py         nats, KL and agreement per window, summed
track.py         one variant on its way; engine.py  the walk
"""

from bitlaw.sweep.activations import parse_activations, reads_calibration
from bitlaw.sweep.decoder import Decoder
from bitlaw.sweep.engine import sweep
from bitlaw.sweep.kv_cache import parse_kv_cache

__all__ = ["Decoder", "parse_activations", "parse_kv_cache", "reads_calibration", "sweep"]
