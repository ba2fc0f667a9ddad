"""The fingerprint of a result: everything that its numbers depend on besides the model, in one short hash and in words.

Two results with equal fingerprints were made by one rule on the same examples in the same order, and may stand in one
column. What a rule says (examples, prompt, decoding, metric with the version of the code that computes it, split, image
preprocessing) is in it. Which versions of the packages that compute answers happened to be installed is not: these
should move nothing but last bits, are kept beside it as ``environment``, and a report warns where they differ.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from evals.benchmark import REAL, Benchmark
from evals.datasets.dataset import Dataset
from evals.records import Record
from lavit.data.protocol import Examples

SHORT = 6  # hexadecimal digits that are printed
_NOT_A_RULE = {"benchmark", "controls"}  # told by `class` and by the number of examples of each control


def describe(benchmark: Benchmark, records: Sequence[Record], source: Examples) -> dict[str, Any]:
    """What ``protocol.json`` says of one benchmark.

    Its settings, how to build it again (``entry``), ``examples`` (control → how many) and their hash, and
    ``fingerprint``: ``hash``, ``line`` (in words), ``parts`` (dotted name → value, what the hash is over),
    ``environment`` (package → version) and ``hygiene``.

    Args:
        benchmark: who asked.
        records: its finished records, in their order.
        source: where its examples are from.
    """
    counts, digest = _examples(records)
    settings = {name: _plain(value) for name, value in benchmark.settings().items()}
    rules = settings | ({} if settings.get("decode") else {"decode": _plain(benchmark.own_decode)})
    parts = flatten(
        {
            "class": settings["benchmark"],
            **{
                name: value
                for name, value in rules.items()
                if name not in benchmark.incidental and name not in _NOT_A_RULE
            },
            "metric": records[0].metric,
            "examples": {control or "real": count for control, count in counts.items()},
            "examples_sha256": digest,
            "image": {"size": source.image_size, "resize": str(getattr(source, "preprocessing", "as the corpus does"))}
            if benchmark.pictured
            else "none",
            **({"dataset_sha256": _dataset(source, benchmark.split)} if isinstance(source, Dataset) else {}),
        }
    )
    return {
        **settings,
        "entry": benchmark.entry,
        "metric": records[0].metric,
        "further_metrics": list(dict.fromkeys(r.metric for r in records if r.metric != records[0].metric)),
        "examples": counts,
        "examples_sha256": digest,
        "fingerprint": {
            "hash": hash_of(parts),
            "line": _line(benchmark, rules, records),
            "parts": parts,
            "environment": {name: _version(name) for name in benchmark.libraries},
            "hygiene": benchmark.hygiene,
        },
    }


def hash_of(parts: Mapping[str, Any]) -> str:
    """SHA-256 over the parts, in the order of their names."""
    text = json.dumps(dict(sorted(parts.items())), ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def flatten(tree: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Nested mappings as dotted names; lists and empty mappings are values."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        below = f"{path}.{name}" if path else str(name)
        if isinstance(value, Mapping) and value:
            found |= flatten(value, below)
        else:
            found[below] = value
    return found


def _examples(records: Sequence[Record]) -> tuple[dict[str, int], str]:
    """(control → examples, hash over id, image, prompt and references of the real ones in their order)."""
    digest = hashlib.sha256()
    examples: dict[str, set[str]] = {}
    for record in records:
        known = examples.setdefault(record.control, set())
        if record.control == REAL and record.example_id not in known:
            asked = [record.example_id, record.cluster_id, record.prompt, *record.references]
            digest.update(json.dumps(asked, ensure_ascii=False).encode())
        known.add(record.example_id)
    return {control: len(known) for control, known in examples.items()}, digest.hexdigest()


def _plain(value: Any) -> Any:
    """A setting as JSON: dataclasses as mappings, tuples as lists, other objects as they print."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain(dataclasses.asdict(value))
    if isinstance(value, Mapping):
        return {str(name): _plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def _dataset(source: Dataset, split: str) -> str:
    root = source.root
    for _ in Path(source.folder).parts:
        root = root.parent
    return source.fingerprint(root, split)


def _line(benchmark: Benchmark, settings: Mapping[str, Any], records: Sequence[Record]) -> str:
    """``test, 512 images, CIDEr-D of pycocoevalcap on ptb-python-1, greedy, <= 48 tokens``."""
    real = [record for record in records if record.control == REAL]
    images = len({record.cluster_id for record in real})
    examples = len({record.example_id for record in real})
    asked = f"{images:,} {benchmark.unit}" + (f" with {examples:,} questions" if examples != images else "")
    protocol = settings.get("protocol")
    words = [benchmark.split, asked, f"{records[0].metric}: {protocol}" if protocol else "", ""]
    if decode := settings.get("decode"):
        words[-1] = _decoding(decode)
    if settings.get("prompt"):
        words.append(f'prompt "{settings["prompt"]}"')
    if settings.get("shots"):
        words.append(f"{settings['shots']} shots")
    return ", ".join(filter(None, words))


def _decoding(decode: Mapping[str, Any]) -> str:
    beams, temperature = int(decode.get("beams", 1)), float(decode.get("temperature", 0.0))
    how = f"{beams} beams" if beams > 1 else f"sampled at {temperature:g}" if temperature else "greedy"
    return f"{how}, <= {decode['max_new']} tokens" if "max_new" in decode else how


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
