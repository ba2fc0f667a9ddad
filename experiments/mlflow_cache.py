"""What was fetched from MLflow, on disk: a finished run never changes, so its files are asked for once.

``<runs>/.cache/mlflow/<tracking server>/<experiment>/<run id>/<artifact folder>-<digest>/``. A folder appears whole or
not at all, once its files were found to be those that the run's tag ``lavit.files`` promises; what an interrupted
fetch left is removed by a later one.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from experiments.errors import LavitError
from experiments.store import sha256

PARTIAL = ".partial-"
ABANDONED_S = 3600.0  # a younger one may be another process at work

#: Where to -> the folder of the files there.
Download = Callable[[str], str]


class Cache:
    """The fetched artifact folders of one experiment of one tracking server."""

    def __init__(self, runs: Path, uri: str, experiment_id: str) -> None:
        parts = urlsplit(uri)
        place = f"{parts.scheme}://{parts.hostname or ''}:{parts.port or ''}{parts.path}"  # without user and password
        name = hashlib.sha256(place.encode()).hexdigest()[:12]
        self.root = runs / ".cache" / "mlflow" / name / experiment_id

    def path(self, run_id: str, part: str, files: Mapping[str, str]) -> Path:
        """Where an artifact folder with these files lies or will lie."""
        digest = hashlib.sha256(json.dumps(dict(files), sort_keys=True).encode()).hexdigest()[:16]
        return self.root / run_id / f"{part}-{digest}"

    def bring(self, run_id: str, part: str, files: Mapping[str, str], download: Download) -> Path:
        """Fetch an artifact folder and return where it lies.

        Args:
            run_id: of which run.
            part: the artifact folder.
            files: digest of each of its files, by ``part/name``.
            download: fetches the folder to a place.

        Raises:
            LavitError: a file is not the one that was logged.
        """
        target = self.path(run_id, part, files)
        if target.is_dir():
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=PARTIAL) as folder:
            got = Path(download(folder))
            whole = Path(folder) / "whole"
            whole.mkdir()
            for path, digest in files.items():
                source = got / Path(path).name
                if not source.is_file() or not sha256(source).startswith(digest):
                    raise LavitError(
                        f"artifact {path} of MLflow run {run_id} is {'not what' if source.is_file() else 'gone that'} "
                        "its run says was logged",
                        "delete the run in MLflow and `lavit sync` the study where it was trained",
                    )
                shutil.copyfile(source, whole / source.name)
            for old in target.parent.glob(f"{part}-*"):
                shutil.rmtree(old)  # of a study whose description has changed since
            try:
                whole.rename(target)
            except OSError:
                if not target.is_dir():  # another fetch was faster
                    raise
        return target

    def prune(self, wanted: Iterable[str]) -> None:
        """Forget runs that MLflow no longer has, and what an interrupted fetch left."""
        kept = set(wanted)
        for folder in self.root.glob("*"):
            if folder.name not in kept:
                shutil.rmtree(folder)
        for left in self.root.glob(f"*/{PARTIAL}*"):
            if time.time() - left.stat().st_mtime > ABANDONED_S:
                shutil.rmtree(left, ignore_errors=True)
