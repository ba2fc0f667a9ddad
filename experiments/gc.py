"""What the store holds and no study needs: found, listed, and removed one folder at a time under its lease.

Needed is what any study folder names (``runs.json``, a frozen plan, ``rejudged/``), what the caller plans, what
somebody works on, what was made or used lately, and all that these need in turn.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.differences import read_request
from experiments.lease import Lease, LeaseHeld, holder
from experiments.store import DONE, LEASE, REQUEST, Store, read_json

Identity = tuple[str, str]  # (stage, key)
DAY_S = 86400.0


@dataclass(frozen=True)
class Garbage:
    """A folder that nothing needs.

    Attributes:
        bytes: what removing it frees.
        age_s: seconds since it was made or last used.
        why: why it is not needed.
    """

    stage: str
    key: str
    bytes: int
    age_s: float
    why: str


@dataclass
class Survey:
    """What a look at the store found.

    Attributes:
        garbage: what may go, the largest first.
        young: folders that no study names, kept because they are younger than was asked.
        busy: folders that somebody works on.
        kept: all others.
    """

    garbage: list[Garbage]
    young: list[Identity]
    busy: list[Identity]
    kept: list[Identity]

    @property
    def bytes(self) -> int:
        """What removing all of it frees."""
        return sum(item.bytes for item in self.garbage)


def survey(store: Store, planned: Iterable[Identity] = (), older_than_s: float = 7 * DAY_S) -> Survey:
    """Look through the store; nothing is changed.

    Args:
        store: the store.
        planned: stages that the caller needs besides those that the study folders name.
        older_than_s: how long ago a stage that no study names was last used for it to count as not needed.
    """
    folders = {(path.parent.name, path.name): path for path in _stage_folders(store)}
    named = {*planned, *named_by_studies(store.runs)}
    busy = [identity for identity, path in folders.items() if holder(path) is not None]
    ages = {identity: age_s(path) for identity, path in folders.items()}
    loose = [identity for identity in folders if identity not in named and identity not in busy]
    young = {identity for identity in loose if ages[identity] < older_than_s}
    needed = _with_needs(store, {*named, *busy, *young})
    garbage = [_garbage(store, identity, ages[identity]) for identity in loose if identity not in needed]
    return Survey(
        sorted(garbage, key=lambda item: (-item.bytes, item.stage, item.key)),
        sorted(young),
        sorted(busy),
        sorted(set(folders) & needed - young - set(busy)),
    )


def _stage_folders(store: Store) -> Iterator[Path]:
    """Folders of stages, finished or not; ``counts/`` and ``code/`` hold none."""
    for path in sorted(store.root.glob("*/*")):
        if path.is_dir() and any((path / name).exists() for name in (REQUEST, DONE, LEASE)):
            yield path


def age_s(folder: Path) -> float:
    """Seconds since a stage was made or last used by a launch; of an unfinished one, since anything was written."""
    done = folder / DONE
    try:
        if done.exists():
            return time.time() - done.stat().st_mtime
        return time.time() - max(path.stat().st_mtime for path in [folder, *folder.rglob("*")])
    except FileNotFoundError:  # somebody is at work in it at this moment
        return 0.0


def named_by_studies(runs: Path) -> set[Identity]:
    """Every stage that a study folder under ``runs`` names."""
    found: set[Identity] = set()
    for path in sorted(runs.glob("*/*.json")):
        if path.parent.name != "store":
            found |= set(_identities(read_json(path)))
    for path in runs.glob("*/rejudged/*/*/judged.json"):
        found |= set((read_json(path) or {}).items())
    return found


def _identities(body: Any) -> Iterator[Identity]:
    """The stages of a ``runs.json`` or of a plan as JSON, wherever in it they stand."""
    if not isinstance(body, dict):
        return
    for run in body.get("runs") or []:
        if isinstance(run, dict):
            yield from (run.get("stage_keys") or {}).items()
    for job in body.get("jobs") or []:
        if isinstance(job, dict) and {"stage", "key"} <= job.keys():
            yield job["stage"], job["key"]
    arms = body.get("arms")
    for arm in arms.values() if isinstance(arms, dict) else []:  # of a frozen plan
        for keys in (arm.get("keys") or {}).values() if isinstance(arm, dict) else []:
            yield from keys.items()
    yield from _identities(body.get("plan"))


def _with_needs(store: Store, wanted: set[Identity]) -> set[Identity]:
    """These stages and all that they need, directly or not, as their requests say."""
    found: set[Identity] = set()
    waiting = list(wanted)
    while waiting:
        identity = waiting.pop()
        if identity not in found:
            found.add(identity)
            waiting += (read_request(store, *identity) or {"needs": {}})["needs"].items()
    return found


def _garbage(store: Store, identity: Identity, age: float) -> Garbage:
    folder = store.folder(*identity)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    failure = store.failure(*identity)
    if (folder / DONE).exists():
        why = "no study names it"
    else:
        why = f"failed ({failure.get('class')}) and" if failure else "unfinished and"
        why += " no study names it"
    return Garbage(*identity, size, age, why)


def remove(store: Store, item: Garbage, older_than_s: float = 0.0) -> bool:
    """Remove one folder; False where somebody took it up since the survey.

    The lease comes first, so that nobody begins to work on it; DONE.json goes before anything else, so that what an
    interrupted removal leaves does not count as finished.
    """
    folder = store.folder(item.stage, item.key)
    lease = Lease(folder)
    try:
        lease.acquire()
    except (LeaseHeld, FileNotFoundError):
        return False
    try:
        if (folder / DONE).exists() and age_s(folder) < older_than_s:  # used by a launch in the meantime
            return False
        (folder / DONE).unlink(missing_ok=True)
        for path in folder.iterdir():
            if path.name in (LEASE, ".lock"):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
    finally:
        lease.release()
    with suppress(OSError):  # taken up again in this moment: it is no longer ours to remove
        folder.joinpath(".lock").unlink(missing_ok=True)
        folder.rmdir()
    return True
