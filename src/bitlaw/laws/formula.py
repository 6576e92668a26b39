"""Formulas as text: parsed once, evaluated on arrays, differentiated exactly. Nothing of the text is ever executed.

    formula = parse("QiD = k * D^beta / N^alpha", {"N": "parameters", "D": "tokens"})
    formula.names                                           {"k", "beta", "alpha"}: what is not a column
    formula.value(values, columns), formula.slopes(values, columns)

Allowed are numbers, names, + - * / ^ (or **), parentheses and the functions of `FUNCTIONS`; what stands before an `=` is
a label. Anything else is an InputError that quotes it. Slopes are carried along with the value (forward
differentiation), so a law written as text needs no gradient of its own.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bitlaw.errors import InputError
from bitlaw.laws.law import Array, Columns, Values
from bitlaw.laws.power import LARGEST_LOG

LONGEST = 2_000  # characters
DEEPEST = 60  # levels of nesting
LARGEST = 1e300  # of a number
LABEL = re.compile(r"^\s*\w+\s*=(?!=)")
LN2 = float(np.log(2.0))
LN10 = float(np.log(10.0))

Slopes = dict[str, Any]
Pair = tuple[Any, Slopes]
Node = Callable[[Values, Columns, bool], Pair]

# Each function: its value, and its slope given (argument, value).
FUNCTIONS: Mapping[str, tuple[Callable[[Any], Any], Callable[[Any, Any], Any]]] = {
    "exp": (lambda x: np.exp(np.clip(x, -LARGEST_LOG, LARGEST_LOG)), lambda x, y: y),
    "expm1": (lambda x: np.expm1(np.clip(x, -LARGEST_LOG, LARGEST_LOG)), lambda x, y: y + 1.0),
    "log": (np.log, lambda x, y: 1.0 / x),
    "log1p": (np.log1p, lambda x, y: 1.0 / (1.0 + x)),
    "log2": (np.log2, lambda x, y: 1.0 / (x * LN2)),
    "log10": (np.log10, lambda x, y: 1.0 / (x * LN10)),
    "sqrt": (np.sqrt, lambda x, y: 0.5 / y),
    "tanh": (np.tanh, lambda x, y: 1.0 - y * y),
}


@dataclass(frozen=True, kw_only=True)
class Formula:
    """A parsed formula: its text, the parameters it names and the columns it reads, in order of appearance."""

    text: str
    names: tuple[str, ...]
    columns: tuple[str, ...]
    node: Node

    def value(self, values: Values, columns: Columns) -> Array:
        """Return the formula's value for parameter values and columns that broadcast."""
        with np.errstate(all="ignore"):
            found = self.node(values, columns, False)[0]
        return np.asarray(np.clip(found, -np.exp(LARGEST_LOG), np.exp(LARGEST_LOG)), dtype=float)

    def slopes(self, values: Values, columns: Columns) -> dict[str, Array]:
        """Return the derivative with respect to each parameter, each of the shape of `value`."""
        with np.errstate(all="ignore"):
            found, slopes = self.node(values, columns, True)
        shape = np.shape(found)
        big = np.exp(LARGEST_LOG)
        return {
            name: np.clip(np.broadcast_to(np.asarray(slopes[name], dtype=float), shape), -big, big)
            for name in self.names
        }


