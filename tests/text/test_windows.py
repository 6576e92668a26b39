import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from bitlaw.errors import CheckpointError, InputError
from bitlaw.text import END_OF_TEXT, TextSource, corpus_ids, load_tokenizer, open_text, token_windows, train_tokenizer
from bitlaw.text.windows import _bytes_of_tokens

TEXTS = [f"Document {i}: the cat sat on the mat, naïve café 𝒳 — {'la ' * (i % 17)}end.\n" for i in range(120)]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> TextSource:
    path = tmp_path_factory.mktemp("text") / "docs.jsonl"
    path.write_text("".join(json.dumps({"text": t}) + "\n" for t in TEXTS))
    return open_text(path)


@pytest.fixture(scope="module")
def tokenizer(source: TextSource, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return train_tokenizer(source, vocabulary=300, folder=tmp_path_factory.mktemp("tokenizer"))


def reference_row(tokenizer: Any) -> list[int]:
    """All documents in a row, through the tokenizer's ordinary call."""
    return [i for t in TEXTS for i in [*tokenizer(t, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]]


def test_windows_are_the_row_of_documents_cut(source: TextSource, tokenizer: Any) -> None:
    row = reference_row(tokenizer)
    windows = token_windows(tokenizer, source, 32)
    assert windows.ids.dtype == np.int32
    assert windows.ids.tolist() == [row[i : i + 32] for i in range(0, len(row) - 31, 32)]
    assert windows.end_of_text == tokenizer.convert_tokens_to_ids(END_OF_TEXT)
    assert corpus_ids(tokenizer, source)[0].tolist() == row


def test_bytes_scored_are_the_bytes_of_the_text_behind_the_tokens(source: TextSource, tokenizer: Any) -> None:
    windows = token_windows(tokenizer, source, 32)
    decoder = tokenizer.backend_tokenizer
    for ids, count in list(zip(windows.ids.tolist(), windows.bytes_scored.tolist()))[:40]:
        text = decoder.decode(ids, skip_special_tokens=True)
        first = decoder.decode(ids[:1], skip_special_tokens=True)
        if "\N{REPLACEMENT CHARACTER}" not in text:  # no character is cut by the window
            assert count == len(text.encode()) - len(first.encode())


@pytest.mark.parametrize("text", ["plain words  here ", "naïve 𝒳𝒴 — é", "\n\n a\t\tb", "", "é"])
def test_bytes_of_tokens_add_up_to_the_document(tokenizer: Any, text: str) -> None:
    for end in (-1, 0):
        counts = _bytes_of_tokens(tokenizer, text, end)
        assert counts.sum() == len(text.encode())
        assert (counts >= 0).all()


def test_spaces_that_offsets_leave_out_still_count(source: TextSource, tokenizer: Any) -> None:
    from tokenizers import Tokenizer, processors

    trimmed = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    trimmed.post_processor = processors.ByteLevel(trim_offsets=True)  # as GPT-NeoX's tokenizer has it
    counts = _bytes_of_tokens(PreTrainedTokenizerFast(tokenizer_object=trimmed), "the cat sat", -1)
    assert counts.sum() == 11


def test_first_and_chosen_windows(source: TextSource, tokenizer: Any) -> None:
    everything = token_windows(tokenizer, source, 16)
    first = token_windows(tokenizer, source, 16, windows=5)
    assert np.array_equal(first.ids, everything.ids[:5])
    assert np.array_equal(first.bytes_scored, everything.bytes_scored[:5])
    chosen = token_windows(tokenizer, source, 16, windows=5, seed=3)
    places = np.sort(np.random.default_rng(3).choice(len(everything.ids), size=5, replace=False))
    assert np.array_equal(chosen.ids, everything.ids[places])
    assert np.array_equal(chosen.bytes_scored, everything.bytes_scored[places])
    assert chosen.token_hash != token_windows(tokenizer, source, 16, windows=5, seed=4).token_hash


def test_documents_are_those_the_windows_touch(source: TextSource, tokenizer: Any) -> None:
    hashes = [d.hash for d in source.documents()]
    lengths = [len(tokenizer(t, add_special_tokens=False)["input_ids"]) + 1 for t in TEXTS]
    owner = np.repeat(np.arange(len(TEXTS)), lengths)
    windows = token_windows(tokenizer, source, 16, windows=7, seed=1)
    places = np.sort(np.random.default_rng(1).choice(len(owner) // 16, size=7, replace=False))
    touched = {hashes[k] for p in places for k in owner[p * 16 : p * 16 + 16]}
    assert set(windows.documents.tolist()) == touched


def test_token_hash_sees_shape_and_ids(source: TextSource, tokenizer: Any) -> None:
    windows = token_windows(tokenizer, source, 16, windows=4)
    expected = hashlib.sha256(b"(4, 16)" + windows.ids.astype("<i4").tobytes()).hexdigest()
    assert windows.token_hash == expected
    assert windows.text_set.token_hash == expected
    assert (windows.text_set.windows, windows.text_set.window_tokens) == (4, 16)
    assert token_windows(tokenizer, source, 8, windows=8).token_hash != expected  # the same ids, other windows


def test_no_end_of_text_token_means_no_token_between_documents(source: TextSource, tokenizer: Any) -> None:
    bare = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer)
    windows = token_windows(bare, source, 32)
    assert windows.end_of_text == -1
    assert tokenizer.eos_token_id not in windows.ids


@pytest.mark.parametrize(
    ("window_tokens", "windows", "told"),
    [
        (100_000, None, "0 windows of 100000"),
        (16, 10_000, "10000 are needed"),
        (1, None, "at least 2"),
        (16, 0, "windows=0"),
    ],
)
def test_impossible_windows_are_errors(
    source: TextSource, tokenizer: Any, window_tokens: int, windows: int | None, told: str
) -> None:
    with pytest.raises(InputError, match=told):
        token_windows(tokenizer, source, window_tokens, windows=windows)


def test_slow_tokenizers_are_refused(source: TextSource) -> None:
    class Slow:
        eos_token_id = None

    tokenizer: Any = Slow()
    with pytest.raises(InputError, match="Slow has no fast tokenizer"):
        token_windows(tokenizer, source, 16)


def test_training_a_tokenizer_is_deterministic_and_lossless(source: TextSource, tokenizer: Any, tmp_path: Path) -> None:
    again = train_tokenizer(source, vocabulary=300, folder=tmp_path / "b")
    assert again.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()
    loaded = load_tokenizer(tmp_path / "b")
    assert len(loaded) == 300
    assert loaded.eos_token == END_OF_TEXT
    for text in ("x" + TEXTS[0], "日本語 \x00"):  # bytes never seen in training too
        ids = loaded(text, add_special_tokens=False)["input_ids"]
        assert loaded.decode(ids, clean_up_tokenization_spaces=False) == text


def test_tokenizers_that_cannot_be(source: TextSource, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="257"):
        train_tokenizer(source, vocabulary=256, folder=tmp_path)
    with pytest.raises(CheckpointError, match="No tokenizer in"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_tokenizer(tmp_path)
