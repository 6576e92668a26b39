"""The study of the second paper's families trains the shipped plan's models and measures the shipped grid."""

from pathlib import Path

from bitlaw.measure import measure_plan, read_plan
from bitlaw.train import read_train_plan

PLAN = Path(__file__).parents[2] / "studies" / "families" / "plan.toml"


def test_models_and_variants_are_those_of_the_shipped_plans() -> None:
    plan, shipped = read_train_plan(PLAN), read_train_plan("families-gpu")
    assert plan.models == shipped.models
    assert (plan.step_tokens, plan.checkpoints) == (shipped.step_tokens, shipped.checkpoints)
    tables = read_plan(PLAN)
    passes = {one["name"]: measure_plan({"measure": {**tables["measure"], **_own(one)}}) for one in tables["passes"]}
    main = measure_plan(tables)
    grid = measure_plan(read_plan("grid")).variants
    measured = [*main.variants, *passes["slope"].variants, *passes["compensated"].variants]
    assert all(v in grid for v in measured)
    assert all(v in measured for v in grid)
    assert passes["more"].variants == measure_plan(read_plan("grid-more")).variants


def _own(table: dict) -> dict:
    return {name: value for name, value in table.items() if name not in ("name", "last", "models")}
