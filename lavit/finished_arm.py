"""Finding an arm in the store: from one of its folders to those of all the stages that it is made of.

Each finished stage records what it was asked (``request.yaml``: its seed, its config, the keys of the stages that it
needs) and what it left (``DONE.json``, with checksums).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from lavit.errors import LavitError

ARM, RESULT, PIXELS = "cooldown", "evaluate", "pixels"
TRUNK = {"pretrain", "tune"}  # what an arm was cooled down from: no part of the model
_WEIGHTS = ".safetensors"


@dataclass(frozen=True)
class FinishedArm:
    """An arm whose stages are all there.

    Attributes:
        folders: finished folder of each stage.
        key: of its last training stage.
        seed: of its run.
        data: the config node of the corpus that it was trained on.
        scale: its scale, if the request tells it.
        fingerprint: over the checksums of all its weights.
    """

    folders: dict[str, Path]
    key: str
    seed: int
    data: dict[str, Any]
    scale: str | None
    fingerprint: str


def read_document(path: Path) -> Any:
    """A JSON or YAML file; None where it is not there or cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
        return json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError):
        return None


def read_stages(folder: Path) -> FinishedArm:
    """The arm that a ``cooldown`` or ``evaluate`` folder of a store belongs to.

    Raises:
        LavitError: the folder is another stage's, is not finished, or something that it needs is not there.
    """
    folder = folder.absolute()
    request = _request(folder)
    stage, needs = request["stage"], dict(request["needs"])
    store = folder.parents[1]
    if stage == RESULT and ARM in needs:
        arm = store / ARM / needs[ARM]
        request = _request(arm)
    elif stage == ARM:
        arm = folder
        needs |= {ARM: request["key"], PIXELS: _pixels(store, request)}
    else:
        raise LavitError(
            f"checkpoint={folder}: this is the stage '{stage}', which is no arm by itself.",
            f"Name the folder of the arm's '{ARM}' or '{RESULT}' stage.",
        )
    folders = {name: store / name / key for name, key in needs.items()}
    for name, path in folders.items():
        if read_document(path / "DONE.json") is None:
            raise LavitError(
                f"checkpoint={folder}: the arm needs {name}/{path.name}, which is not finished in {store}.",
                "Run its study again: `lavit run` makes what is missing. Of a copied store, copy all stages.",
            )
    config = request["config"]
    return FinishedArm(
        folders, arm.name, int(request["seed"]), dict(config["data"]), request.get("scale"), _fingerprint(folders)
    )


def _request(folder: Path) -> dict[str, Any]:
    body = read_document(folder / "request.yaml")
    if not isinstance(body, dict) or not {"stage", "key", "needs", "config", "seed"} <= set(body):
        raise LavitError(
            f"{folder / 'request.yaml'} is missing or not readable.",
            "It says which stages an arm is made of. Copy stage folders of a store whole.",
        )
    if read_document(folder / "DONE.json") is None:
        raise LavitError(f"checkpoint={folder}: this stage is not finished.", "Run its study again: `lavit run`.")
    if (body["stage"], body["key"]) != (folder.parent.name, folder.name):
        raise LavitError(
            f"checkpoint={folder}: this is a copy of {body['stage']}/{body['key']} outside of a store.",
            "An arm is several stages, found beside each other as STORE/STAGE/KEY: name the folder in its store.",
        )
    return body


def _pixels(store: Path, request: Mapping[str, Any]) -> str:
    """The pixel decoder of an arm: that of its own evaluation, or the only one of its vision encoder."""
    requests = [read_document(path) or {} for path in sorted(store.glob(f"{RESULT}/*/request.yaml"))]
    used = {body["needs"][PIXELS] for body in requests if body.get("needs", {}).get(ARM) == request["key"]}
    if not used:
        requests = [read_document(path) or {} for path in sorted(store.glob(f"{PIXELS}/*/request.yaml"))]
        vision = request["needs"].get("vision")
        used = {body["key"] for body in requests if body.get("needs", {}).get("vision") == vision}
    if len(used) != 1:
        found = "no pixel decoder" if not used else f"{len(used)} pixel decoders ({', '.join(sorted(used))})"
        raise LavitError(
            f"checkpoint={store / ARM / request['key']}: {found} in {store} for this arm.",
            "Name the folder of its evaluation (STORE/evaluate/KEY), which says which one is its own; or make one: "
            "lavit train study.until=pixels",
        )
    return used.pop()


def _fingerprint(folders: Mapping[str, Path]) -> str:
    """A hash over the checksums of the weights of all stages but the trunk, which is no part of the model."""
    digest = hashlib.sha256()
    for name in sorted(set(folders) - TRUNK):
        files = read_document(folders[name] / "DONE.json")["files"]
        weights = {file: facts["sha256"] for file, facts in files.items() if file.endswith((_WEIGHTS, ".json"))}
        own = {file: value for file, value in weights.items() if file.endswith(_WEIGHTS)} or weights
        digest.update(json.dumps([name, own], sort_keys=True).encode())
    return digest.hexdigest()[:16]
