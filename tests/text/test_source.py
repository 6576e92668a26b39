import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from bitlaw.errors import InputError, UnknownName
from bitlaw.text import TextSource, open_text


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "docs.jsonl"
    path.write_text("".join(json.dumps({"text": f"document {i}"}) + "\n" for i in range(2000)))
    return path


def test_splits_share_nothing_and_make_the_whole(corpus: Path) -> None:
    train, evaluation, everything = (open_text(f"{corpus}{part}").hashes() for part in (":train", ":evaluation", ""))
    assert len(np.intersect1d(train, evaluation)) == 0
    assert np.array_equal(np.union1d(train, evaluation), everything)
    assert 60 < len(evaluation) < 140  # 5 % of 2000, binomial +- 4 standard deviations


def test_side_depends_on_content_only(corpus: Path, tmp_path: Path) -> None:
    texts = [d.text for d in open_text(f"{corpus}:evaluation").documents()]
    again = tmp_path / "again.jsonl"
    again.write_text("".join(json.dumps({"text": t}) + "\n" for t in texts * 2))
    assert [d.text for d in open_text(f"{again}:evaluation").documents()] == texts * 2
    assert list(open_text(f"{again}:train").documents()) == []


def test_hash_is_blake2b_of_the_content(corpus: Path) -> None:
    first = next(open_text(corpus).documents())
    assert first.hash == int(hashlib.blake2b(b"document 0", digest_size=8).hexdigest(), 16)


def test_evaluation_share_moves_the_border(corpus: Path) -> None:
    half = TextSource(name=str(corpus), split="evaluation", evaluation_share=0.5)
    assert 900 < len(half.hashes()) < 1100
    with pytest.raises(InputError, match=r"evaluation_share=1.5"):
        TextSource(name="sample", evaluation_share=1.5)


def test_names_paths_and_patterns(corpus: Path) -> None:
    assert open_text("sample:train").label == "sample:train"
    assert open_text("sample") == TextSource(name="sample", split="all")
    assert open_text(str(corpus)).label == str(corpus)
    assert len(open_text(f"{corpus.parent}/*.jsonl:train").find_files()) == 1
    odd = corpus.parent / "odd:train"
    odd.write_text("text")
    assert open_text(str(odd)).split == "all"  # a file of that name is that file


@pytest.mark.parametrize("given", ["no-such-text", "no/such/text.txt:train", "no-such-*.jsonl"])
def test_missing_texts_are_errors(given: str) -> None:
    with pytest.raises(InputError, match="No text"):
        open_text(given)


def test_unknown_split_offers_the_nearest() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'train'"):
        open_text("sample:trian")


def test_shipped_sample_splits_into_text_of_both_kinds() -> None:
    sizes = {
        part: sum(len(d.text) for d in open_text(f"sample:{part}").documents()) for part in ("train", "evaluation")
    }
    assert sizes["train"] + sizes["evaluation"] == 5_719_990
    assert 150_000 < sizes["evaluation"] < 450_000
