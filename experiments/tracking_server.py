"""Which MLflow a study is tracked by, and a client on it: a database under the runs folder, or a server elsewhere.

A server may be away. It is asked whether it is there before anything is sent, and is not waited for: what it misses is
in the store, and `lavit sync` sends it.
"""

from __future__ import annotations

import logging
import os
import socket
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from experiments.errors import LavitError
from experiments.plan import Plan

if TYPE_CHECKING:
    from mlflow import MlflowClient

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "GIT_PYTHON_REFRESH": "quiet",
}
#: MLflow's own settings are two minutes and seven tries a request: a study's end would wait for hours.
IMPATIENT = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "5", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
CONNECT_S = 3.0


def database(runs: Path) -> str:
    """The URI of the database under a runs folder: always absolute (a relative one would depend on who opens it)."""
    return f"sqlite:///{(runs / 'mlflow.db').absolute()}"


def tracking_uri(plan: Plan) -> str:
    """Where a plan's runs are tracked: ``tracking.uri`` of its config, or the database under its runs folder."""
    node = plan.runs[0].config.get("tracking") if plan.runs else None
    return configured_uri(node, plan.runs_dir)


def configured_uri(node: object, runs: Path) -> str:
    """The URI that the config's ``tracking`` node asks for; without one, the database under ``runs``."""
    uri = node.get("uri") if isinstance(node, dict) else None
    return str(uri) if uri else database(runs)


def is_remote(uri: str) -> bool:
    """Whether the URI is a server's, reached over the network and with artifacts of its own."""
    return urlsplit(uri).scheme in ("http", "https")


def require_reachable(uri: str) -> None:
    """Refuse a server that does not answer within :data:`CONNECT_S`, before MLflow is even imported.

    Raises:
        LavitError: there is no connection to its host and port.
    """
    if not is_remote(uri):
        return
    parts = urlsplit(uri)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=CONNECT_S).close()
    except OSError as error:
        raise LavitError(
            f"no connection to the tracking server {parts.hostname}:{port} ({_without_password(uri)}): "
            f"{error.strerror or error}",
            "is it up, and is tracking.uri right? `lavit sync` sends later what it misses now",
        ) from error


def _without_password(uri: str) -> str:
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def quieten(patient: bool = False) -> None:
    """No telemetry, no chatter, no long waits; to be called before mlflow is imported.

    Args:
        patient: leave MLflow's own time limits for a server as they are.
    """
    for name, value in {**QUIET, **({} if patient else IMPATIENT)}.items():
        os.environ.setdefault(name, value)
    logging.getLogger("alembic").setLevel(logging.WARNING)


def open_client(runs: Path, uri: str | None = None, patient: bool = False) -> MlflowClient:
    """A client on ``uri``, by default on ``<runs>/mlflow.db``, which the first call makes (with WAL, for readers).

    Args:
        runs: the runs folder.
        uri: another database or server.
        patient: wait for a server as long as MLflow does by default.
    """
    uri = uri or database(runs)
    require_reachable(uri)
    quieten(patient)
    from mlflow import MlflowClient

    path = runs / "mlflow.db"
    new = uri == database(runs) and not path.exists()
    client = MlflowClient(uri)
    if new:
        client.search_experiments(max_results=1)  # runs the migrations, here and once
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
    return client
