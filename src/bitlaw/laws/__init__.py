"""Laws as data: names, meanings, units, bounds, starts, a formula and the constants others published. Numpy only.

To add a law:
1. write (or extend) one file here that makes a `Law`: mostly `written(text=..., parameters=...)`, whose formula is text
   and differentiates itself; every published set of constants with its source and how sure it is; a constant nobody
   knows is left out, not guessed;
2. add one line to `LAWS` in `bitlaw/catalog.py`.
The conformance tests (tests/laws/test_conformance.py) and the fitting tests pick it up by its name.
"""

from bitlaw.laws.law import VARIABLES, Columns, Law, Parameter, Published, Values, Variable, law_names, load_law
from bitlaw.laws.written import definition, law_from_definition, law_from_function, law_from_text, written

__all__ = [
    "VARIABLES",
    "Columns",
    "Law",
    "Parameter",
    "Published",
    "Values",
    "Variable",
    "definition",
    "law_from_definition",
    "law_from_function",
    "law_from_text",
    "law_names",
    "load_law",
    "written",
]
