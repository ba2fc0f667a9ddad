"""Released checkpoints as files: where they lie, which of them count, and what they hold, by hash.

A checkpoint is a folder, or the name of a repository on the Hugging Face hub, which is fetched into the hub's own cache
and then is a folder, too. Weights are read from safetensors only: a pickle runs code when it is loaded.

Nothing here imports torch: plans hash these files, so that other weights under the same path are another result.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lavit.errors import LavitError

HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
#: Small files that say how weights are to be used; whichever of them there are count.
DESCRIPTIONS = ("*.json", "merges.txt", "vocab.txt", "tokenizer.model", "spiece.model")
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
LARGE = 2**20  # bytes from which a hash is remembered
CHUNK = 2**24


def find_checkpoint(key: str, path: Any, revision: str | None = None, weights: bool = True) -> Path:
    """The folder of a checkpoint.

    Args:
        key: of the config that names it, for messages, as ``language.path``.
        path: a folder, or a repository of the hub.
        revision: branch, tag or commit of a repository.
        weights: False fetches the small files of a repository alone.

    Raises:
        LavitError: nothing is named, there is no such folder, or the repository cannot be had.
    """
    if not path:
        raise LavitError(
            f"{key} is not set", f"set {key}=DIR, a folder with config.json and safetensors, or a name of the hub"
        )
    folder = Path(str(path)).expanduser()
    if folder.is_dir():
        if revision:
            raise LavitError(f"{key}={path} is a folder, which has no revision {revision}", "leave the revision out")
        return folder.resolve()
    if not HUB_NAME.fullmatch(str(path)) or str(path).startswith("."):
        raise LavitError(f"{key}={path}: there is no such folder", "name a folder, or a repository as owner/name")
    return _fetch(key, str(path), revision, weights)


def _fetch(key: str, name: str, revision: str | None, weights: bool) -> Path:
    """A repository of the hub in the hub's cache; the cache alone is looked at where HF_HUB_OFFLINE is set."""
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    offline = bool(constants.HF_HUB_OFFLINE)
    wanted = [*DESCRIPTIONS, "*.safetensors"] if weights else list(DESCRIPTIONS)
    try:
        found = snapshot_download(
            name,
            revision=revision,
            allow_patterns=wanted,
            ignore_patterns=["*/*", "consolidated*"],
            local_files_only=offline,
        )
    except (OSError, ValueError, HfHubHTTPError) as error:
        if offline:
            raise LavitError(
                f"{key}={name} is no folder here, and not in the hub's cache ({constants.HF_HUB_CACHE}), which is all "
                "that is looked at while HF_HUB_OFFLINE is set",
                f"unset HF_HUB_OFFLINE; or fetch it where there is a network (hf download {name}) and name its folder",
            ) from error
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise LavitError(
            f"{key}={name} is no folder here, and the hub does not give it: {reason}",
            f"check the name (and the access that it asks for), or fetch it elsewhere and set {key}=DIR",
        ) from error
    return Path(found)


def read_config(key: str, folder: Path) -> dict[str, Any]:
    """The ``config.json`` of a checkpoint.

    Raises:
        LavitError: there is none, or it is no JSON object.
    """
    file = folder / "config.json"
    if not file.is_file():
        raise LavitError(
            f"{key}={folder}: there is no config.json in it", "name the folder that transformers' save_pretrained wrote"
        )
    try:
        content = json.loads(file.read_text())
    except ValueError as error:
        raise LavitError(f"{file} is not JSON: {error}", "fetch the checkpoint again") from error
    if not isinstance(content, dict):
        raise LavitError(f"{file} holds no settings", "fetch the checkpoint again")
    return content


def weight_files(key: str, folder: Path) -> list[Path]:
    """The safetensors files of a checkpoint: those of its index, or its only one.

    Raises:
        LavitError: there is none (pickles are named, and refused), one of the index is missing, or there are several
            without an index.
    """
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        if gone := [name for name in names if not (folder / name).is_file()]:
            raise LavitError(
                f"{key}={folder}: {index.name} names files that are not there: {', '.join(gone)}",
                "fetch the checkpoint again",
            )
        return [folder / name for name in names]
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    found = sorted(folder.glob("*.safetensors"))
    if len(found) == 1:
        return found
    if found:
        raise LavitError(
            f"{key}={folder}: there are {len(found)} safetensors files and no {index.name}: "
            + ", ".join(file.name for file in found),
            "leave the one that counts, or name it model.safetensors",
        )
    if pickles := sorted(file.name for file in folder.iterdir() if file.suffix in PICKLES):
        raise LavitError(
            f"{key}={folder}: the weights are pickles ({', '.join(pickles)}), which run code when they are loaded",
            "use a release with safetensors, or, if you trust the file, load it with transformers once and write it "
            "with save_pretrained",
        )
    raise LavitError(f"{key}={folder}: there are no weights (*.safetensors) in it", "fetch the checkpoint again")


def inventory(key: str, folder: Path) -> dict[str, dict[str, Any]]:
    """File -> ``bytes`` and ``sha256``, of all files of a checkpoint that count."""
    described = {file for pattern in DESCRIPTIONS for file in folder.glob(pattern) if file.is_file()}
    files = sorted({*described, *weight_files(key, folder)})
    return {file.name: {"bytes": file.stat().st_size, "sha256": sha256_of(file)} for file in files}


def fingerprint(key: str, node: Mapping[str, Any]) -> str:
    """What a stage's key must hold beside a config that names a checkpoint; "" for one that names none.

    Of a folder, the names and hashes of its files; of a repository of the hub, its commit, which is as good: its
    weights are fetched by the stage, not by the plan.

    Raises:
        LavitError: see :func:`find_checkpoint` and :func:`weight_files`.
    """
    if "path" not in node:
        return ""
    folder = find_checkpoint(key, node["path"], node.get("revision"), weights=False)
    if commit := commit_of(folder):
        return commit
    lines = [f"{name} {entry['sha256']}" for name, entry in inventory(key, folder).items()]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def commit_of(folder: Path) -> str | None:
    """The commit of a folder in the hub's cache; None for any other folder."""
    found = re.fullmatch(r"[0-9a-f]{40}", folder.name)
    return folder.name if found and folder.parent.name == "snapshots" else None


def sha256_of(file: Path) -> str:
    """SHA-256 of a file; that of a large one is remembered until its size or one of its times changes."""
    stat = file.stat()
    if stat.st_size < LARGE:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    state = f"{file.resolve()}|{stat.st_ino}|{stat.st_size}|{stat.st_mtime_ns}|{stat.st_ctime_ns}"
    known = _cache() / hashlib.sha256(state.encode()).hexdigest()
    if known.is_file():
        return known.read_text()
    digest = hashlib.sha256()
    with open(file, "rb") as content:
        while part := content.read(CHUNK):
            digest.update(part)
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time, no result
        known.parent.mkdir(parents=True, exist_ok=True)
        partial = known.with_suffix(f".{os.getpid()}")
        partial.write_text(digest.hexdigest())
        partial.replace(known)
    return digest.hexdigest()


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "lavit-lab" / "sha256"
