"""What another tool says of the checkpoint it quantized, read from the `quantization_config` of its config.json.

    GPTQ (v1, v2), AWQ      bits, group_size (-1: a row), sym / zero_point
    compressed-tensors      config_groups: num_bits, type, strategy, group_size, and those of the inputs
    bitsandbytes            load_in_4bit with nf4 or fp4, or load_in_8bit
    HQQ                     quant_config.weight_quant_params: nbits, group_size; or a qmodel.pt of the hqq package
    torchao                 the class of its configuration, such as Int8WeightOnlyConfig

To add a tool: a function from its settings to a `Told`, and a line in `TOOLS` with what pip must install to load it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bitlaw.errors import CheckpointError
from bitlaw.suites.hqq_folder import hqq_settings, is_hqq_folder

Settings = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Told:
    """A tool's own words: `format` as `int4_g128_sym`, nominal `bits` (0: it does not say), `group_size` (0: a row)."""

    format: str
    bits: float = 0.0
    group_size: int = 0


@dataclass(frozen=True, kw_only=True)
class Tool:
    """How a tool's settings are read, and the packages that load its checkpoints.

    absent   ends of tensor names -> the value that stands for such a tensor where a checkpoint has none
    """

    read: Callable[[Settings], Told]
    packages: str
    absent: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ForeignFormat:
    """Format of a folder: `tool` (`dense` where no tool is named), its version (or `unknown`) and what it told."""

    tool: str
    version: str
    told: Told

    @property
    def name(self) -> str:
        """As records name it: `compressed-tensors:int4_g128_sym`."""
        return f"{self.tool}:{self.told.format}"

    @property
    def packages(self) -> str:
        """What pip must install to load it, empty where nobody knows."""
        return TOOLS[self.tool].packages if self.tool in TOOLS else ""

    @property
    def absent(self) -> Mapping[str, float]:
        """Ends of tensor names that its checkpoints may lack, and what value they then have."""
        return TOOLS[self.tool].absent if self.tool in TOOLS else {}


def read_foreign_format(folder: Path) -> ForeignFormat:
    """Return how a folder says it was quantized. Raises CheckpointError for a config.json that cannot be read."""
    config = read_config(folder)
    if is_hqq_folder(folder):
        return ForeignFormat(tool="hqq", version="unknown", told=_hqq(hqq_settings(folder)))
    settings = config.get("quantization_config")
    if not settings:
        dtype = str(config.get("dtype") or config.get("torch_dtype") or "float32")
        return ForeignFormat(tool="dense", version="unknown", told=Told(format=dtype))
    tool = str(settings.get("quant_method") or "unknown")
    if tool == "gptq" and settings.get("checkpoint_format") == "gptq_v2":
        tool = "gptq_v2"
    if tool == "unknown" and (settings.get("load_in_4bit") or settings.get("load_in_8bit")):
        tool = "bitsandbytes"
    read = TOOLS[tool].read if tool in TOOLS else _plain
    try:
        told = read(settings)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise CheckpointError(
            f"{folder / 'config.json'} has a quantization_config of {tool} that cannot be read: {error!r}."
        ) from error
    return ForeignFormat(tool=tool, version=_version(settings), told=told)


def read_config(folder: Path) -> dict[str, Any]:
    """Return config.json. Raises CheckpointError when there is none or it is not an object."""
    try:
        config = json.loads((folder / "config.json").read_text())
    except OSError as error:
        raise CheckpointError(f"No config.json in {folder}. Give a folder that transformers can load.") from error
    except ValueError as error:
        raise CheckpointError(f"{folder / 'config.json'} is not JSON: {error}.") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{folder / 'config.json'} is not a JSON object.")
    return config


def _version(settings: Settings) -> str:
    """The tool's version where it left one; AWQ's `version` is a packing, not a release."""
    quantizer = (settings.get("meta") or {}).get("quantizer")
    if quantizer:
        return ", ".join(quantizer) if isinstance(quantizer, list) else str(quantizer)
    version = str(settings.get("version") or "")
    return version if re.match(r"\d", version) else "unknown"


