"""From a run as a person names it (study, arm and seed, or a file in the study's folder) to its place in the store."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.errors import LavitError
from experiments.slugs import slugify
from experiments.store import DONE, read_json

STAGES = ("evaluate", "cooldown")  # either leads to all the stages of an arm; the first says which pixel decoder is its


def find_run(path: Path, arm: str | None = None, seed: int | None = None) -> tuple[Path, str] | None:
    """The folder in the store, and the name, of a run that is told by a place in its study's folder.

    Args:
        path: ``runs/STUDY``, ``runs/STUDY/records/ARM-s0.parquet`` or ``runs/STUDY/samples/ARM/s0``.
        arm: which arm, where the path does not say it.
        seed: which seed; may be left out where an arm has one alone.

    Returns:
        None where the path is no part of a study.

    Raises:
        LavitError: there is no such run, several fit, or it is not finished.
    """
    study = next((at for at in (path, *path.absolute().parents[:3]) if (at / "runs.json").is_file()), None)
    if study is None:
        return None
    runs = (read_json(study / "runs.json") or {}).get("runs", [])
    inside = path.absolute().relative_to(study.absolute()).as_posix()
    if inside != ".":
        fits = [run for run in runs if inside in _places(run)]
    else:
        fits = [run for run in runs if arm in (None, run["arm"], slugify(run["arm"])) and seed in (None, run["seed"])]
    if len(fits) != 1:
        listed = ", ".join(sorted({f"{run['arm']} (seed {run['seed']})" for run in (fits or runs)}))
        asked = " ".join(f"{k}={v}" for k, v in (("arm", arm), ("seed", seed)) if v is not None) or inside
        problem = f"there is no run '{asked}'" if not fits else "which run?"
        raise LavitError(f"checkpoint={path}: {problem}", f"Write arm=ARM seed=N. There is: {listed or 'none'}.")
    (run,) = fits
    keys = run["stage_keys"]
    if not any(stage in keys for stage in STAGES):
        raise LavitError(f"checkpoint={path}: the study stops before there is an arm to evaluate.")
    store = study.absolute().parent / "store"
    places = [store / stage / keys[stage] for stage in STAGES if stage in keys]
    folder = next((place for place in places if (place / DONE).is_file()), None)
    if folder is None:
        state = f"is {run['status']}" + (f" ({run['error']})" if run.get("error") else "")
        raise LavitError(f"checkpoint={path}: the run {run['name']} {state}: there is no {places[-1]}.", run["command"])
    return folder, f"{study.name}-{slugify(run['arm'])}-s{run['seed']}"


def _places(run: Mapping[str, Any]) -> set[str]:
    """The paths in a study's folder that belong to one run alone."""
    slug, seed = slugify(run["arm"]), run["seed"]
    return {f"records/{slug}-s{seed}.parquet", f"samples/{slug}/s{seed}"}
