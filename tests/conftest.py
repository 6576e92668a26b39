"""Before anything imports Triton: without an NVIDIA GPU its kernels run in its interpreter, which is chosen at import."""

import os
from pathlib import Path

if not Path("/dev/nvidiactl").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")
