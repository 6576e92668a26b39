"""Byte-level BPE tokenizers in Hugging Face's format: trained from a text, or loaded from a folder.

Byte-level (Radford et al. 2019, section 2.2): every byte is in the vocabulary, so any text can be written and no token
is unknown. The one special token ends a document.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitlaw.errors import CheckpointError, InputError
from bitlaw.text.source import TextSource

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

END_OF_TEXT = "<|endoftext|>"
SMALLEST_VOCABULARY = 257  # 256 bytes and the end of text
TRAINING_CHARACTERS = 200_000_000  # merges hardly change after that; more only takes memory


def train_tokenizer(source: TextSource, *, vocabulary: int, folder: Path) -> PreTrainedTokenizerBase:
    """Train a byte-level BPE tokenizer on a text, save it in `folder`, return it. The same text gives the same merges.

    `vocabulary` counts all tokens, the end of text among them. At most the first 200M characters are read.
    """
    if vocabulary < SMALLEST_VOCABULARY:
        raise InputError(f"vocabulary={vocabulary} is too small: bytes and the end of text need {SMALLEST_VOCABULARY}.")
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(source), trainer)
    fast: Any = PreTrainedTokenizerFast  # transformers gives it no types
    wrapped: PreTrainedTokenizerBase = fast(tokenizer_object=tokenizer, eos_token=END_OF_TEXT)
    folder.mkdir(parents=True, exist_ok=True)
    wrapped.save_pretrained(folder)
    return wrapped


def _texts(source: TextSource) -> Any:
    characters = 0
    for document in source.documents():
        yield document.text
        characters += len(document.text)
        if characters >= TRAINING_CHARACTERS:
            return


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Return the tokenizer saved in a folder. Raises CheckpointError when there is none or it cannot be read."""
    if not (folder / "tokenizer.json").is_file() and not (folder / "tokenizer_config.json").is_file():
        raise CheckpointError(
            f"No tokenizer in {folder}: expected tokenizer.json. Save the tokenizer beside the weights."
        )
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"The tokenizer in {folder} cannot be read: {error}") from error
