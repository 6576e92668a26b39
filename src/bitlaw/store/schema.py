"""The columns of a store as SQL, version by version: one list for SQLite and PostgreSQL.

The words are SQLite's: INTEGER has 64 bits there and REAL is a double. postgres.py says them in PostgreSQL's.
"""

from __future__ import annotations

APPLICATION_ID = 0x6269746C  # "bitl": tells our files from other programs', and names our lock on a server

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE measurements (
            position INTEGER PRIMARY KEY,
            key TEXT NOT NULL UNIQUE,
            suite TEXT NOT NULL, model TEXT NOT NULL, step INTEGER NOT NULL, "commit" TEXT NOT NULL,
            family TEXT NOT NULL, parameters INTEGER NOT NULL, parameters_total INTEGER, tokens INTEGER,
            learning_rate REAL, peak_learning_rate REAL, schedule TEXT, training_seed INTEGER,
            method TEXT NOT NULL, format TEXT NOT NULL, bits REAL NOT NULL, group_size INTEGER NOT NULL,
            options TEXT NOT NULL,
            calibration_name TEXT NOT NULL, calibration_token_hash TEXT NOT NULL,
            calibration_windows INTEGER NOT NULL, calibration_window_tokens INTEGER NOT NULL,
            calibration_beginning_of_sequence TEXT NOT NULL,
            evaluation_name TEXT NOT NULL, evaluation_token_hash TEXT NOT NULL,
            evaluation_windows INTEGER NOT NULL, evaluation_window_tokens INTEGER NOT NULL,
            evaluation_beginning_of_sequence TEXT NOT NULL,
            state TEXT NOT NULL, reason TEXT NOT NULL, windows INTEGER, tokens_scored INTEGER, tokens_squared REAL,
            nats REAL, nats_squared REAL, nats_tokens REAL, baseline_nats REAL, difference_squared REAL,
            difference_tokens REAL, kl_nats REAL, agreements INTEGER, non_finite_tokens INTEGER NOT NULL,
            bytes_scored INTEGER, quantized_layers INTEGER NOT NULL, quantized_parameters INTEGER NOT NULL,
            bits_per_weight REAL, sqnr_db REAL, fallback_layers INTEGER NOT NULL, fallbacks TEXT NOT NULL,
            bitlaw_version TEXT NOT NULL, torch_version TEXT NOT NULL, transformers_version TEXT NOT NULL,
            device TEXT NOT NULL, dtype TEXT NOT NULL, kernel TEXT NOT NULL, seconds REAL NOT NULL, date TEXT NOT NULL
        )""",
        "CREATE INDEX measurements_checkpoint ON measurements (suite, model, step)",
    ),
    (
        "ALTER TABLE measurements ADD COLUMN activations TEXT NOT NULL DEFAULT 'none'",
        "ALTER TABLE measurements ADD COLUMN kv_cache TEXT NOT NULL DEFAULT 'none'",
        "ALTER TABLE measurements ADD COLUMN activation_kernel REAL",
    ),
    (
        "ALTER TABLE measurements ADD COLUMN weight_kernel REAL",
        "ALTER TABLE measurements ADD COLUMN weight_norm REAL",
        "ALTER TABLE measurements ADD COLUMN gradient_along REAL",
        "ALTER TABLE measurements ADD COLUMN curvature_along REAL",
    ),
    ("ALTER TABLE measurements ADD COLUMN least_expert_tokens INTEGER",),
    ("ALTER TABLE measurements ADD COLUMN notes TEXT NOT NULL DEFAULT ''",),
)
"""Step i takes a store from schema i to i + 1. Steps are appended and never edited."""
