"""From a command line to the plan of the study that it names."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.errors import LavitError

if TYPE_CHECKING:
    from experiments.plan import Plan


def config_dir(arguments: argparse.Namespace) -> Path | None:
    """The folder of ``--conf``, proven to exist; None for the one that ships with the packages."""
    if arguments.conf is None:
        return None
    path = Path(arguments.conf).absolute()
    if not (path / "config.yaml").is_file():
        raise LavitError(f"--conf {arguments.conf}: there is no config.yaml in {path}", "name a Hydra config folder")
    return path


def split(overrides: list[str]) -> tuple[list[str], list[str]]:
    """Overrides for the study, and those for Hydra itself (``hydra/launcher=joblib``, ``hydra.launcher.n_jobs=4``)."""
    hydra = [o for o in overrides if o.lstrip("+~").startswith(("hydra/", "hydra."))]
    return [o for o in overrides if o not in hydra], hydra


def studies(folder: Path) -> list[str]:
    """Names of the studies in a config folder."""
    return sorted(path.stem for path in (folder / "study").glob("*.yaml") if not path.stem.startswith("_"))


def require_study(overrides: list[str], folder: Path | None) -> None:
    """Refuse a command line that names no study, with the list of what there is."""
    if not any(override.startswith("study=") for override in overrides):
        from experiments.compose import config_folder

        names = studies(folder or config_folder())
        raise LavitError("which study? Write study=NAME", f"there is: {', '.join(names) or 'none yet'} (conf/study/)")


def planned(arguments: argparse.Namespace, count: bool = True, probe: bool = False) -> Plan:
    """The plan of the study that a command line names."""
    from experiments.plan import make_plan

    folder = config_dir(arguments)
    require_study(arguments.overrides, folder)
    return make_plan(arguments.overrides, config_dir=folder, count=count, probe=probe)
