"""Compiled blocks: the numbers of eager ones within rounding, one graph for all blocks, variants and batches, eager where it cannot be."""

import shutil
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
import torch
from torch._dynamo.utils import counters

from bitlaw.errors import InputError
from bitlaw.quantize import make_variant
from bitlaw.records import Variant
from bitlaw.suites.streamed import StreamedModel
from bitlaw.sweep import Decoder, engine, preparing, spread, sweep
from bitlaw.sweep.compiled import CompiledBlocks, CompileError
from bitlaw.sweep.memory import Fit
from bitlaw.sweep.preparing import choose_compile, make_track
from tests.sweep.families import FAMILIES
from tests.sweep.models import llama, windows
from tests.sweep.test_families import ids

EVALUATION, CALIBRATION = windows(7, 24, seed=1), windows(6, 24, seed=2)
VARIANTS = [
    Variant(),
    make_variant("nearest", "int3_g16"),
    make_variant("gptq", "int3_g16"),
    make_variant("gptq", "int4_g16", {"upstream": "full_precision"}),
    make_variant("gptaq", "int3_g16"),
]
needs_compiler = pytest.mark.skipif(
    shutil.which("g++") is None and shutil.which("clang++") is None,
    reason="torch.compile on a CPU needs a C++ compiler",
)


def graphs() -> int:
    return counters["stats"]["unique_graphs"]


@needs_compiler
def test_compiled_and_eager_agree_and_every_graph_is_made_once() -> None:
    eager = sweep(llama(), VARIANTS, EVALUATION, CALIBRATION, batch_windows=4, compile="no")
    torch._dynamo.reset()
    before = graphs()
    ours = sweep(llama(), VARIANTS, EVALUATION, CALIBRATION, batch_windows=4, compile="yes")
    # A block; the inputs of its layers; those and the block: however many blocks, variants and batches (4, 3 and 2 windows).
    assert graphs() - before == 3
    for got, want in zip(ours, eager, strict=True):
        assert (got.compiled, want.compiled, got.notes) == (True, False, "")
        assert got.seen.state == "ok"
        assert got.seen.nats / got.seen.tokens_scored == pytest.approx(
            want.seen.nats / want.seen.tokens_scored, abs=1e-5
        )
        assert got.seen.sqnr_db == pytest.approx(want.seen.sqnr_db, abs=1e-3)
    again = sweep(llama(), VARIANTS[:2], EVALUATION, batch_windows=4, compile="yes")
    assert graphs() - before == 3  # another model of the same shape
    assert again[0].seen == ours[0].seen


