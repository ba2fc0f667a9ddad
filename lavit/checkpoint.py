"""Any checkpoint that can be evaluated, opened the same way: a finished arm, or LaVIT's imported weights.

Opening looks at what is there and refuses what cannot be evaluated; weights are read when the model is asked for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lavit.errors import LavitError
from lavit.finished_arm import read_document, read_stages

if TYPE_CHECKING:
    from lavit.model.protocol import VisionLanguageModel

WANTED = (
    "Name a finished arm (runs/store/cooldown/KEY, runs/store/evaluate/KEY, or study=NAME arm=ARM seed=N) or a folder "
    "that `lavit import-official` wrote."
)


@dataclass
class Checkpoint:
    """A model that can be evaluated, and what has to be known of it beforehand.

    Attributes:
        folder: where it was found.
        kind: ``arm`` or ``official``.
        name: what its results are called; fit for a folder's name.
        fingerprint: changes with its weights and with how they are used.
        image_size: side in pixels of the images that it reads.
        corpus: the config node of the data that it was trained on; None where there is none.
        seed: of its run; drawing depends on it.
        stages: finished folder of each stage of an arm.
        scale: the arm's scale, if it is on record.
    """

    folder: Path
    kind: str
    name: str
    fingerprint: str
    image_size: int
    corpus: dict[str, Any] | None
    load: Callable[[str], VisionLanguageModel] = field(repr=False)
    seed: int = 0
    stages: Mapping[str, Path] = field(default_factory=dict)
    scale: str | None = None
    device: str = "cpu"

    @cached_property
    def model(self) -> VisionLanguageModel:
        """The model behind the protocol, on ``device``; loaded when it is first asked for."""
        return self.load(self.device)


def open_checkpoint(
    path: Path | str,
    device: str = "cpu",
    options: Mapping[str, Any] | None = None,
    name: str | None = None,
) -> Checkpoint:
    """Find out what a path holds and what belongs to it, without loading it.

    Args:
        path: a finished ``cooldown`` or ``evaluate`` stage in a store, or an imported release.
        device: where the model goes, as torch names devices.
        options: how imported weights are used, see :class:`lavit.official.settings.OfficialSettings`.
        name: what its results are called, where the folder's own name would say less.

    Raises:
        LavitError: there is nothing to evaluate there: says what was found, and what is wanted.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise LavitError(f"checkpoint={path}: there is no such folder.", WANTED)
    config = read_document(path / "config.json") if path.is_dir() else None
    if isinstance(config, dict) and config.get("made_by") == "lavit import-official":
        return _official(path, config, device, dict(options or {}), name)
    if path.is_dir() and (path / "request.yaml").is_file():
        if options:
            raise LavitError(
                f"checkpoint.{next(iter(options))}: {path} is an arm, whose config says how it is used.",
                "These settings are for imported weights.",
            )
        return _arm(path, name, device)
    raise LavitError(f"checkpoint={path}: {_found(path)}.", WANTED)


def _arm(path: Path, name: str | None, device: str) -> Checkpoint:
    found = read_stages(path)

    def load(device: str) -> VisionLanguageModel:
        import lavit.model

        model: Any = lavit.model.load(dict(found.folders))
        for part in ("model", "vision", "tokenizer", "pixels") if device != "cpu" else ():
            getattr(model, part).to(device)
        loaded: VisionLanguageModel = model
        return loaded

    return Checkpoint(
        folder=path,
        kind="arm",
        name=name or f"arm-{found.key}",
        fingerprint=found.fingerprint,
        image_size=int(found.data["image_size"]),
        corpus=found.data,
        load=load,
        seed=found.seed,
        stages=found.folders,
        scale=found.scale,
        device=device,
    )


def _official(
    path: Path, config: Mapping[str, Any], device: str, options: dict[str, Any], name: str | None
) -> Checkpoint:
    from lavit.official.settings import OfficialSettings

    settings = OfficialSettings.of(options)
    absent = [part for part in ("tokenizer", "understanding", "llm") if part not in config.get("parts", {})]
    if absent:
        raise LavitError(
            f"checkpoint={path}: an imported release without {' and '.join(absent)} can neither describe nor answer.",
            "Import the whole release: lavit import-official DIR (docs/official-weights.md).",
        )

    def load(device: str) -> VisionLanguageModel:
        from lavit.official.model import OfficialModel

        return OfficialModel.load(path, settings, device)

    digest = hashlib.sha256(json.dumps([config["parts"], settings.to_dict()], sort_keys=True).encode())
    for file in sorted(path.rglob("*.safetensors")):
        digest.update(f"{file.relative_to(path).as_posix()} {file.stat().st_size}\n".encode())
        digest.update(_sample(file))
    return Checkpoint(
        folder=path,
        kind="official",
        name=name or path.resolve().name,
        fingerprint=digest.hexdigest()[:16],
        image_size=int(config["parts"]["tokenizer"]["image_size"]),
        corpus=None,
        load=load,
        device=device,
    )


def _sample(file: Path, block: int = 1 << 16, blocks: int = 16) -> bytes:
    """The head of a file and blocks spread over it: tells releases apart without reading gigabytes."""
    size, parts = file.stat().st_size, []
    with file.open("rb") as stream:
        for number in range(blocks):
            stream.seek(max(0, size - block) * number // (blocks - 1))
            parts.append(stream.read(block))
    return b"".join(parts)


def _found(path: Path) -> str:
    """What is there instead of a checkpoint."""
    if path.is_file():
        return "this is a file"
    if (path / "visual_tokenizer").is_dir() or (path / "language_model").is_dir():
        return "this is a release as its authors publish it; bring it in first with `lavit import-official`"
    if (path / "store").is_dir():
        return "this is a folder of runs; one of them is wanted"
    names = sorted(entry.name for entry in path.iterdir())
    shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    return f"no checkpoint was found in it; it holds {shown}" if names else "the folder is empty"