def _integers(bits: int, group_size: int | None, symmetric: object) -> Told:
    size = group_size if group_size and group_size > 0 else 0
    scope = f"g{size}" if size else "row"
    return Told(format=f"int{bits}_{scope}{'_sym' if symmetric else ''}", bits=float(bits), group_size=size)


def _gptq(settings: Settings) -> Told:
    return _integers(int(settings["bits"]), settings.get("group_size"), settings.get("sym", True))


def _awq(settings: Settings) -> Told:
    bits = settings["bits"] if "bits" in settings else settings["w_bit"]
    size = settings.get("group_size", settings.get("q_group_size", 128))
    return _integers(int(bits), size, not settings.get("zero_point", True))


def _compressed_tensors(settings: Settings) -> Told:
    groups = list(settings["config_groups"].values())
    told = []
    for group in groups:
        weights, inputs = group["weights"], group.get("input_activations")
        bits, size = int(weights["num_bits"]), weights.get("group_size") or 0
        strategy = str(weights.get("strategy") or "tensor")
        scope = f"g{size}" if size > 0 else {"channel": "row"}.get(strategy, strategy)
        kind = "fp" if weights.get("type") == "float" else "int"
        format = f"{kind}{bits}_{scope}{'_sym' if kind == 'int' and weights.get('symmetric', True) else ''}"
        told.append(Told(format=format + (f"_a{inputs['num_bits']}" if inputs else ""), bits=bits, group_size=size))
    if len(set(told)) > 1:
        return Told(format="+".join(dict.fromkeys(t.format for t in told)))
    return told[0]


def _bitsandbytes(settings: Settings) -> Told:
    if settings.get("load_in_8bit") or settings.get("_load_in_8bit"):
        return Told(format="int8_row_sym", bits=8.0)
    kind = str(settings.get("bnb_4bit_quant_type") or "fp4")
    double = "_double" if settings.get("bnb_4bit_use_double_quant") else ""
    return Told(format=f"{kind}_g64{double}", bits=4.0, group_size=64)


def _hqq(settings: Settings) -> Told:
    config = settings["quant_config"]
    if "weight_quant_params" not in config:  # settings of each layer
        return Told(format="mixed")
    weights = config["weight_quant_params"]
    return _integers(int(weights["nbits"]), weights.get("group_size"), symmetric=False)


def _torchao(settings: Settings) -> Told:
    kind = settings["quant_type"]
    config = kind.get("default", kind) if isinstance(kind, Mapping) else kind
    name = str(config["_type"]) if isinstance(config, Mapping) else str(config)
    data = config.get("_data", {}) if isinstance(config, Mapping) else {}
    digits = re.search(r"(?:int|float)(\d+)", str(data.get("weight_dtype") or name), flags=re.I)
    size = int(data.get("group_size") or ((data.get("granularity") or {}).get("_data") or {}).get("group_size") or 0)
    bits = float(digits[1]) if digits else 0.0
    return Told(
        format=f"{name}{f'_{bits:g}bit' if bits else ''}{f'_g{size}' if size else ''}", bits=bits, group_size=size
    )


def _plain(settings: Settings) -> Told:
    """What most tools call it; a tool that is not known still has its bits read."""
    bits = next((settings[k] for k in ("bits", "num_bits", "weight_bits", "nbits", "w_bit") if settings.get(k)), 0)
    if not bits:
        return Told(format="unstated")
    return _integers(int(bits), settings.get("group_size"), settings.get("sym", False))


TOOLS: Mapping[str, Tool] = {
    "gptq": Tool(read=_gptq, packages="gptqmodel optimum"),
    "gptq_v2": Tool(read=_gptq, packages="gptqmodel optimum"),
    # Where AWQ scaled no activation function, GPTQModel stores none of the scales that transformers divides by.
    "awq": Tool(read=_awq, packages="gptqmodel accelerate", absent={".act.scales": 1.0, ".gelu_impl.scales": 1.0}),
    "compressed-tensors": Tool(read=_compressed_tensors, packages="compressed-tensors"),
    "bitsandbytes": Tool(read=_bitsandbytes, packages="bitsandbytes accelerate"),
    "hqq": Tool(read=_hqq, packages="hqq accelerate"),
    "torchao": Tool(read=_torchao, packages="torchao accelerate"),
    "auto-round": Tool(read=_plain, packages="auto-round"),
}
