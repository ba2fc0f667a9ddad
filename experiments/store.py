"""The store: one folder per finished stage, addressed by content; done means a DONE.json that matches what lies there.

Layout: ``<runs>/store/<stage>/<key>/`` holds what the stage wrote, and beside it the engine's own files:
``request.yaml`` (what was asked), ``LEASE.json`` (who works on it), ``progress.json`` (how far it is), ``log.txt``
(what it printed), ``FAILED.json`` (how the last attempt ended, if badly), ``environment.json`` (on what it was made),
``reads.json`` (what it read of the config that it declares) and ``DONE.json``, which is written last.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from experiments.codeversion import record_version
from experiments.errors import LavitError

DONE = "DONE.json"
FAILED = "FAILED.json"
REQUEST = "request.yaml"
PROGRESS = "progress.json"
LEASE = "LEASE.json"
LOG = "log.txt"
TRACEBACK = "traceback.txt"
ATTEMPTS = "attempts.json"
RESUME = "resume"
ENVIRONMENT = "environment.json"
READS = "reads.json"
PRUNE = "PRUNE"  # asks the job that fills a folder to end: a search has seen enough of it
REQUEST_HEAD = "# What this folder was asked to hold: the stage, its seed, what it needs, all the config it may read.\n"
#: The engine's own files: not part of what a stage made, so never listed in DONE.json.
OWN = frozenset(
    {DONE, FAILED, REQUEST, PROGRESS, LEASE, LOG, TRACEBACK, ATTEMPTS, ".lock", RESUME, ENVIRONMENT, READS, PRUNE}
)


def write_atomic(path: Path, text: str) -> None:
    """Write ``text`` so that ``path`` holds either the old content or the whole new one, also after a power cut."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_json(path: Path) -> Any:
    """The content of a JSON file, or None where it does not exist or is cut off (it may be being written)."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError, UnicodeDecodeError):
        return None


def sha256(path: Path) -> str:
    """Hex digest of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@dataclass(frozen=True)
class Request:
    """All that a job needs to know, as read from its ``request.yaml``: nothing is composed again inside a job.

    Attributes:
        stage, key: what is to be made.
        run: dotted path of the stage function.
        seed: the stage's seed (0 where it is not seeded).
        config: the subtrees that the stage may read, as plain data.
        needs: key of each stage that this one needs.
        devices: processes that train it together.
        reads: the dotted config keys that the stage declares.
        store: where the inputs lie and the output goes; it follows from the file's own place.
    """

    stage: str
    key: str
    run: str
    seed: int
    config: dict[str, Any]
    needs: dict[str, str]
    reads: tuple[str, ...]
    store: Store
    devices: int = 1

    @property
    def folder(self) -> Path:
        """The stage's folder."""
        return self.store.folder(self.stage, self.key)

    @classmethod
    def read(cls, path: Path) -> Request:
        """Load a request file; one that is missing or is no request is refused by name."""
        path = path.absolute()
        try:
            body = yaml.safe_load(path.read_text(encoding="utf-8"))
            request = cls(
                stage=body["stage"],
                key=body["key"],
                run=body["run"],
                seed=int(body["seed"]),
                config=body["config"],
                needs=body["needs"],
                reads=tuple(body.get("reads") or body["config"]),
                store=Store(path.parents[3]),
                devices=int(body.get("devices", 1)),
            )
        except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, IndexError) as error:
            raise LavitError(
                f"{path} is not a readable request file ({type(error).__name__}: {error}).",
                "Remove its folder and run the study again: the request is written anew.",
            ) from error
        if request.folder != path.parent:
            raise LavitError(
                f"{path} asks for {request.stage}/{request.key}, but lies in the folder of another stage.",
                "Requests are written by `lavit run`; do not move them inside the store.",
            )
        return request


def _own(name: str) -> bool:
    return name in OWN or name.startswith(".")


