"""Comparing two machines: rows are matched by their content key, differences are told in per cent and standard errors."""

from __future__ import annotations

import importlib.util
import math
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from tests.report.simulated_suite import simulate

SCRIPT = Path(__file__).parents[2] / "studies" / "devices.py"


@pytest.fixture
def devices() -> ModuleType:
    spec = importlib.util.spec_from_file_location("devices", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules["devices"] = found
    spec.loader.exec_module(found)
    return found


def test_pairs_by_key_and_differences(devices: ModuleType) -> None:
    ones = simulate(seed=0)[:9]
    others = []
    for place, m in enumerate(ones):
        nats = m.seen.nats + (place == 2) * 0.1 * (m.seen.nats - m.seen.baseline_nats)
        others.append(replace(m, seen=replace(m.seen, nats=nats), made=replace(m.made, device="another")))
    pairs = devices.paired(ones, others[:-1])
    assert len(pairs) == 8 - sum(m.asked.variant.is_baseline for m in ones[:8])
    moved = [p for p in pairs if p.one.key == ones[2].key]
    assert [p.relative for p in pairs if p not in moved] == pytest.approx([0.0] * (len(pairs) - 1), abs=1e-12)
    assert moved[0].relative == pytest.approx(0.1 / 1.1)
    assert moved[0].errors == pytest.approx(0.1 * abs(ones[2].qid) / math.hypot(ones[2].qid_se, others[2].qid_se))
    text = devices.table(pairs)
    assert f"of {len(pairs)} rows agree within two standard errors (another and cpu)." in text
    assert devices.paired(ones, simulate(seed=0, suite="other")) == []


def test_the_shipped_comparison(
    devices: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The study's CPU rows against the GPU's: 18 of 18 within two standard errors, as docs/mini-pythia.md says."""
    cpu = SCRIPT.parent / "mini-pythia" / "cpu.parquet"
    monkeypatch.setattr(sys, "argv", ["devices.py", str(cpu), "dataset:mini-pythia"])
    assert devices.main() == 0
    assert "18 of 18 rows agree within two standard errors (NVIDIA H200 and cpu)." in capsys.readouterr().out
