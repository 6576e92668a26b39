"""Regression trees as plain arrays: prediction, spread over trees, and what each input contributed to one prediction.

    prediction = base + scale * sum over trees of the value of the leaf        (a forest: scale = 1/trees, base 0)

scikit-learn grows them (growing.py); it is not needed here, so a saved predictor predicts with numpy alone, and exactly what it
predicted before. Inputs are compared as float32, as scikit-learn does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitlaw.errors import InputError
from bitlaw.predictor.curve import Array

LEAF = -1


@dataclass(frozen=True, kw_only=True)
class Trees:
    """Trees over inputs `names`; node arrays [nodes] of all trees one after another, `roots` [trees] where each begins.

    A node splits on input `feature` (LEAF: none): at most `threshold` goes `left`, else `right` (absolute indices).
    `value` is the mean of the target in the node, leaf or not. impurity: input -> mean share of the impurity it removed,
    and its standard deviation over trees.
    """

    names: tuple[str, ...]
    roots: NDArray[np.int64]
    feature: NDArray[np.int64]
    threshold: Array
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    value: Array
    base: float
    scale: float
    impurity: Mapping[str, tuple[float, float]]

    def leaves(self, inputs: Array) -> NDArray[np.int64]:
        """Return the leaf each row ends in, [n, trees]. inputs [n, names]."""
        x = np.asarray(inputs, dtype=np.float32)
        if x.ndim != 2 or x.shape[1] != len(self.names):
            raise InputError(
                f"Inputs of shape {x.shape} were given; the trees read [n, {len(self.names)}]: {', '.join(self.names)}."
            )
        at = np.broadcast_to(self.roots, (len(x), len(self.roots))).copy()
        rows = np.arange(len(x))[:, None]
        while (inner := self.feature[at] != LEAF).any():
            chosen = np.where(inner, self.feature[at], 0)
            goes_left = x[rows, chosen].astype(np.float64) <= self.threshold[at]
            at = np.where(inner, np.where(goes_left, self.left[at], self.right[at]), at)
        return at

    def predict(self, inputs: Array) -> Array:
        """Return the prediction of each row. inputs [n, names] -> [n]."""
        return np.asarray(self.base + self.scale * self.value[self.leaves(inputs)].sum(axis=1), dtype=float)

    def contributions(self, row: Array) -> tuple[float, dict[str, float]]:
        """Return the base value and what each input adds to it along the paths of one row; they add up to the prediction.

        Each step from a node to its child changes the node's mean; the change belongs to the input that was split on.
        row [names].
        """
        x = np.asarray(row, dtype=np.float32)
        found = dict.fromkeys(self.names, 0.0)
        start = self.base + self.scale * float(self.value[self.roots].sum())
        for root in self.roots.tolist():
            at = root
            while (feature := int(self.feature[at])) != LEAF:
                child = int(self.left[at] if float(x[feature]) <= self.threshold[at] else self.right[at])
                found[self.names[feature]] += self.scale * float(self.value[child] - self.value[at])
                at = child
        return start, found

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        arrays = ("roots", "feature", "threshold", "left", "right", "value")
        return {
            "names": list(self.names),
            **{name: getattr(self, name).tolist() for name in arrays},
            "base": self.base,
            "scale": self.scale,
            "impurity": {name: list(pair) for name, pair in self.impurity.items()},
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Trees:
        """Return the trees of `to_dict`. Raises InputError for content that is none."""
        try:
            whole = {n: np.asarray(content[n], dtype=np.int64) for n in ("roots", "feature", "left", "right")}
            real = {n: np.asarray(content[n], dtype=np.float64) for n in ("threshold", "value")}
            nodes = len(real["value"])
            if {len(whole[n]) for n in ("feature", "left", "right")} | {len(real["threshold"])} != {nodes}:
                raise ValueError("columns of nodes have different lengths")
            inner = np.tile(whole["feature"] != LEAF, 2)
            links, own = np.concatenate([whole["left"], whole["right"]])[inner], np.tile(np.arange(nodes), 2)[inner]
            if len(links) and not (links.max() < nodes and np.all(links > own)):
                raise ValueError("nodes do not form trees")
            return cls(
                names=tuple(content["names"]),
                roots=whole["roots"],
                feature=whole["feature"],
                threshold=real["threshold"],
                left=whole["left"],
                right=whole["right"],
                value=real["value"],
                base=float(content["base"]),
                scale=float(content["scale"]),
                impurity={str(name): (float(a), float(b)) for name, (a, b) in content["impurity"].items()},
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"These are no saved trees: {error}. Train the predictor again.") from None