class Store:
    """The folder of finished stages under a runs folder.

    Args:
        runs: the runs folder (``runs=DIR``); it need not exist yet.
    """

    def __init__(self, runs: str | os.PathLike[str]) -> None:
        self.runs = Path(runs).absolute()
        self.root = self.runs / "store"

    def prepare(self) -> None:
        """Make the folder and prove that it can be written to, before any work starts."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root) as file:
                file.write(b"lavit")
                file.flush()
        except OSError as error:
            raise LavitError(
                f"Cannot write to the store {self.root}: {error.strerror or error}.",
                "Everything that a study makes goes there. Free the disk or its permissions, or use runs=DIR.",
            ) from error

    def folder(self, stage: str, key: str) -> Path:
        """Where the stage of that key lies or will lie."""
        return self.root / stage / key

    def done(self, stage: str, key: str) -> dict[str, Any] | None:
        """The content of DONE.json where the stage is finished and every file has its size; otherwise None."""
        folder = self.folder(stage, key)
        body = read_json(folder / DONE)
        if not isinstance(body, dict) or body.get("key") != key:
            return None
        for name, facts in body["files"].items():
            try:
                if (folder / name).stat().st_size != facts["bytes"]:
                    return None
            except OSError:
                return None
        return body

    def is_done(self, stage: str, key: str) -> bool:
        """Whether the stage is finished: DONE.json is there and all files that it lists have their sizes."""
        return self.done(stage, key) is not None

    def verify(self, stage: str, key: str) -> list[str]:
        """What is wrong with a stage that claims to be done, by checksum; an empty list where nothing is."""
        folder = self.folder(stage, key)
        body = read_json(folder / DONE)
        if not isinstance(body, dict):
            return [f"{folder}: not finished (no readable {DONE})"]
        problems = []
        for name, facts in body["files"].items():
            path = folder / name
            if not path.is_file():
                problems.append(f"{path}: missing")
            elif path.stat().st_size != facts["bytes"]:
                problems.append(f"{path}: {path.stat().st_size} bytes instead of {facts['bytes']}")
            elif sha256(path) != facts["sha256"]:
                problems.append(f"{path}: content changed since it was finished")
        return problems

    def finish(self, stage: str, key: str, wall_s: float, cpu_s: float) -> dict[str, Any]:
        """Declare a stage done: checksums of all that it wrote, DONE.json last and whole."""
        folder = self.folder(stage, key)
        shutil.rmtree(folder / RESUME, ignore_errors=True)
        files = {
            path.relative_to(folder).as_posix(): {"sha256": sha256(path), "bytes": path.stat().st_size}
            for path in sorted(folder.rglob("*"))
            if path.is_file() and not _own(path.relative_to(folder).parts[0])
        }
        body = {
            "stage": stage,
            "key": key,
            "files": files,
            "wall_s": round(wall_s, 3),
            "cpu_s": round(cpu_s, 3),
            "finished": time.time(),
        }
        write_atomic(folder / DONE, json.dumps(body, indent=1))
        (folder / FAILED).unlink(missing_ok=True)
        return body

    def mark_used(self, stages: Iterable[tuple[str, str]]) -> None:
        """Note (as the time of DONE.json) that a launch builds on these finished stages: `lavit gc` goes by it."""
        for stage, key in stages:
            with suppress(FileNotFoundError, PermissionError):  # not finished, or another user's store
                os.utime(self.folder(stage, key) / DONE)

    def clear(self, stage: str, key: str) -> None:
        """Remove what an earlier, unfinished attempt left, except its ``resume/``, the curves that belong to it, and
        the engine's own notes."""
        folder = self.folder(stage, key)
        if not folder.is_dir():
            return
        keep = {RESUME, REQUEST, LEASE, LOG, ATTEMPTS, ".lock"}
        for path in folder.iterdir():
            # .lock may be held by somebody who waits for the lease, and another launch may be writing the same request.
            if path.name in keep or path.name.startswith(f".{REQUEST}."):
                continue
            if path.suffix == ".jsonl" and (folder / RESUME).is_dir():  # cut by who goes on from there
                continue
            if path.name.startswith(f".{REQUEST}."):  # another launch is writing the same request at this moment
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def write_request(self, body: Mapping[str, Any]) -> Path:
        """Put a request (``StageJob.request()``) where its stage will lie, and return the file's path."""
        folder = self.folder(body["stage"], body["key"])
        path = folder / REQUEST
        text = REQUEST_HEAD + yaml.safe_dump(dict(body), sort_keys=False, allow_unicode=True, width=110)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_atomic(path, text)
            if "code" in body:
                record_version(self.root, body["code"], body["run"], body["config"])
        except OSError as error:
            raise LavitError(
                f"Cannot write {path}: {error.strerror or error}.",
                "Free the disk or its permissions, or name another folder with runs=DIR.",
            ) from error
        return path

    def planned(self, stage: str, key: str) -> dict[str, Any]:
        """What the launch expected of a stage (``planned`` of its request); empty where nothing is written."""
        try:
            text = (self.folder(stage, key) / REQUEST).read_text(encoding="utf-8")
            body = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
            return dict(body.get("planned") or {})
        except (OSError, yaml.YAMLError, AttributeError):
            return {}

    def read(self, stage: str, key: str, name: str) -> Any:
        """A JSON file that the stage wrote (``metrics.json``, ``ledger.json``, ...), or None."""
        return read_json(self.folder(stage, key) / name)

    def failure(self, stage: str, key: str) -> dict[str, Any] | None:
        """How the last attempt failed, or None."""
        body = read_json(self.folder(stage, key) / FAILED)
        return body if isinstance(body, dict) else None

    def fail(self, stage: str, key: str, kind: str, message: str, traceback: str = "", where: str = "") -> None:
        """Note how an attempt failed (``where``: the place of the error), for the driver and whoever comes later."""
        folder = self.folder(stage, key)
        if traceback:
            write_atomic(folder / TRACEBACK, traceback)
        body = {
            "class": kind,
            "message": message,
            "traceback": TRACEBACK if traceback else None,
            "where": where,
            "time": time.time(),
        }
        write_atomic(folder / FAILED, json.dumps(body, indent=1))
