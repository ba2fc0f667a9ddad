"""The MLflow UI of a runs folder, opened on a study's saved view."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import webbrowser
from contextlib import suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from experiments.errors import LavitError
from experiments.tracking_server import QUIET, configured_uri, database, is_remote, open_client
from experiments.views import VIEWS, address

START_S = 120.0  # a start takes 6 s on a quiet machine


def serve(
    runs: str | Path,
    study: str | None,
    host: str,
    port: int,
    browser: bool,
    tracking: object = None,
    view: str = "arms",
) -> int:
    """Run ``mlflow ui`` until it ends or Ctrl-C, and return its exit code.

    A tracking server has its own UI: its address is printed and opened, and nothing is started.

    Args:
        runs: the runs folder; it must have a database.
        study: whose saved view to open; None for the last study that was synced.
        host, port: where to serve; the first free port from ``port`` on.
        browser: whether to open a browser (where there is one).
        tracking: the config's ``tracking`` node.
        view: which saved view to open, a name of ``experiments.views.VIEWS``.
    """
    folder = Path(runs).absolute()
    if is_remote(uri := configured_uri(tracking, folder)):
        url = address(uri.rstrip("/"), _experiment_id(folder, study, uri), VIEWS[view])
        print(url, flush=True)
        if browser:
            webbrowser.open(url)
        return 0
    if uri == database(folder) and not (folder / "mlflow.db").is_file():
        raise LavitError(
            f"there is no MLflow database in {folder}", "`lavit run study=NAME` makes it, and `lavit sync study=NAME`"
        )
    experiment = _experiment_id(folder, study, uri)
    port = _free_port(host, port)
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri]
    command += ["--host", host, "--port", str(port), "--workers", "1"]
    environment = {**os.environ, **{name: os.environ.get(name, value) for name, value in QUIET.items()}}
    log = folder / "mlflow-ui.log"
    signal.signal(signal.SIGTERM, _interrupt)
    with log.open("w") as output:
        # its own process group, so that all of it can be ended: the server starts further processes
        server = subprocess.Popen(
            command, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            _wait_until_up(server, f"http://{host}:{port}", log)
            url = address(f"http://{host}:{port}", experiment, VIEWS[view])
            print(f"{url}\nCtrl-C ends it.", flush=True)
            if browser:
                webbrowser.open(url)
            return server.wait()
        except KeyboardInterrupt:
            return 0
        finally:
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGTERM)
            server.wait(timeout=10)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _experiment_id(runs: Path, study: str | None, uri: str) -> str:
    client = open_client(runs, uri)
    experiments = [e for e in client.search_experiments() if e.name != "Default"]
    if study is None and experiments:
        return str(max(experiments, key=lambda e: e.last_update_time or 0).experiment_id)
    for experiment in experiments:
        if experiment.name == study:
            return str(experiment.experiment_id)
    names = ", ".join(sorted(e.name for e in experiments)) or "none"
    raise LavitError(f"MLflow has no study '{study}' in {runs}", f"there is: {names}; `lavit sync study=NAME` adds one")


def _free_port(host: str, first: int) -> int:
    for port in range(first, first + 100):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
            return port
    raise LavitError(f"no free port from {first} to {first + 99} on {host}", "name another with --port")


def _wait_until_up(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise LavitError(f"the MLflow UI ended with code {server.returncode}", f"its output is in {log}")
        try:
            with urlopen(f"{url}/health", timeout=1):
                return
        except (URLError, OSError):
            time.sleep(0.2)
    raise LavitError(f"the MLflow UI did not answer within {START_S:.0f} s", f"its output is in {log}")
