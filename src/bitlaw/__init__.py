"""bitlaw: how much will low-bit quantization hurt this language model, and which bits should I choose?

Every verb of the command line is one function in `bitlaw.api`.
"""

__version__ = "0.1.0"
