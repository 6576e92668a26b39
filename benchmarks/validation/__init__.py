"""The parts of docs/validation.md, written by benchmarks/validate_laws.py."""
