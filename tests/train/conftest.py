import random
from pathlib import Path
from typing import Any

import pytest

from bitlaw.train.plan import TrainPlan, train_plan

NEOX = {"architecture": "gpt_neox", "width": 16, "layers": 1, "heads": 2, "peak_learning_rate": 1e-2}
LLAMA = {"architecture": "llama", "width": 16, "layers": 1, "heads": 2, "peak_learning_rate": 1e-2}


@pytest.fixture(scope="session")
def text_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """About 60 kB of sentences with something to learn: four blocks."""
    draw = random.Random(0)
    words = ["cat", "dog", "bird"], ["sees", "hears"], ["the red house", "a green tree", "nobody"]
    lines = [" ".join(draw.choice(w) for w in words) + ".\n" + "\n" * (i % 8 == 0) for i in range(3000)]
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("".join(lines))
    return path


def small_plan(text_file: Path, **changes: Any) -> TrainPlan:
    """Twelve steps of 64 tokens for a GPT-NeoX and a Llama of width 16, checkpoints at 3, 6 and 12."""
    table: dict[str, Any] = {
        "suite": "small",
        "text": str(text_file),
        "vocabulary": 280,
        "window_tokens": 16,
        "batch_windows": 4,
        "tokens": 768,
        "checkpoints": 3,
        "first_checkpoint_tokens": 192,
        "seed": 1,
        "models": [{"name": "neox", **NEOX}, {"name": "llama", **LLAMA}],
    }
    return train_plan(table | changes)
