"""Training of small suites from scratch: a plan in TOML becomes a folder of checkpoints with a manifest.

To add an architecture, write a function in `architectures.py` that returns the transformers config of a model's plan
and add one line to `ARCHITECTURES` in `catalog.py`. To add a schedule, add its formula to `SHAPES` in `schedule.py`.
"""

from bitlaw.train.plan import ModelPlan, TrainPlan, read_train_plan
from bitlaw.train.run import train
from bitlaw.train.schedule import Schedule

__all__ = ["ModelPlan", "Schedule", "TrainPlan", "read_train_plan", "train"]
