"""From MLflow to a study folder: what ``collect`` writes from the store, on a machine that has no store.

The study's own run in MLflow lists its runs by key; those that are there are fetched (``experiments/mlflow_cache.py``
keeps them), those that were deleted there are gone. The folder has the files of a collected one, byte by byte.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.collect import dump
from experiments.errors import LavitError
from experiments.mlflow_cache import Cache
from experiments.run_results import PICTURES, curves_table, write_parquet
from experiments.store import Store, write_atomic
from experiments.tracked_results import FILES, IMAGES, LAYOUT, RECORDS, STUDY
from experiments.tracking_server import database, open_client

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as TrackedRun

THREADS = 8  # downloads at a time: most of each is waiting
SAY_S = 2.0  # between two lines of progress


@dataclass(frozen=True)
class Fetched:
    """What a fetch came to.

    Attributes:
        folder: the study folder.
        uri: where from.
        keys: ``lavit.run_key`` of every run that is in the folder with results.
        runs: how many those are.
        new: how many of them were not in the cache.
    """

    folder: Path
    uri: str
    keys: frozenset[str]
    runs: int
    new: int


def fetch(study: str, runs_dir: Path, uri: str) -> Fetched:
    """Write ``<runs_dir>/<study>/`` from what MLflow has.

    Args:
        study: name of the study, which is its experiment's.
        runs_dir: under which its folder and the cache lie.
        uri: the tracking server or database.

    Raises:
        LavitError: the server is away or refuses, or it has no such study, or one that an older version synced.
    """
    if uri == database(runs_dir) and not (runs_dir / "mlflow.db").is_file():
        raise LavitError(
            f"there is no MLflow database in {runs_dir}",
            "name the server that the study was tracked on: tracking.uri=http://HOST:PORT",
        )
    with _told(uri):
        client = open_client(runs_dir, uri, patient=True)
        experiment_id = _experiment(client, study, uri)
        tracked = list(_search(client, experiment_id, study))
        own = [run for run in tracked if run.data.tags.get("lavit.kind") == STUDY and FILES in run.data.tags]
        if not own:
            raise LavitError(
                f"MLflow at {uri} has the study '{study}' without what a report needs",
                f"where it was trained: `lavit sync study={study} tracking.uri={uri}`",
            )
        document = max(own, key=lambda run: run.info.start_time)
        cache = Cache(runs_dir, uri, experiment_id)
        runs = {run.data.tags["lavit.run_key"]: run for run in tracked if _complete(run)}
        study_folder = _bring(cache, uri, document, STUDY)
        assert study_folder is not None
        header = json.loads((study_folder / "runs.json").read_text(encoding="utf-8"))
        wanted = [runs[listed["run_key"]] for listed in header["runs"] if listed["run_key"] in runs]
        new = _bring_all(cache, uri, wanted)
        images = _bring(cache, uri, document, IMAGES)
        cache.prune(run.info.run_id for run in tracked)
    folder = runs_dir / study
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(study_folder / "study.yaml", folder / "study.yaml")
    sources = {
        run.data.tags["lavit.run_key"]: cache.path(run.info.run_id, RECORDS, _files(run, RECORDS)) for run in wanted
    }
    _write(folder, header, sources, {key: str(run.info.run_id) for key, run in runs.items()}, images)
    noted = {f"{run.data.tags['lavit.arm']}|{run.data.tags['lavit.seed']}": str(run.info.run_id) for run in wanted}
    where = {"tracking_uri": uri, "experiment_id": experiment_id, "study_run": str(document.info.run_id), "runs": noted}
    write_atomic(folder / "mlflow.json", json.dumps(where, indent=1, ensure_ascii=False))
    return Fetched(folder, uri, frozenset(sources), len(wanted), new)


@contextmanager
def _told(uri: str) -> Iterator[None]:
    """Errors of MLflow as one line that names the server."""
    try:
        yield
    except LavitError:
        raise
    except Exception as error:
        if not type(error).__module__.startswith(("mlflow", "requests", "sqlalchemy", "urllib3")):
            raise
        line = next(iter(str(error).strip().splitlines()), "")[:300]
        raise LavitError(
            f"MLflow at {uri} did not give the study: {type(error).__name__}: {line}",
            "is it this server (tracking.uri), and may you read there (MLFLOW_TRACKING_USERNAME, "
            "MLFLOW_TRACKING_PASSWORD or MLFLOW_TRACKING_TOKEN)?",
        ) from error


def _experiment(client: MlflowClient, study: str, uri: str) -> str:
    found = client.get_experiment_by_name(study)
    if found is not None and found.lifecycle_stage != "deleted":
        return str(found.experiment_id)
    names = ", ".join(sorted(e.name for e in client.search_experiments() if e.name != "Default")) or "none"
    raise LavitError(f"MLflow at {uri} has no study '{study}'", f"there is: {names}")


def _search(client: MlflowClient, experiment_id: str, study: str) -> Iterator[TrackedRun]:
    """Every run of a study, its own included; deleted ones are not found."""
    token = None
    while True:
        page = client.search_runs(
            [experiment_id], f"tags.`lavit.study` = '{study}'", max_results=1000, page_token=token
        )
        yield from page
        token = page.token
        if not token:
            return


def _complete(run: TrackedRun) -> bool:
    """Whether a run was written to its end; one that is being written is found by a later fetch."""
    tags = run.data.tags
    return tags.get("lavit.kind") == "run" and tags.get("lavit.layout") == LAYOUT and "lavit.synced" in tags


def _files(run: TrackedRun, part: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(run.data.tags[FILES])
    return {path: digest for path, digest in found.items() if path.startswith(f"{part}/")}


def _bring(cache: Cache, uri: str, run: TrackedRun, part: str) -> Path | None:
    """An artifact folder of a run; None where the run has no such thing."""
    from mlflow import artifacts

    def download(target: str) -> str:
        # by its address, which the search told: by run id, MLflow would look every run up once more
        place = f"{run.info.artifact_uri}/{part}"
        return str(artifacts.download_artifacts(artifact_uri=place, dst_path=target, tracking_uri=uri))

    files = _files(run, part)
    return cache.bring(run.info.run_id, part, files, download) if files else None


def _bring_all(cache: Cache, uri: str, runs: list[TrackedRun]) -> int:
    """Fetch what the cache does not have, several at a time, and return how many runs that were."""
    missing = [run for run in runs if not cache.path(run.info.run_id, RECORDS, _files(run, RECORDS)).is_dir()]
    said = time.monotonic()
    with ThreadPoolExecutor(THREADS) as pool:
        waiting = [pool.submit(_bring, cache, uri, run, RECORDS) for run in missing]
        try:
            for number, done in enumerate(as_completed(waiting), 1):
                done.result()
                if time.monotonic() - said > SAY_S:
                    said = time.monotonic()
                    print(f"fetched {number} of {len(missing)} runs from {uri}", file=sys.stderr, flush=True)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return len(missing)


def _write(
    folder: Path, header: dict[str, Any], sources: dict[str, Path], ids: dict[str, str], images: Path | None
) -> None:
    """Records, pictures, curves and ``runs.json`` of a study folder; what is of no run any more goes."""
    import pyarrow as arrow
    from pyarrow import parquet

    wanted: set[Path] = set()
    entries, curves = [], []
    for part in ("records", "samples", "images"):
        (folder / part).mkdir(exist_ok=True)
    for listed in header.pop("runs"):
        if (source := sources.get(listed["run_key"])) is None:
            if "entry" in listed:
                entries.append(listed["entry"])
            continue
        entry = json.loads((source / "run.json").read_text(encoding="utf-8"))
        entries.append(entry | {"mlflow_run_id": ids[listed["run_key"]]})
        name = f"{listed['slug']}-s{listed['seed']}"
        if (source / f"{name}.parquet").is_file():
            wanted.add(_put(folder / "records" / f"{name}.parquet", (source / f"{name}.parquet").read_bytes()))
        if (source / "curves.parquet").is_file():
            curves.append(parquet.read_table(source / "curves.parquet"))
        wanted |= _unzip(source / "samples.zip", folder / "samples" / listed["slug"] / f"s{listed['seed']}")
    if images is not None:
        wanted |= _unzip(images / "images.zip", folder / "images")
    for part in ("records", "samples", "images"):
        for path in sorted((folder / part).rglob("*"), reverse=True):
            if path.is_file() and path not in wanted:
                path.unlink()
            elif path.is_dir() and not any(path.iterdir()):
                path.rmdir()
    curves = curves or [curves_table(Store(folder.parent), [])]
    write_parquet(arrow.concat_tables(curves).combine_chunks(), folder / "curves.parquet")
    write_atomic(folder / "runs.json", dump({**header, "runs": entries}))


def _unzip(archive: Path, folder: Path) -> set[Path]:
    """The pictures of an archive as files of a folder; only their names count, wherever the archive puts them."""
    if not archive.is_file():
        return set()
    made = set()
    with zipfile.ZipFile(archive) as opened:
        for name in opened.namelist():
            if Path(name).suffix in PICTURES:
                folder.mkdir(parents=True, exist_ok=True)
                made.add(_put(folder / Path(name).name, opened.read(name)))
    return made


def _put(path: Path, content: bytes) -> Path:
    """Write a file whole, unless it holds that already."""
    if not path.is_file() or path.read_bytes() != content:
        temporary = path.with_name(f".{path.name}.new")
        temporary.write_bytes(content)
        temporary.replace(path)
    return path
