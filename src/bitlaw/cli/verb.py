"""What a verb of the command line is."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Verb:
    """A verb: `arguments` declares what it takes, `run` calls the public function and returns JSON-ready data,
    `text` turns that data into what a person reads. `teach` is the long help, with examples.
    """

    name: str
    summary: str
    teach: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], Any]
    text: Callable[[Any], str]
