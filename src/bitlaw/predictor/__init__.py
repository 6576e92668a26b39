"""How much a model's loss changes under quantization, predicted from its loss landscape (arXiv 2410.12119 and beyond).

    from bitlaw.api import predictor_train, predictor_predict
    predictor_train("families.parquet").save("predictor.json.gz")
    predictor_predict(probes_of_my_model, predictor="predictor.json.gz").rows

    landscape.py     measurements -> baseline, random curve, quantized points and probes of each checkpoint
    compensation.py  what compensating errors as GPTQ does is worth, dB
    curve.py         loss against SNR, its inverse, its slope       known_formats.py   what a format's name says
    rows.py          the feature table: one row a model and distinct format
    kinds.py         every predictor and baseline: rows -> state, (state, rows) -> loss
    shift.py         through the landscape, a learned shift in dB    config_only.py     no run at all
    ratio.py         the share of nearest's damage that GPTQ leaves
    growing.py       forests and boosting (scikit-learn)              trees.py           the same as arrays; contributions
    baselines.py     what must be beaten                              isotonic.py, metrics.py
    conformal.py     intervals from families left out                 saved.py           JSON, which data
    ranges.py        how far outside the training rows a model lies
    training.py, forecasting.py, evaluating.py, explaining.py         the public functions
    budget.py        loss against bytes, best at each budget, whether GPTQ is worth it

Importing loads numpy only; scikit-learn (extra `predictor`) when trees are grown, never when they are used. To add a
predictor: an entry in kinds.py.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bitlaw.predictor.budget import Frontier, frontier
    from bitlaw.predictor.evaluating import Evaluation, predictor_evaluate
    from bitlaw.predictor.explaining import Importance, Waterfall, importances, waterfall
    from bitlaw.predictor.forecasting import Forecast, ModelForecast, predictor_predict
    from bitlaw.predictor.kinds import KINDS
    from bitlaw.predictor.known_formats import PAPER_FORMATS
    from bitlaw.predictor.landscape import ModelRecords, collect
    from bitlaw.predictor.rows import FEATURES, TARGETS, TRAINING, Rows, tabulate
    from bitlaw.predictor.saved import Predictors, load_predictors
    from bitlaw.predictor.training import predictor_train, rows_of

_WHERE = {
    "Evaluation": "evaluating",
    "FEATURES": "rows",
    "Forecast": "forecasting",
    "Frontier": "budget",
    "Importance": "explaining",
    "KINDS": "kinds",
    "ModelForecast": "forecasting",
    "ModelRecords": "landscape",
    "PAPER_FORMATS": "known_formats",
    "Predictors": "saved",
    "Rows": "rows",
    "TARGETS": "rows",
    "TRAINING": "rows",
    "Waterfall": "explaining",
    "collect": "landscape",
    "frontier": "budget",
    "importances": "explaining",
    "load_predictors": "saved",
    "predictor_evaluate": "evaluating",
    "predictor_predict": "forecasting",
    "predictor_train": "training",
    "rows_of": "training",
    "tabulate": "rows",
    "waterfall": "explaining",
}

__all__ = [
    "FEATURES",
    "KINDS",
    "PAPER_FORMATS",
    "TARGETS",
    "TRAINING",
    "Evaluation",
    "Forecast",
    "Frontier",
    "Importance",
    "ModelForecast",
    "ModelRecords",
    "Predictors",
    "Rows",
    "Waterfall",
    "collect",
    "frontier",
    "importances",
    "load_predictors",
    "predictor_evaluate",
    "predictor_predict",
    "predictor_train",
    "rows_of",
    "tabulate",
    "waterfall",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"bitlaw.predictor has no {name!r}. It has: {', '.join(sorted(_WHERE))}.")
    return getattr(importlib.import_module(f"bitlaw.predictor.{_WHERE[name]}"), name)
