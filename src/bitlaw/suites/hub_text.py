"""Texts that lie in datasets on the hub, brought here as JSON lines: `hub-text:ORG/NAME/PATH/IN/REPOSITORY[#COLUMN][@REVISION]`.

A Parquet file gives the text of one column (default: `text`, else `content`), a row a document; `.jsonl` and `.txt` (either
with `.zst`) are taken as they are. RefinedWeb and WikiText-2, which the first paper evaluates and calibrates on, are
Parquet files there.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from bitlaw.errors import InputError
from bitlaw.suites.hub import hub_cache, hub_endpoint

SCHEME = "hub-text:"
SPELLING = "hub-text:ORG/NAME/FILE[#COLUMN][@REVISION]"
FORM = re.compile(r"([\w.-]+/[\w.-]+)/([^#@]+?)(?:#([^@]+))?(?:@(.+))?")
COLUMNS = ("text", "content")
ROWS = 1000


def bring_text(text: str) -> str:
    """Return a text's name for `open_text`: what is named `hub-text:...` is downloaded, anything else is as it was.

    Raises InputError for a name, a file or a column that is not there.
    """
    if not text.startswith(SCHEME):
        return text
    found = FORM.fullmatch(text.removeprefix(SCHEME))
    if found is None:
        raise InputError(f"{text!r} is not of the form {SPELLING}.")
    repository, name, column, revision = found.groups()
    from huggingface_hub import hf_hub_download

    folder = hub_cache() / "texts" / repository.replace("/", "--") / (revision or "main")
    endpoint = hub_endpoint()
    try:
        file = Path(
            hf_hub_download(
                repository, name, repo_type="dataset", revision=revision, local_dir=folder, endpoint=endpoint
            )
        )
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(
            f"Cannot bring the text {name} of {repository} from {endpoint}: {reason}. Give a file instead, or set HF_ENDPOINT."
        ) from error
    if file.suffix != ".parquet":
        return str(file)
    return str(_as_lines(file, column))


def _as_lines(file: Path, column: str | None) -> Path:
    """Return the JSON-lines file with the texts of a Parquet file's column, written unless it is there."""
    import pyarrow.parquet as pq

    opened = pq.ParquetFile(file)
    names = opened.schema_arrow.names
    chosen = column or next((name for name in COLUMNS if name in names), "")
    if chosen not in names:
        raise InputError(
            f"{file.name} has no column {chosen or ' or '.join(COLUMNS)!r}. Its columns: {', '.join(names)}."
        )
    lines = file.with_name(f"{file.stem}-{chosen}.jsonl")
    if not lines.is_file():
        temporary = lines.with_name(f".{lines.name}.partial")
        with temporary.open("w", encoding="utf-8") as out:
            for batch in opened.iter_batches(ROWS, columns=[chosen]):
                for value in batch.column(0).to_pylist():
                    if value and value.strip():
                        out.write(json.dumps({"text": value}) + "\n")
        temporary.replace(lines)
    return lines
