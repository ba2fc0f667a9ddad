"""Which state of the code each run was made at, and whether one study mixes several."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

MOST = 4


def commits_of(git: Any) -> tuple[str, ...]:
    """The commits that a run names, `+` after one with uncommitted changes: one state, or one a stage."""
    if isinstance(git, str):
        return (git,) if git else ()
    if isinstance(git, (list, tuple)):
        return tuple(dict.fromkeys(commit for state in git for commit in commits_of(state)))
    if not isinstance(git, Mapping):
        return ()
    if "commit" in git:
        commit = str(git.get("commit") or "")
        return (commit + ("+" if git.get("dirty") else ""),) if commit else ()
    return tuple(dict.fromkeys(commit for state in git.values() for commit in commits_of(state)))


def by_commit(runs: pd.DataFrame) -> dict[str, list[str]]:
    """Commit -> the finished runs with a stage that was made at it."""
    found: dict[str, list[str]] = {}
    for run in runs[runs["status"] == "done"].itertuples(index=False):
        for commit in commits_of(run.git):
            found.setdefault(commit, []).append(f"{run.arm} seed {run.seed}")
    return found


def spell(commit: str) -> str:
    """`0a1b2c3d` or `0a1b2c3d with uncommitted changes`."""
    return commit.rstrip("+")[:8] + (" with uncommitted changes" if commit.endswith("+") else "")


def mixed_commits(runs: pd.DataFrame) -> list[str]:
    """A sentence where the runs of a study come from several states of the code; none where from one, or unknown."""
    found = by_commit(runs)
    if len(found) < 2:
        return []
    parts = []
    for commit, names in list(found.items())[:MOST]:
        named = names[0] if len(names) == 1 else f"{len(names)} runs ({names[0]}, ...)"
        parts.append(f"{spell(commit)}: {named}")
    rest = f"; and {len(found) - MOST} more" if len(found) > MOST else ""
    return [
        f"The runs were made at {len(found)} states of the code ({'; '.join(parts)}{rest}): a difference between arms "
        "may be one between commits. Run what is older again, or show that the commits change nothing."
    ]
