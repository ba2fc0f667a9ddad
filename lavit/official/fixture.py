"""Reading a parity fixture: tensors of an official run in one safetensors file, and what they mean in a JSON beside it.

A fixture holds the weights by their official names (``sd.tokenizer.*``, ``sd.decoder.*``, ``sd.decoder_highres.*``),
the inputs, and what the official classes made of them, case by case.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lavit.errors import LavitError
from lavit.official.config import OfficialConfig

_SIZES = {
    "image_size": "img_size",
    "patch": "patch_size",
    "width": "width",
    "heads": "heads",
    "vision_blocks": "vit_depth",
    "merger_blocks": "merger_depth",
    "decoder_blocks": "decoder_depth",
    "codebook_size": "n_code",
    "code_dim": "code_dim",
    "llm_width": "llm_dim",
    "condition_dim": "cond_dim",
    "pooled_dim": "cond_dim2",
}
PARTS = ("tokenizer", "decoder", "decoder_highres")


@dataclass(frozen=True)
class Tolerance:
    """A float passes where |found - expected| <= atol + rtol |expected|."""

    atol: float
    rtol: float


@dataclass
class Fixture:
    """A fixture in memory.

    Attributes:
        path: of the safetensors file.
        config: sizes.
        other_epsilon: of the layer norms outside the vision tower.
        tensors: inputs and expectations by name, without the weights.
        weights: part to state dict in official names.
        cases: names of the cases.
    """

    path: Path
    config: OfficialConfig
    other_epsilon: float
    tensors: dict[str, Tensor]
    weights: dict[str, dict[str, Tensor]]
    cases: list[str]
    _tolerance: Mapping[str, Any]

    def compares(self, name: str, softmax: str) -> bool:
        """Whether a tensor is to be compared under a softmax (inner probabilities differ by design)."""
        case, _, rest = name.partition(".")
        rest = rest if case in self.cases else name
        patterns = self._tolerance[f"{softmax}_softmax"].get("not_compared", [])
        return not any(fnmatch.fnmatch(rest, pattern) for pattern in patterns)

    def tolerance(self, name: str, softmax: str) -> Tolerance:
        """The tolerance of a float tensor: the softmax's, or a wider one that the fixture gives for its prefix."""
        entries = [self._tolerance[f"{softmax}_softmax"]]
        general = ("policy_softmax", "exact_softmax", "integers_and_masks")
        entries += [
            entry
            for prefix, entry in self._tolerance.items()
            if prefix not in general and (name == prefix or name.startswith((f"{prefix}.", f"{prefix}_")))
        ]
        return Tolerance(max(e["atol"] for e in entries), max(e["rtol"] for e in entries))


def read_fixture(path: Path) -> Fixture:
    """Read and check a fixture.

    Raises:
        LavitError: a file cannot be read, the JSON lacks a key, or the tensors are not those that it lists.
    """
    beside = path.with_suffix(".json")
    for file in (path, beside):
        if not file.is_file():
            raise LavitError(f"there is no file {file}", "a fixture is NAME.safetensors with NAME.json beside it")
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise LavitError(f"{path} is not a readable safetensors file: {error}") from error
    try:
        document = json.loads(beside.read_text(encoding="utf-8"))
    except ValueError as error:
        raise LavitError(f"{beside} is not readable JSON: {error}") from error
    _check_shapes(path, tensors, document.get("shapes"))
    weights: dict[str, dict[str, Tensor]] = {part: {} for part in PARTS}
    expected: dict[str, Tensor] = {}
    for name, value in tensors.items():
        kind, _, rest = name.partition(".")
        part, _, key = rest.partition(".")
        if kind != "sd":
            expected[name] = value
        elif part in weights:
            weights[part][key] = value
        else:
            raise LavitError(f"{path}: the weights '{name}' belong to no known part", f"parts: {', '.join(PARTS)}")
    for needed in ("tokenizer", "input.images"):
        if not (weights.get(needed) or needed in expected):
            raise LavitError(f"{path}: '{'sd.tokenizer.*' if needed == 'tokenizer' else needed}' is missing")
    cases = [name for name in document.get("cases", {}) if any(key.startswith(f"{name}.") for key in expected)]
    cases += sorted({key.split(".")[0] for key in expected if key.endswith(".decisions")} - set(cases))
    for case in cases:
        if f"{case}.decisions" not in expected:
            raise LavitError(f"{path}: the case '{case}' has no tensor '{case}.decisions'")
    sizes, other = _read_config(beside, document)
    return Fixture(path, sizes, other, expected, weights, cases, _read_tolerance(beside, document))


def _check_shapes(path: Path, tensors: Mapping[str, Tensor], listed: Any) -> None:
    if listed is None:
        return
    problems = []
    for name, (dtype, shape) in listed.items():
        if name not in tensors:
            problems.append(f"missing    {name} {shape}")
        elif list(tensors[name].shape) != list(shape):
            problems.append(f"misshapen  {name}: found {list(tensors[name].shape)}, listed {list(shape)}")
        elif str(tensors[name].dtype).removeprefix("torch.") != dtype:
            problems.append(f"mistyped   {name}: found {tensors[name].dtype}, listed {dtype}")
    problems += [f"extra      {name} {list(tensors[name].shape)}" for name in tensors if name not in listed]
    if problems:
        raise LavitError(f"{path} does not hold the tensors that its JSON lists:\n  " + "\n  ".join(problems))


def _read_config(beside: Path, document: Mapping[str, Any]) -> tuple[OfficialConfig, float]:
    config = document.get("config")
    if not isinstance(config, Mapping):
        raise LavitError(f"{beside}: the key 'config' is missing")
    for key in _SIZES.values():
        if not isinstance(config.get(key), int) and not (key == "cond_dim2" and config.get(key) is None):
            raise LavitError(f"{beside}: config.{key}={config.get(key)!r} is not a whole number")
    if "exact" not in str(config.get("gelu", "exact")):
        raise LavitError(f"{beside}: config.gelu={config['gelu']!r}; LaVIT's is the exact (erf) one")
    sizes: dict[str, Any] = {ours: config.get(theirs) for ours, theirs in _SIZES.items()}
    ratio, hidden = float(config.get("mlp_ratio", 4.3637)), config.get("mlp_hidden")
    if hidden is not None and int(sizes["width"] * ratio) != hidden:
        ratio = (hidden + 0.5) / sizes["width"]
    return OfficialConfig(
        **sizes,
        mlp_ratio=ratio,
        vision_epsilon=float(config.get("vit_layernorm_eps", 1e-6)),
        policy_epsilon=float(config.get("policy_softmax_eps", 1e-6)),
    ), float(config.get("other_layernorm_eps", 1e-5))


def _read_tolerance(beside: Path, document: Mapping[str, Any]) -> Mapping[str, Any]:
    tolerance = document.get("tolerance", {})
    for key in ("policy_softmax", "exact_softmax"):
        if not {"atol", "rtol"} <= set(tolerance.get(key, {})):
            raise LavitError(f"{beside}: tolerance.{key} must give atol and rtol")
    return tolerance
