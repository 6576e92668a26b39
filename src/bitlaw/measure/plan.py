"""A measuring plan: which variants, on which texts. From a TOML file's [measure] section:

[measure]
methods = ["nearest", "gptq"]        every method with every bit width
bits = [2, 3, 4]
group_size = 128
activations = ["none", "int8_token"]  every one of them with each of these (docs/activations.md); kv_cache too
evaluation = "sample:evaluation"
calibration = "sample:train"

[measure.gptq]                       options of one method; `bitlaw catalog` lists them
damping = 0.01

[[measure.variants]]                 single variants beside the product above
method = "gptq"
format = "int4_g32_sym"
activations = "int8_token"

A variant written as one line may stand for many: `nearest mxint{3,4}_k{16..64..16}` (`expanding.py`). Of formats that are one
under two names (mxfp4_e1m2_k32 is mxint4_k32) the first is measured; `duplicates` says which the others are.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from bitlaw.catalog import METHODS
from bitlaw.errors import InputError, UnknownName
from bitlaw.formats.equality import canonical
from bitlaw.formats.integer import IntegerFormat, whole_bits
from bitlaw.measure.expanding import expand
from bitlaw.quantize import make_variant
from bitlaw.quantize.scalars import scalar
from bitlaw.records import Scalar, Variant
from bitlaw.sweep import check_compile, parse_activations, parse_kv_cache


@dataclass(frozen=True, kw_only=True)
class MeasurePlan:
    """What to measure on every checkpoint of a suite. The 16-bit baseline is always among the variants.

    evaluation, calibration   texts as `bitlaw.text.open_text` reads them
    evaluation_windows        how many windows are scored; 0 means all there are
    window_tokens             tokens of a window; 0 means the suite's own training length
    batch_windows             windows fed at once; changes speed and memory, not results beyond rounding
    compile                   blocks through torch.compile: auto, yes or no; changes speed, not results beyond rounding
    """

    variants: tuple[Variant, ...]
    evaluation: str = "sample:evaluation"
    evaluation_windows: int = 256
    calibration: str = "sample:train"
    calibration_windows: int = 128
    calibration_seed: int = 0
    window_tokens: int = 0
    batch_windows: int = 32
    compile: str = "auto"
    duplicates: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        check_compile(self.compile)
        if all(v.is_baseline for v in self.variants):
            raise InputError("The plan names no quantized variant. Give methods and bits, or variants.")
        for name, least in (
            ("evaluation_windows", 0),
            ("calibration_windows", 1),
            ("window_tokens", 0),
            ("batch_windows", 1),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise InputError(f"{name}={value!r} is not usable. Give a whole number of at least {least}.")
        unique: dict[Hashable, Variant] = {}
        duplicates = dict(self.duplicates)
        for v in (Variant(), *self.variants):
            kept = unique.setdefault(
                (v.method, _canonical(v), v.activations, v.kv_cache, tuple(sorted(v.options.items()))), v
            )
            if kept.format != v.format:
                duplicates[v.label] = kept.label
        object.__setattr__(self, "variants", tuple(unique.values()))
        object.__setattr__(self, "duplicates", tuple(duplicates.items()))

    @classmethod
    def make(
        cls,
        *,
        methods: Iterable[str] = (),
        bits: Iterable[int | str] = (),
        group_size: int = 128,
        symmetric: bool = False,
        activations: str | Iterable[str] = "none",
        kv_cache: str | Iterable[str] = "none",
        variants: Iterable[str | Mapping[str, Any]] = (),
        options: Mapping[str, Mapping[str, Scalar]] | None = None,
        **settings: Any,
    ) -> MeasurePlan:
        """Return the plan of every method with every integer width, activation format and cache format; and of single variants.

        variants: mappings with method, format, options, activations and kv_cache, or lines such as
        `gptq int{3,4}_g32 damping=0.1 activations=int8_token`; `none none activations=int8_token` leaves the weights alone.
        options: method -> its options, for the product. settings: other fields of MeasurePlan.
        Raises UnknownName or InputError for anything that no part of bitlaw knows.
        """
        given = {method: dict(values) for method, values in (options or {}).items()}
        chosen = tuple(methods)
        for method in given:
            if method not in chosen:
                raise InputError(
                    f"Options for {method!r} are given, but the plan's methods are {', '.join(chosen) or 'none'}."
                )
        formats = [IntegerFormat(bits=whole_bits(b), group_size=group_size, symmetric=symmetric) for b in bits]
        rounded = [(a, c) for a in _listed(activations) for c in _listed(kv_cache)]
        product = [
            _with_rounding(make_variant(m, f, given.get(m)), a, c) for m in chosen for f in formats for a, c in rounded
        ]
        if not product and rounded != [("none", "none")]:
            raise InputError(
                "activations and kv_cache belong to methods and bits here. For weights as they are, give the variant "
                "'none none activations=int8_token'."
            )
        known = [f.name for f in dataclasses.fields(cls) if f.name not in ("variants", "duplicates")]
        for name in settings:
            if name not in known:
                raise UnknownName("setting of [measure]", name, [*known, *PRODUCT_SETTINGS, *METHODS])
        single = [one for given in variants for one in (expand(given) if isinstance(given, str) else (given,))]
        return cls(variants=(*product, *map(_variant, single)), **settings)


PRODUCT_SETTINGS = ("methods", "bits", "group_size", "symmetric", "activations", "kv_cache", "variants")
ROUNDING = ("activations", "kv_cache")


def read_plan(plan: str | Path) -> dict[str, Any]:
    """Return the TOML tables of a plan: a shipped plan by name, or a file. Raises InputError naming both."""
    path = Path(plan)
    shipped = {
        p.name.removesuffix(".toml"): p
        for p in resources.files("bitlaw").joinpath("plans").iterdir()
        if p.name.endswith(".toml")
    }
    if str(plan) in shipped:
        text = shipped[str(plan)].read_text(encoding="utf-8")
    elif path.is_file():
        text = path.read_text(encoding="utf-8")
    else:
        near = difflib.get_close_matches(str(plan), shipped, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise InputError(
            f"No plan {str(plan)!r}.{hint} Give a TOML file or a shipped plan: {', '.join(sorted(shipped))}."
        )
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"Plan {plan} is not TOML: {error}.") from error


def measure_plan(tables: Mapping[str, Any]) -> MeasurePlan:
    """Return the measuring plan of a read plan's [measure] section."""
    if "measure" not in tables:
        raise InputError(f"The plan has no [measure] section. Its sections: {', '.join(tables) or 'none'}.")
    section = dict(tables["measure"])
    options = {name: section.pop(name) for name in list(section) if name in METHODS}
    return MeasurePlan.make(options=options, **section)


