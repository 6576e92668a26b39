"""Every verb of the command line as a Python function. A function is imported when it is first used, torch with it or not.

from bitlaw.api import measure, fit, predict
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bitlaw.demo import demo
    from bitlaw.fit import compare, fit
    from bitlaw.measure import measure
    from bitlaw.predict import (
        compare_laws,
        critical_tokens,
        fewest_bits,
        law_show,
        plan,
        predict,
        project,
        tokens_to_train,
        training_level,
    )
    from bitlaw.predictor import frontier, predictor_evaluate, predictor_predict, predictor_train
    from bitlaw.probe import probe, probe_path
    from bitlaw.report import report
    from bitlaw.reproduce import reproduce
    from bitlaw.store.opening import records
    from bitlaw.suites import suites
    from bitlaw.train import train

_WHERE = {
    "demo": "bitlaw.demo",
    "train": "bitlaw.train",
    "measure": "bitlaw.measure",
    "records": "bitlaw.store.opening",
    "fit": "bitlaw.fit",
    "compare": "bitlaw.fit",
    "predict": "bitlaw.predict",
    "tokens_to_train": "bitlaw.predict",
    "training_level": "bitlaw.predict",
    "critical_tokens": "bitlaw.predict",
    "fewest_bits": "bitlaw.predict",
    "project": "bitlaw.predict",
    "plan": "bitlaw.predict",
    "compare_laws": "bitlaw.predict",
    "law_show": "bitlaw.predict",
    "frontier": "bitlaw.predictor",
    "predictor_evaluate": "bitlaw.predictor",
    "predictor_predict": "bitlaw.predictor",
    "predictor_train": "bitlaw.predictor",
    "probe": "bitlaw.probe",
    "probe_path": "bitlaw.probe",
    "report": "bitlaw.report",
    "reproduce": "bitlaw.reproduce",
    "suites": "bitlaw.suites",
}

__all__ = [
    "compare",
    "compare_laws",
    "critical_tokens",
    "demo",
    "fewest_bits",
    "fit",
    "frontier",
    "law_show",
    "measure",
    "plan",
    "predict",
    "predictor_evaluate",
    "predictor_predict",
    "predictor_train",
    "probe",
    "probe_path",
    "project",
    "records",
    "report",
    "reproduce",
    "suites",
    "tokens_to_train",
    "train",
    "training_level",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"bitlaw.api has no function {name!r}. It has: {', '.join(sorted(_WHERE))}.")
    return getattr(importlib.import_module(_WHERE[name]), name)