@pytest.mark.parametrize(
    ("family", "changes", "made"),
    [
        ("gpt1", {}, 3),
        ("opt_350m", {}, 3),
        ("falcon", {"num_hidden_layers": 4}, 3),
        ("gemma2", {"num_hidden_layers": 4}, 6),  # two kinds of block, for local and global attention
        ("bloom", {}, 6),  # its masks hold windows times heads, so the smaller batch is another shape
    ],
)
def test_every_family_is_traced_whole(
    family: str, changes: dict[str, int], made: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch's tracer without its compiler: the same operations, so the numbers are the same bit for bit."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    texts = ids(5, 24, seed=1), ids(8, 24, seed=2)
    torch._dynamo.reset()
    eager, before, ours = (
        sweep(FAMILIES[family].make(**changes), VARIANTS[:4], *texts, batch_windows=3, compile="no"),
        graphs(),
        sweep(FAMILIES[family].make(**changes), VARIANTS[:4], *texts, batch_windows=3, compile="yes"),
    )
    assert [s.seen for s in ours] == [s.seen for s in eager]
    assert all(s.compiled and s.notes == "" for s in ours)
    assert graphs() - before == made


@pytest.mark.parametrize("how", ["streamed", "spread"])
def test_blocks_whose_weights_come_and_go_or_lie_elsewhere(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    texts = ids(5, 24, seed=1), ids(8, 24, seed=2)
    FAMILIES["llama3"].make(num_hidden_layers=4).save_pretrained(tmp_path, max_shard_size="20KB")
    torch._dynamo.reset()
    with closing(StreamedModel(tmp_path, "cpu", torch.float32)) as streamed:
        model = spread(streamed, ["cpu", "cpu"]) if how == "spread" else streamed
        eager = sweep(model, VARIANTS[:4], *texts, batch_windows=3, compile="no")
        before = graphs()
        ours = sweep(model, VARIANTS[:4], *texts, batch_windows=3, compile="yes")
    assert [s.seen for s in ours] == [s.seen for s in eager]
    assert all(s.compiled for s in ours)
    assert graphs() - before == 3


def plainly(model, variants=VARIANTS, how="yes"):
    return sweep(model, variants, EVALUATION, CALIBRATION, batch_windows=4, compile=how)


def test_what_torch_cannot_compile_is_run_eagerly_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    want = plainly(llama(), how="no")
    model = llama()
    real = type(model.model.layers[0]).forward

    def breaking(self, hidden_states, **keywords):
        torch._dynamo.graph_break()
        return real(self, hidden_states, **keywords)

    monkeypatch.setattr(type(model.model.layers[0]), "forward", breaking)
    torch._dynamo.reset()  # graphs do not look whether a class has another forward by now
    got = plainly(model)
    assert [s.seen for s in got] == [s.seen for s in want]
    assert not any(s.compiled for s in got)
    assert all(s.notes.startswith("not compiled: Unsupported: ") for s in got)


def test_a_failure_behind_finished_walks_makes_all_of_them_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each variant beside a baseline of its own arithmetic: not one compiled half and an eager one."""
    want = plainly(llama(), how="no")
    calls = []

    def fail_late(self, block, hidden, arguments, keywords):
        calls.append(block)
        if len(calls) == 40:
            raise CompileError("no more graphs")
        return block(hidden, *arguments, **keywords) + 1.0  # a compiled number would be seen

    monkeypatch.setattr(CompiledBlocks, "run", fail_late)
    monkeypatch.setattr(engine, "plan_memory", lambda *_: Fit(variants=1, on_device=1))
    got = plainly(llama(), VARIANTS[:2] * 6)
    assert len(calls) == 40
    assert [s.seen for s in got] == [s.seen for s in want[:2]] * 6
    assert all(s.notes == "not compiled: no more graphs" for s in got)


@pytest.mark.parametrize(
    ("family", "variant", "reason"),
    [
        ("mixtral", make_variant("nearest", "int4_g16"), "experts read as many tokens as are routed to them"),
        ("llama3", Variant(activations="int8_token"), "none A:int8_token rounds between layers"),
        ("llama3", Variant(kv_cache="int8_token"), "rounds between layers"),
    ],
)
def test_what_acts_between_layers_is_run_eagerly_and_said(family: str, variant: Variant, reason: str) -> None:
    variants = [Variant(), make_variant("nearest", "int4_g16"), variant]
    for how in ("yes", "auto"):
        got = sweep(FAMILIES[family].make(), variants, EVALUATION, batch_windows=4, compile=how)
        assert not any(s.compiled for s in got)
        assert all(reason in s.notes if how == "yes" else s.notes == "" for s in got)


def test_auto_compiles_on_a_gpu_where_the_work_is_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder, tracks = Decoder(llama()), [make_track(v) for v in VARIANTS[1:]]
    assert choose_compile("auto", decoder, tracks, EVALUATION, CALIBRATION) == ""
    assert decoder.compiled is None  # a CPU
    monkeypatch.setattr(Decoder, "device", torch.device("cuda"))
    parameters = sum(p.numel() for block in decoder.blocks for p in block.parameters() if p.dim() == 2)
    # Five evaluated; calibration: the shared stream once, the own ones of gptq and gptaq twice each.
    scored, calibrated = 2.0 * parameters * 5 * EVALUATION.numel(), 2.0 * parameters * 5 * CALIBRATION.numel()
    for least, for_inputs, chosen in (
        (scored + calibrated, calibrated, True),
        (scored + calibrated, calibrated * 1.001, False),
        ((scored + calibrated) * 1.001, calibrated, None),
    ):
        monkeypatch.setattr(preparing, "WORTH_OPERATIONS", least)
        monkeypatch.setattr(preparing, "WORTH_FOR_INPUTS", for_inputs)
        assert choose_compile("auto", decoder, tracks, EVALUATION, CALIBRATION) == ""
        assert (decoder.compiled.for_inputs if decoder.compiled is not None else None) is chosen
    choose_compile("no", decoder, tracks, EVALUATION, CALIBRATION)
    assert decoder.compiled is None


def test_layer_inputs_may_stay_with_hooks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where calibration is little of the work its own graph is not worth making; then only evaluation is compiled."""
    want = plainly(llama(), how="no")

    def alone(how, decoder, *_):
        decoder.compiled = CompiledBlocks(for_inputs=False)
        return ""

    def eager(self, block, hidden, arguments, keywords):
        return block(hidden, *arguments, **keywords)

    monkeypatch.setattr(engine, "choose_compile", alone)
    monkeypatch.setattr(CompiledBlocks, "run", eager)
    monkeypatch.setattr(CompiledBlocks, "inputs", None)
    assert [s.seen for s in plainly(llama())] == [s.seen for s in want]


def test_an_unknown_choice_is_refused() -> None:
    with pytest.raises(InputError, match="compile='maybe' is not known"):
        plainly(llama(), how="maybe")