def parse(text: str, symbols: Mapping[str, str]) -> Formula:
    """Return the formula of a text. symbols: name in the text -> column; every other name is a parameter.

    Raises InputError for anything but arithmetic and the known functions.
    """
    body = LABEL.sub("", text, count=1).strip().replace("^", "**")
    if not body or len(text) > LONGEST:
        raise InputError(
            f"A formula has 1 to {LONGEST} characters, such as 'QiD = k * D^beta / N^alpha'; given {text!r}."
        )
    try:
        tree = ast.parse(body, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InputError(f"Cannot read the formula {text!r}: {error}. Write it like 'k * D^beta / N^alpha'.") from error
    reader = _Reader(text, symbols)
    node = reader.build(tree, 0)
    return Formula(text=text, names=tuple(reader.names), columns=tuple(reader.columns), node=node)


class _Reader:
    """Turns the syntax tree into closures; refuses every node it does not know."""

    def __init__(self, text: str, symbols: Mapping[str, str]) -> None:
        self.text, self.symbols = text, symbols
        self.names: dict[str, None] = {}
        self.columns: dict[str, None] = {}

    def build(self, tree: ast.expr, depth: int) -> Node:
        if depth > DEEPEST:
            raise InputError(f"The formula {self.text[:60]!r}... is nested more than {DEEPEST} deep. Write it flatter.")
        match tree:
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool) and abs(value) < LARGEST:
                return _constant(float(value))
            case ast.Name(id=name):
                return self._name(name)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return _minus(self.build(operand, depth + 1))
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self.build(operand, depth + 1)
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return _OPERATORS[type(op)](self.build(left, depth + 1), self.build(right, depth + 1))
            case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in FUNCTIONS:
                return _call(name, self.build(argument, depth + 1))
        raise InputError(
            f"{ast.unparse(tree)!r} in the formula {self.text!r} is not allowed. Use numbers, names, + - * / ^, "
            f"parentheses and {', '.join(FUNCTIONS)}."
        )

    def _name(self, name: str) -> Node:
        if name in self.symbols:
            column = self.symbols[name]
            self.columns[column] = None
            return lambda values, columns, slopes: (np.asarray(columns[column], dtype=float), {})
        if name in FUNCTIONS:
            raise InputError(f"{name!r} in the formula {self.text!r} is a function: write {name}(...).")
        self.names[name] = None
        return lambda values, columns, slopes: (np.asarray(values[name], dtype=float), {name: 1.0} if slopes else {})


def _constant(number: float) -> Node:
    return lambda values, columns, slopes: (number, {})


def _minus(inner: Node) -> Node:
    def node(values: Values, columns: Columns, slopes: bool) -> Pair:
        x, dx = inner(values, columns, slopes)
        return -x, {name: -d for name, d in dx.items()}

    return node


def _call(function: str, inner: Node) -> Node:
    of, slope_of = FUNCTIONS[function]

    def node(values: Values, columns: Columns, slopes: bool) -> Pair:
        x, dx = inner(values, columns, slopes)
        y = of(x)
        if not dx:
            return y, {}
        slope = slope_of(x, y)
        return y, {name: slope * d for name, d in dx.items()}

    return node


def _joined(first: Slopes, by: Any, second: Slopes, other: Any) -> Slopes:
    """Return by * first + other * second."""
    found = {name: by * d for name, d in first.items()}
    for name, d in second.items():
        found[name] = found[name] + other * d if name in found else other * d
    return found


def _add(left: Node, right: Node) -> Node:
    def node(values: Values, columns: Columns, slopes: bool) -> Pair:
        (x, dx), (y, dy) = left(values, columns, slopes), right(values, columns, slopes)
        return x + y, _joined(dx, 1.0, dy, 1.0)

    return node


def _subtract(left: Node, right: Node) -> Node:
    def node(values: Values, columns: Columns, slopes: bool) -> Pair:
        (x, dx), (y, dy) = left(values, columns, slopes), right(values, columns, slopes)
        return x - y, _joined(dx, 1.0, dy, -1.0)

    return node


def _multiply(left: Node, right: Node) -> Node:
    def node(values: Values, columns: Columns, slopes: bool) -> Pair:
        (x, dx), (y, dy) = left(values, columns, slopes), right(values, columns, slopes)
        return x * y, _joined(dx, y, dy, x)

    return node


def _divide(left: Node, right: Node) -> Node:
    def node(values: Values, columns: Columns, slopes: bool) -> Pair:
        (x, dx), (y, dy) = left(values, columns, slopes), right(values, columns, slopes)
        ratio = np.divide(x, y)
        return ratio, _joined(dx, np.divide(1.0, y), dy, -ratio / y) if dx or dy else {}

    return node


def _power(left: Node, right: Node) -> Node:
    """x ** y: by logarithms where x > 0, so that a wild exponent gives a large number instead of an overflow."""

    def node(values: Values, columns: Columns, slopes: bool) -> Pair:
        (x, dx), (y, dy) = left(values, columns, slopes), right(values, columns, slopes)
        log_x = np.log(np.maximum(x, 1e-300))
        result = np.where(
            np.greater(x, 0.0), np.exp(np.clip(y * log_x, -LARGEST_LOG, LARGEST_LOG)), np.float_power(x, y)
        )
        if not (dx or dy):
            return result, {}
        return result, _joined(dx, y * result / x, dy, result * log_x)

    return node


_OPERATORS: Mapping[type[ast.operator], Callable[[Node, Node], Node]] = {
    ast.Add: _add,
    ast.Sub: _subtract,
    ast.Mult: _multiply,
    ast.Div: _divide,
    ast.Pow: _power,
}