def _variant(given: str | Mapping[str, Any]) -> Variant:
    if isinstance(given, Mapping):
        for name in given:
            if name not in ("method", "format", "options", *ROUNDING):
                raise UnknownName("key of a variant", name, ["method", "format", "options", *ROUNDING])
        method, format, options = given.get("method", ""), given.get("format", "none"), dict(given.get("options") or {})
        rounding = [str(given.get(name, "none")) for name in ROUNDING]
    else:
        words = given.split()
        if len(words) < 2 or not all("=" in word for word in words[2:]):
            raise InputError(
                f"Variant {given!r} is not of the form 'method format option=value ...', such as 'gptq int4_g32 damping=0.1'."
            )
        pairs = dict(word.split("=", 1) for word in words[2:])
        rounding = [pairs.pop(name, "none") for name in ROUNDING]
        method, format, options = words[0], words[1], {name: scalar(value) for name, value in pairs.items()}
    if method == "none" and (format != "none" or options):
        raise InputError(
            f"Method 'none' leaves the weights alone: format {format!r} and options {options} cannot be used. "
            "Give 'none none activations=int8_token', or a method such as nearest."
        )
    return _with_rounding(make_variant(method, format, options), *rounding)


def _with_rounding(variant: Variant, activations: str, kv_cache: str) -> Variant:
    """Return the variant with activation and cache formats. Raises InputError for names that are none."""
    parse_activations(activations)
    parse_kv_cache(kv_cache)
    return dataclasses.replace(variant, activations=activations, kv_cache=kv_cache)


def _canonical(variant: Variant) -> str:
    """Return the name that all names of the variant's format share."""
    return variant.format if variant.format == "none" else canonical(variant.format)


def _listed(given: str | Iterable[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(dict.fromkeys(given))
