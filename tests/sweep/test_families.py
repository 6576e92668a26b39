"""Every decoder family against its own forward pass: found by structure, from tiny random models made in memory."""

import copy
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from bitlaw.formats import parse_format
from bitlaw.quantize import make_variant
from bitlaw.quantize.nearest import nearest
from bitlaw.records import Seen, Variant
from bitlaw.sweep import Decoder, sweep
from tests.sweep.families import FAMILIES, VOCABULARY


def ids(count: int, length: int, seed: int) -> torch.Tensor:
    # From 6 on: the first ids stand for images and padding in some families.
    return torch.randint(6, VOCABULARY, (count, length), generator=torch.Generator().manual_seed(seed))


EVALUATION, CALIBRATION = ids(5, 24, seed=1), ids(8, 24, seed=2)


def own_loss(model: nn.Module, tokens: torch.Tensor) -> float:
    with torch.no_grad():
        logits = model(input_ids=tokens).logits[:, :-1].double()
    return float(nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()))


def loss(seen: Seen) -> float:
    assert seen.state == "ok", seen.reason
    assert seen.nats is not None
    assert seen.tokens_scored is not None
    return seen.nats / seen.tokens_scored


def quantized_by_hand(model: nn.Module, format: str) -> tuple[nn.Module, int]:
    """Return a copy with every matrix of the text blocks rounded, and how many there are. No code of the sweep finds them."""
    work = copy.deepcopy(model)
    count = 0
    for name, module in work.named_modules():
        blocks = any(f"{part}." in f".{name}" for part in (".layers", ".h", ".blocks")) and "vision" not in name
        router = type(module).__name__.endswith("Router") or name.endswith(("router.layer", "shared_expert_gate"))
        if not blocks or router or isinstance(module, nn.Embedding):
            continue
        for own, parameter in module.named_parameters(recurse=False):
            if own == "weight" and parameter.dim() == 2:
                transposed = type(module).__name__ == "Conv1D"
                weight = parameter.data.T if transposed else parameter.data
                rounded = nearest(weight, None, parse_format(format), None)
                parameter.data = rounded.T if transposed else rounded
                count += 1
            if parameter.dim() == 3:  # [experts, out, in], or [experts, in, out]
                for matrix in parameter.data:
                    transposed = type(module).__name__ == "GptOssExperts"
                    weight = matrix.T if transposed else matrix
                    rounded = nearest(weight, None, parse_format(format), None)
                    matrix.copy_(rounded.T if transposed else rounded)
                    count += 1
    return work, count


@pytest.mark.parametrize("family", FAMILIES)
def test_family(family: str) -> None:
    model = FAMILIES[family].make()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    nearest3 = make_variant("nearest", "int3_g16")
    gptq = make_variant("gptq", "int3_g16")
    baseline, rounded, calibrated = sweep(model, [Variant(), nearest3, gptq], EVALUATION, CALIBRATION, batch_windows=3)
    own = own_loss(model, EVALUATION)
    assert loss(baseline.seen) == pytest.approx(own, abs=1e-5)
    by_hand, layers = quantized_by_hand(model, "int3_g16")
    assert loss(rounded.seen) == pytest.approx(own_loss(by_hand, EVALUATION), abs=1e-5)
    assert abs(loss(rounded.seen) - own) > 1e-3
    assert rounded.seen.quantized_layers == calibrated.seen.quantized_layers == layers > 0
    assert calibrated.seen.fallback_layers == 0
    assert calibrated.seen.sqnr_db is not None
    assert rounded.seen.sqnr_db is not None
    assert calibrated.seen.sqnr_db < rounded.seen.sqnr_db - 0.5  # gptq trades the weights' error for the outputs'
    assert loss(calibrated.seen) != loss(baseline.seen)
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert len(Decoder(model).blocks) == 2


def test_the_page_lists_these_families() -> None:
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
    rows = re.findall(r"^\| (.+?) \| (.+?) \|$", page.split("## Families")[1].split("##")[0], flags=re.M)
    assert rows[0] == ("models", "what is special")
    assert rows[1:] == [(family.models, family.layout) for family in FAMILIES.values()]
