"""What a training run needs to go on: weights, their sums for averages, optimizer, step, losses so far. Saved whole or not at all.

Data order follows from seed and step, and the models have no dropout; the generator's state is kept all the same, so an
architecture that draws random numbers resumes exactly too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bitlaw.train.averaging import WeightSums
from bitlaw.train.files import replace_file


@dataclass(frozen=True, kw_only=True)
class Progressed:
    """How far a run is: steps done and the loss of each, nats per token."""

    step: int
    losses: list[float]


def save_state(
    path: Path,
    *,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    sums: WeightSums,
    progressed: Progressed,
) -> None:
    """Write the state to `path` in one stroke."""
    state: dict[str, Any] = {
        "step": progressed.step,
        "losses": torch.tensor(progressed.losses, dtype=torch.float64),
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "sums": sums.state_dict(),
        "generator": torch.get_rng_state(),
    }
    replace_file(path, lambda temporary: torch.save(state, temporary))


def load_state(path: Path, *, model: torch.nn.Module, optimizer: torch.optim.Optimizer, sums: WeightSums) -> Progressed:
    """Put a saved state into model, optimizer, sums and generator; return how far it is. No file means the start."""
    if not path.is_file():
        return Progressed(step=0, losses=[])
    state = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    sums.load_state_dict(state.get("sums", {}), model)  # a state from before there were averages has none
    torch.set_rng_state(state["generator"])
    return Progressed(step=int(state["step"]), losses=state["losses"].tolist())
