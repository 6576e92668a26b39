"""Formats that are one: names are shared exactly where outputs are, found by brute force over every pair."""

import itertools

import numpy as np
import torch

from bitlaw import catalog
from bitlaw.formats import bits_per_weight, canonical, duplicates, parse_format, quantize_groups
from bitlaw.formats.microscaling import SCALE_RULES

PAPER = ["mxint6", "mxint4", "mxint3", "mxint2", "mxfp6_e2m3", "mxfp6_e3m2", "mxfp4_e2m1", "mxfp4_e1m2", "mxfp3_e1m1"]


def every_name() -> list[str]:
    examples = {name for entry in catalog.FORMATS.values() for name in entry.load().examples()}
    elements = [
        "int2",
        "int3",
        "int4",
        "fp2_e1m0",
        "fp3_e1m1",
        "fp3_e2m0",
        "fp4_e1m2",
        "fp4_e2m1",
        "fp4_e3m0",
        "fp8_e1m6",
    ]
    rules = ["", *(f"_{rule}" for rule in SCALE_RULES if rule != "floor")]
    built = {f"mx{e}_k32{rule}{ties}" for e, rule, ties in itertools.product(elements, rules, ("", "_away"))}
    small = {f"fp{b}_{e}_g32{rest}" for b, e in ((2, "e1m0"), (3, "e1m1")) for rest in ("", "_mse", "_away", "_p90")}
    ternary = {f"int1.58_g32{rest}" for rest in ("", "_absmax", "_mse", "_p90")}
    return sorted(examples | built | small | ternary | {"mxint8_k32"})


def probes() -> torch.Tensor:
    """Weights [128, 256] on which different formats differ: random, on coarse grids with ties, near powers of two."""
    rng = np.random.default_rng(0)
    random = rng.standard_normal((16, 256)) * np.exp2(rng.integers(-9, 9, (16, 1)))
    ties = rng.integers(-16, 17, (32, 256)) / rng.choice([1, 2, 4, 8, 16], (32, 1))
    ties[16:, ::16] = np.exp2(rng.integers(-2, 7, (16, 1)))
    powers = np.exp2(rng.integers(-6, 6, (16, 256)).astype(float)) * rng.choice([-1.0, 1.0], (16, 256))
    powers *= rng.choice([1.0, 1.0, 1 + 2.0**-20, 1 - 2.0**-20, 1.5], (16, 256))
    maxima = rng.uniform(-1, 1, (64, 8, 32))
    maxima[:, :, 0] = (1 + np.arange(512) / 512).reshape(64, 8)  # every block's maximum at another place of a binade
    return torch.from_numpy(np.concatenate([random, ties, powers, maxima.reshape(64, 256)]).astype(np.float32))


def test_names_are_shared_exactly_where_outputs_are() -> None:
    weight = probes()
    outputs: dict[str, list[str]] = {}
    for name in every_name():
        quantized = quantize_groups(weight, parse_format(name)) + 0.0  # + 0.0: one sign of zero
        outputs.setdefault(quantized.numpy().tobytes(), []).append(name)
    for names in outputs.values():
        assert len({canonical(name) for name in names}) == 1, names
    assert len({canonical(name) for name in every_name()}) == len(outputs)


def test_canonical_formats_cost_the_same_bits_and_are_their_own() -> None:
    for name in every_name():
        simplest = canonical(name)
        assert canonical(simplest) == simplest
        same, format = parse_format(simplest), parse_format(name)
        assert same.group_size == format.group_size
        if same.bits != 1.58:  # a ternary weight is counted as log2 3 bits, its 2-bit float code as 2
            assert bits_per_weight(256, same) == bits_per_weight(256, format)


def test_the_paper_has_28_distinct_formats() -> None:
    names = [f"{element}_k{k}" for element in PAPER for k in (16, 32, 64, 128)]
    assert len(names) == 36
    assert len({canonical(name) for name in names}) == 28
    assert duplicates(names) == sorted(
        (f"mxfp{b}_e1m{b - 2}_k{k}", f"mxint{b}_k{k}") for b in (3, 4) for k in (16, 32, 64, 128)
    )


def test_duplicates_takes_names_and_formats_once() -> None:
    assert duplicates(["int4_g128", "int4_g128", parse_format("int4_g128")]) == []
    assert duplicates(["mxint4_k32", parse_format("mxfp4_e1m2_k32"), "int4_g32"]) == [("mxfp4_e1m2_k32", "mxint4_k32")]
    assert duplicates([]) == []
