"""Answers to the questions people ask, each with its interval, its law and constants, and inside or outside its range.

    from bitlaw.predict import law_show, predict, tokens_to_train
    answer = predict(70e9, 15e12, 4)                  # published law; or law=Fit, law="kumar2024-ptq@with bias"
    answer.value, answer.interval.low, answer.outside, answer.to_dict()
    tokens_to_train(70e9, 4, qid=0.2).value           # 17.35e12, Table 1 of the paper

    predicting.py  predict          how much will this model lose?        level.py       training_level   how trained is it?
    training.py    tokens_to_train  when does it lose this much?          critical.py    critical_tokens  when does training hurt?
    fewest.py      fewest_bits      how few bits are enough?              projecting.py  project          sizes and widths at D
    planning.py    plan             what is best in this memory?          comparing.py   compare_laws     what does every law say?

    sources.py   which law answers, its interval, the rule outside the range     evidence.py  what intervals are made of
    losses.py    the 16-bit loss beside a QiD                                    crossing.py  where a curve reaches a level
    ways.py      what a plan is made of       candidates.py  models to choose among
    memory.py    bytes, sizes as text         grids.py       bits and errors of formats, without torch

To add a question: one file here with a frozen answer (subclass of `Answer`) and a function of the question's name that
checks its input, asks `sources.resolve` which law answers, takes intervals from the source's `band`, and refuses what is
outside the range if `strict`. To add an interval for another published law: `evidence.py`. Everything here loads numpy
only.
"""

from bitlaw.predict.answers import Answer, Interval, Outside
from bitlaw.predict.candidates import Candidate
from bitlaw.predict.comparing import Comparison, Said, compare_laws
from bitlaw.predict.critical import CriticalTokens, critical_tokens
from bitlaw.predict.fewest import FewestBits, fewest_bits
from bitlaw.predict.level import TrainingLevel, training_level
from bitlaw.predict.planning import Plan, plan
from bitlaw.predict.predicting import LawValue, Prediction, predict
from bitlaw.predict.projecting import Cell, Projection, project
from bitlaw.predict.showing import LawCard, law_show
from bitlaw.predict.training import TrainingTokens, tokens_to_train
from bitlaw.predict.ways import Choice

__all__ = [
    "Answer",
    "Candidate",
    "Cell",
    "Choice",
    "Comparison",
    "CriticalTokens",
    "FewestBits",
    "Interval",
    "LawCard",
    "LawValue",
    "Outside",
    "Plan",
    "Prediction",
    "Projection",
    "Said",
    "TrainingLevel",
    "TrainingTokens",
    "compare_laws",
    "critical_tokens",
    "fewest_bits",
    "law_show",
    "plan",
    "predict",
    "project",
    "tokens_to_train",
    "training_level",
]
