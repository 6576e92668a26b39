"""One pass over a checkpoint with all its variants: the decoder blocks are walked once, every variant's stream beside the baseline's.

decoder.py       any Hugging Face causal model as embed -> blocks -> head, found by structure
compiled.py      blocks through torch.compile; spreading.py  a model over several devices
layers.py        the linear layers of a block, which of them share an input, and statistics of those inputs
activations.py   inputs of linear layers rounded on their way; kv_cache.py  keys and values, where attention stores them
streams.py       hidden states of all windows, on the device or in pinned host memory; memory.py  how many fit
score.py         nats, KL and agreement per window, summed
track.py         one variant on its way; preparing.py  before the walk; walk.py  one block; engine.py  the whole
"""

from bitlaw.sweep.activations import parse_activations, reads_calibration
from bitlaw.sweep.compiled import check_compile
from bitlaw.sweep.decoder import Decoder
from bitlaw.sweep.engine import SweptVariant, sweep
from bitlaw.sweep.kv_cache import parse_kv_cache
from bitlaw.sweep.spreading import spread

__all__ = [
    "Decoder",
    "SweptVariant",
    "check_compile",
    "parse_activations",
    "parse_kv_cache",
    "reads_calibration",
    "spread",
    "sweep",
]
