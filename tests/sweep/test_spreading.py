"""A model over several devices: the numbers of one device, and nothing left behind at a boundary.

A machine without GPUs has one device that computes. Boundaries are walked there with the CPU in both places; that all a block is
given goes over is asked of the meta device, which refuses to compute with tensors of the CPU.
"""

from contextlib import closing
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import AutoModelForCausalLM

from bitlaw.errors import InputError
from bitlaw.quantize import make_variant
from bitlaw.records import Variant
from bitlaw.suites.streamed import StreamedModel
from bitlaw.sweep import Decoder, spread, sweep
from bitlaw.sweep.layers import collect, input_groups
from bitlaw.sweep.moving import moved
from bitlaw.sweep.spreading import describe_places, ranges
from bitlaw.sweep.streams import HostStream, advance, follow
from tests.sweep import models
from tests.sweep.families import FAMILIES
from tests.sweep.test_families import CALIBRATION, EVALUATION
from tests.sweep.test_streamed import saved

CPU, META = torch.device("cpu"), torch.device("meta")
VARIANTS = [
    Variant(),
    make_variant("nearest", "int3_g16"),
    make_variant("gptq", "int3_g16"),
    make_variant("gptq", "int4_g16", {"upstream": "full_precision"}),
    make_variant("gwq", "int4_g16"),  # looks at the whole model, which one that is read block by block refuses
    make_variant("perturb_random", "none", {"snr_db": 10.0, "taylor": True}),
    Variant(activations="int8_tensor", kv_cache="int8_token"),
]


def spread_from(folder: Path, *devices: str, dtype: torch.dtype = torch.float32) -> nn.Module:
    with closing(StreamedModel(folder, devices[0], dtype)) as streamed:
        return spread(streamed, devices)


@pytest.mark.parametrize("family", ["llama3", "gemma2", "gpt2", "opt_350m", "bloom", "falcon"])
def test_same_numbers_bit_for_bit(family: str, tmp_path: Path) -> None:
    saved(family, tmp_path)
    resident = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    whole = sweep(resident, VARIANTS, EVALUATION, CALIBRATION, batch_windows=3)
    parts = sweep(spread_from(tmp_path, "cpu", "cpu"), VARIANTS, EVALUATION, CALIBRATION, batch_windows=3)
    assert [s.seen for s in parts] == [s.seen for s in whole]
    assert all(s.seen.state == "ok" for s in parts)


def test_ranges_are_contiguous_and_even() -> None:
    assert ranges([10] * 6, 0, 3) == [0, 0, 1, 1, 2, 2]
    assert ranges([10] * 6, 20, 2) == [0, 0, 1, 1, 1, 1]  # embeddings and head weigh two blocks, on the first device
    assert ranges([10] * 4, 1000, 2) == [1, 1, 1, 1]
    assert ranges([30, 10, 10, 10], 0, 2) == [0, 1, 1, 1]
    assert ranges([10, 10], 0, 5) == [1, 3]
    assert ranges([10] * 3, 5, 1) == [0, 0, 0]


def test_places_in_words() -> None:
    zero, one = torch.device("cuda:0"), torch.device("cuda:1")
    assert describe_places([zero, zero, one]) == "blocks 0 to 1 on cuda:0, 2 to 2 on cuda:1"
    assert describe_places([one, one]) == describe_places([]) == ""


@pytest.mark.parametrize("family", models.FAMILIES)
def test_all_that_a_block_is_given_goes_over(family: str) -> None:
    model = models.FAMILIES[family]()
    decoder = Decoder(model)
    decoder.blocks[1].to(META)
    decoder.places[1] = META
    hidden = decoder.run_block(0, decoder.embed(EVALUATION))
    assert hidden.device == CPU
    groups = input_groups(decoder, 1, hidden)
    assert len(groups) >= 3
    assert {s.hessian.device for s in collect(decoder, 1, groups, [hidden])} == {META}
    (behind,) = advance([hidden], lambda chunk: decoder.run_block(1, chunk), keep=False)
    assert behind.device == META
    decoder.places[1] = CPU
    with pytest.raises(RuntimeError, match="not on the expected device"):
        decoder.run_block(1, hidden)  # so the meta device does refuse


def test_a_spread_model_runs_as_a_whole_and_comes_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved("llama3", tmp_path)
    went: list[torch.device] = []
    monkeypatch.setattr(
        "bitlaw.sweep.spreading.moved", lambda given, device: (went.append(device), moved(given, device))[1]
    )
    model = spread_from(tmp_path, "cpu", "cpu")
    resident = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    with torch.no_grad():
        assert torch.equal(model(input_ids=EVALUATION).logits, resident(input_ids=EVALUATION).logits)
    assert len(went) == 2 * len(Decoder(model).blocks) + 1  # arguments and keywords of each, and home


def test_a_stream_on_the_host_follows() -> None:
    stream = HostStream([torch.ones(2, 3, 4)], CPU)
    follow(stream, META)
    assert [chunk.device for chunk in stream] == [META]
    follow([torch.ones(1)], META)


def test_moving_keeps_what_is_no_tensor_and_moves_each_tensor_once() -> None:
    mask = torch.ones(2, 2)
    known: dict[int, torch.Tensor] = {}
    first = moved((mask, None, {"angles": (mask, 3)}), META, known)
    assert first[0] is first[2]["angles"][0]
    assert first[0].device == META
    assert (first[1], first[2]["angles"][1]) == (None, 3)
    assert moved(mask, CPU) is mask


def test_devices_that_do_not_begin_where_the_model_is(tmp_path: Path) -> None:
    saved("llama3", tmp_path)
    with closing(StreamedModel(tmp_path, "cpu", torch.float32)) as streamed:
        for devices in ([], ["meta", "cpu"]):
            with pytest.raises(InputError, match="spread over devices that begin there"):
                spread(streamed, devices)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_two_gpus_give_the_numbers_of_one(dtype: torch.dtype, tmp_path: Path) -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    FAMILIES["llama3"].make(num_hidden_layers=4).save_pretrained(tmp_path)
    resident = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=dtype).cuda().eval()
    one = sweep(resident, VARIANTS, EVALUATION, CALIBRATION, batch_windows=3)
    model = spread_from(tmp_path, "cuda:0", "cuda:1", dtype=dtype)
    assert {p.device.index for p in model.parameters()} == {0, 1}
    for memory in (0, 1 << 20):  # streams on the devices; in host memory
        two = sweep(model, VARIANTS, EVALUATION, CALIBRATION, batch_windows=3, memory=memory)
        for ours, theirs in zip(two, one, strict=True):
            assert ours.seen.state == theirs.seen.state == "ok"
            assert ours.notes.startswith("blocks 0 to ")
            assert ours.seen.nats == pytest.approx(theirs.seen.nats, rel=1e-3 if dtype == torch.bfloat16 else 1e-5)
