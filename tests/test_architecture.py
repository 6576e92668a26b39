"""Imports go down the list of rooms only, and the half that handles numbers never reaches the half that handles models."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import bitlaw

SOURCE = Path(bitlaw.__file__).parent
# From DESIGN: a room may import rooms before it, never after it.
ROOMS = [
    "errors",
    "catalog",
    "records",
    "progress",
    "workers",
    "store",
    "text",
    "formats",
    "kernels",
    "quantize",
    "suites",
    "train",
    "sweep",
    "measure",
    "datasets",
    "laws",
    "fit",
    "predict",
    "predictor",
    "report",
    "demo",
    "probe",
    "reproduce",
    "api",
    "cli",
    "__main__",
]
MODELS = {"workers", "text", "formats", "quantize", "kernels", "suites", "train", "sweep", "measure"}
NUMBERS = {"datasets", "laws", "fit", "predict", "predictor", "report", "store", "records", "catalog", "errors"}
FILES = sorted(SOURCE.rglob("*.py"))


def room_of(file: Path) -> str:
    first = file.relative_to(SOURCE).parts[0]
    return first.removesuffix(".py")


def imported_rooms(file: Path, tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names = [f"{node.module}.{a.name}" if node.module == "bitlaw" else str(node.module) for a in node.names]
        found |= {n.split(".")[1] for n in names if n.startswith("bitlaw.")}
    return found - {"__version__"}


def violations(room: str, imported: set[str]) -> list[str]:
    late = [other for other in imported if ROOMS.index(other) > ROOMS.index(room)]
    crossed = [other for other in imported if room in NUMBERS and other in MODELS]
    return late + crossed


@pytest.mark.parametrize(
    "file",
    [f for f in FILES if f.parent != SOURCE or f.name != "__init__.py"],
    ids=lambda f: str(f.relative_to(SOURCE)),
)
def test_imports_go_down_the_list(file: Path) -> None:
    room = room_of(file)
    if room not in ROOMS:
        assert not file.suffix or room in {"data", "plans"}, (
            f"{room} is not in the list of rooms: add it to ROOMS and docs/design.md"
        )
        return
    imported = imported_rooms(file, ast.parse(file.read_text()))
    assert not violations(room, imported), f"{file.relative_to(SOURCE)} imports {violations(room, imported)}"


def test_the_check_sees_violations() -> None:
    assert violations("formats", {"sweep"}) == ["sweep"]
    assert violations("fit", {"records", "formats"}) == ["formats"]
    assert violations("fit", {"records", "laws"}) == []


@pytest.mark.parametrize("room", sorted(NUMBERS))
def test_numbers_half_works_without_torch(room: str) -> None:
    blocker = (
        "import sys\n"
        "class Blocker:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('torch', 'transformers', 'tokenizers', 'safetensors', 'zstandard'):\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Blocker())\n"
        f"import bitlaw.{room}\n"
    )
    done = subprocess.run([sys.executable, "-c", blocker], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
