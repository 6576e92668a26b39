"""Text for training, calibration and evaluation: documents, their split, a tokenizer, windows of token ids.

Documents come from plain text or JSONL, either one zstd-compressed, or from a text that ships with bitlaw (`sample`).
A document belongs to training or to evaluation by the hash of its content, so no text is ever in both.

To add a shipped text: put the file in `bitlaw/data`, its licence beside it, and one line in `SHIPPED` of `source.py`.
"""

from bitlaw.text.source import SHIPPED, Document, TextSource, open_text
from bitlaw.text.tokenizer import END_OF_TEXT, load_tokenizer, train_tokenizer
from bitlaw.text.windows import Windows, corpus_ids, token_windows

__all__ = [
    "END_OF_TEXT",
    "SHIPPED",
    "Document",
    "TextSource",
    "Windows",
    "corpus_ids",
    "load_tokenizer",
    "open_text",
    "token_windows",
    "train_tokenizer",
]
