import json
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from bitlaw.errors import InputError
from bitlaw.text.reading import BLOCK_CHARACTERS, LONGEST_BLOCK, read_texts

PARAGRAPHS = "".join(f"Paragraph {i}. " + "word " * 200 + "\n\n" for i in range(60))


def write(path: Path, text: str) -> Path:
    data = text.encode()
    path.write_bytes(zstandard.ZstdCompressor().compress(data) if path.suffix == ".zst" else data)
    return path


@pytest.mark.parametrize("name", ["a.txt", "a.txt.zst"])
def test_blocks_join_to_the_text_and_end_at_blank_lines(tmp_path: Path, name: str) -> None:
    blocks = list(read_texts(write(tmp_path / name, PARAGRAPHS)))
    assert "".join(blocks) == PARAGRAPHS
    assert len(blocks) == -(-len(PARAGRAPHS) // (BLOCK_CHARACTERS + 1100))  # paragraphs of about 1 kB
    assert all(block.endswith("\n\n") and block.startswith("Paragraph") for block in blocks)
    assert all(BLOCK_CHARACTERS <= len(block) <= BLOCK_CHARACTERS + 1100 for block in blocks[:-1])


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.sampled_from(["é", "word ", "\n", "\n\n", "x" * 9_000, "𝒳 y" * 4_000, "\r\n", "\u2028"]), max_size=40)
)
def test_any_text_survives_cutting(tmp_path_factory: pytest.TempPathFactory, parts: list[str]) -> None:
    text = "".join(parts)
    blocks = list(read_texts(write(tmp_path_factory.mktemp("text") / "a.txt", text)))
    assert "".join(blocks) == text
    assert all(0 < len(block) <= LONGEST_BLOCK for block in blocks)


def test_cuts_do_not_depend_on_compression(tmp_path: Path) -> None:
    text = "a b" * 400_000 + "\n" + PARAGRAPHS  # a line longer than a chunk of the file
    plain, packed = (list(read_texts(write(tmp_path / name, text))) for name in ("a.txt", "a.txt.zst"))
    assert plain == packed
    assert plain[0].endswith(" ")


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.zst"])
def test_one_document_a_json_line(tmp_path: Path, name: str) -> None:
    texts = ["one\ntwo", "é" * 40_000, "three"]
    lines = "\n".join(json.dumps({"text": t, "source": "x"}) for t in texts) + "\n\n"
    assert list(read_texts(write(tmp_path / name, lines))) == texts


def test_two_zstd_frames_are_one_text(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.zst"
    path.write_bytes(zstandard.ZstdCompressor().compress(b"one ") + zstandard.ZstdCompressor().compress(b"two"))
    assert "".join(read_texts(path)) == "one two"


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.txt", b"abc\xff", "not UTF-8"),
        ("a.txt.zst", zstandard.ZstdCompressor().compress(PARAGRAPHS.encode())[:-20], "truncated"),
        ("a.txt.zst", b"plain text", "zstd"),
        ("a.jsonl", b'{"text": "a"}\n{"text": \n', "line 2 is not JSON"),
        ("a.jsonl", b'{"body": "a"}\n', "line 1 has no text"),
        ("a.jsonl", b'["a"]\n', "line 1 has no text"),
    ],
)
def test_unreadable_files_are_named(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=told) as error:
        list(read_texts(tmp_path / name))
    assert name in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone.txt"):
        list(read_texts(tmp_path / "gone.txt"))
