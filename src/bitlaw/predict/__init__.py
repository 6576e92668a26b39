"""Answers to the questions people ask, each with its interval, its law and constants, and inside or outside its range.

    from bitlaw.predict import law_show, predict, tokens_to_train
    answer = predict(70e9, 15e12, 4)                  # published law; or law=Fit, law="ouyang2024-unified"
    answer.value, answer.interval.low, answer.outside, answer.to_dict()
    tokens_to_train(70e9, 4, qid=0.2).value           # 17.35e12, Table 1 of the paper

To add a question: one file here with a frozen answer (subclass of `Answer`) and a function of the question's name that
checks its input, asks `sources.resolve` which law answers, and takes intervals from the source's `band`. To add an
interval for another published law: `evidence.py`. Everything here loads numpy only.
"""

from bitlaw.predict.answers import Answer, Interval, Outside
from bitlaw.predict.predicting import LawValue, Prediction, predict
from bitlaw.predict.showing import LawCard, law_show
from bitlaw.predict.training import TrainingTokens, tokens_to_train

__all__ = [
    "Answer",
    "Interval",
    "LawCard",
    "LawValue",
    "Outside",
    "Prediction",
    "TrainingTokens",
    "law_show",
    "predict",
    "tokens_to_train",
]
