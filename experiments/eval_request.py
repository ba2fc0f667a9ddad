"""What `lavit eval` was asked: from its overrides to a checkpoint, a suite and data, before anything heavy is loaded.

An arm is evaluated as its study would: at its own scale, seed and data, unless the command line says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.errors import LavitError, did_you_mean
from experiments.find_run import find_run

if TYPE_CHECKING:
    from lavit.checkpoint import Checkpoint

OWN = ("checkpoint", "study", "arm", "seed")  # keys of the command line that are no keys of the config here


@dataclass(frozen=True)
class EvalRequest:
    """An evaluation that can be started.

    Attributes:
        checkpoint: what is evaluated.
        suite: the suite's resolved config node, cut down to what was asked for.
        suite_name: what its results are called: the suite's own name, and how many examples a trial run takes.
        data: the resolved config node of the corpus; None where a checkpoint has none and none was named.
        root: folder of the datasets.
        seed: of drawing.
        limit: at most so many examples of each benchmark; None outside of trial runs.
        runs: the runs folder.
    """

    checkpoint: Checkpoint
    suite: dict[str, Any]
    suite_name: str
    data: dict[str, Any] | None
    root: Path | None
    seed: int
    limit: int | None
    runs: Path

    @property
    def default_out(self) -> Path:
        """Where results go unless another folder is named."""
        return self.runs / "eval" / self.checkpoint.name / self.suite_name

    def identity(self) -> dict[str, Any]:
        """All that the results depend on, as plain data.

        Raises:
            lavit.errors.LavitError: files of the suite's datasets are missing; all of them are named.
        """
        from evals.files import files_fingerprint

        return {
            "checkpoint": self.checkpoint.name,
            "fingerprint": self.checkpoint.fingerprint,
            "suite": self.suite,
            "data": None if self.data is None else {k: v for k, v in self.data.items() if k != "root"},
            "files": files_fingerprint(self.suite, self.root),
            "seed": self.seed,
            "limit": self.limit,
        }


def read_request(
    overrides: Sequence[str],
    config_dir: Path | None = None,
    benchmarks: Sequence[str] = (),
    limit: int | None = None,
    device: str = "cpu",
) -> EvalRequest:
    """Put together what is evaluated on what.

    Args:
        overrides: ``checkpoint=DIR`` (or ``study=NAME arm=ARM seed=N``), ``suite=NAME``, overrides of the config, and
            ``checkpoint.KEY=VALUE`` for settings of imported weights.
        config_dir: another config folder than the one that ships with the packages.
        benchmarks: names of the suite's benchmarks to run; all where empty.
        limit: at most so many examples of each.
        device: where the model goes.

    Raises:
        LavitError: a mistake in any of these.
    """
    from lavit.checkpoint import open_checkpoint

    own, options, further = _split(overrides)
    runs = Path(next((o.partition("=")[2] for o in further if o.startswith("runs=")), "runs"))
    path, name = _place(own, runs)
    checkpoint = open_checkpoint(path, device, options, name)
    composer, config = _compose(further, checkpoint.scale, config_dir)
    if not any(o.startswith("suite=") for o in further):
        raise LavitError("which suite? Write suite=NAME", f"there is: {', '.join(composer.options('suite'))}")
    suite = _cut(config["suite"], benchmarks, limit)
    data = _data(config["data"], further, checkpoint)
    root = config["data"].get("root")
    suite_name = str(suite["name"]) + (f"-limit{limit}" if limit is not None else "")
    seed = int(own["seed"]) if "seed" in own and "study" not in own else checkpoint.seed
    folder = Path(root).expanduser() if root else None
    return EvalRequest(checkpoint, suite, suite_name, data, folder, seed, limit, runs)


def _split(overrides: Sequence[str]) -> tuple[dict[str, str], dict[str, Any], list[str]]:
    """The command's own keys, settings of imported weights, and what is for the config."""
    import yaml

    own: dict[str, str] = {}
    options: dict[str, Any] = {}
    further = []
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise LavitError(f"'{override}' is not KEY=VALUE", "checkpoint=DIR suite=NAME; `lavit eval --help`")
        if key in OWN:
            own[key] = value
        elif key.startswith("checkpoint."):
            options[key.removeprefix("checkpoint.")] = yaml.safe_load(value)
        else:
            further.append(override)
    if "seed" in own and not own["seed"].isdecimal():
        raise LavitError(f"seed={own['seed']} is not a whole number")
    return own, options, further


def _place(own: Mapping[str, str], runs: Path) -> tuple[Path, str | None]:
    """Folder of the checkpoint, and its name where it is a run of a study."""
    if ("checkpoint" in own) == ("study" in own):
        raise LavitError(
            "which checkpoint? Write checkpoint=DIR, or study=NAME arm=ARM seed=N",
            "DIR: an arm in the store (runs/store/cooldown/KEY) or what `lavit import-official` wrote",
        )
    path = Path(own["checkpoint"]).expanduser() if "checkpoint" in own else runs / own["study"]
    if "study" in own and not (path / "runs.json").is_file():
        raise LavitError(f"study={own['study']}: there is no {path / 'runs.json'}", f"lavit run study={own['study']}")
    seed = int(own["seed"]) if "seed" in own else None
    found = find_run(path, own.get("arm"), seed)
    if found is None and "arm" in own:
        raise LavitError(f"checkpoint={path} is no study's folder, so arm={own['arm']} means nothing")
    return found or (path, None)


def _compose(further: list[str], scale: str | None, config_dir: Path | None) -> tuple[Any, dict[str, Any]]:
    from experiments.compose import Composer, resolve

    composer = Composer(config_dir)
    named = any(o.startswith("scale=") for o in further)
    scaled = [f"scale={scale}"] if scale is not None and not named and scale in composer.options("scale") else []
    return composer, resolve(composer.compose([*scaled, *further]))


def _data(composed: dict[str, Any], further: list[str], checkpoint: Checkpoint) -> dict[str, Any] | None:
    """The corpus: the one that is named, else the checkpoint's own."""
    keys = {o.lstrip("+~").partition("=")[0] for o in further}
    settings = sorted(key for key in keys if key.startswith("data.") and key != "data.root")
    if "data" not in keys:
        if settings:
            raise LavitError(
                f"{settings[0]}: of which corpus?", "write data=NAME too; without it the arm's own is taken"
            )
        return checkpoint.corpus
    if checkpoint.kind == "official" and "images" in composed and "data.image_size" not in keys:
        return composed | {"image_size": checkpoint.image_size}
    return composed


def _cut(suite: Mapping[str, Any], wanted: Sequence[str], limit: int | None) -> dict[str, Any]:
    """The suite with the wanted benchmarks alone, and no more than ``limit`` examples of each."""
    entries = {name: entry for name, entry in (suite.get("benchmarks") or {}).items() if entry is not None}
    for name in wanted:
        if name not in entries:
            raise LavitError(f"--benchmarks {name}: the suite {suite['name']} has none", did_you_mean(name, entries))
    entries = {name: dict(entry) for name, entry in entries.items() if not wanted or name in wanted}
    if limit is not None:
        if limit < 2:
            raise LavitError(f"--limit {limit} is too few", "a shuffled control needs two examples at least")
        for entry in entries.values():
            entry["count"] = limit if entry.get("count") is None else min(limit, entry["count"])
            controls = entry.get("controls") or {}
            if controls:
                entry["controls"] = {k: limit if n is None else min(limit, n) for k, n in controls.items()}
    return {**suite, "benchmarks": entries}
