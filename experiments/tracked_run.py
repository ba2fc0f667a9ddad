"""One run as MLflow is told of it, from the store alone: the same store gives the same run, times included."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from experiments.environment import NUMERIC, environment, git_state, requirements_text, stage_environment
from experiments.metrics_table import run_metrics
from experiments.plan import Plan, Run
from experiments.run_results import curve_points, fingerprints, own_stages, skipped, stage_ledger
from experiments.store import ENVIRONMENT, Store
from experiments.tracked_results import LAYOUT, write_run_results

if TYPE_CHECKING:
    from mlflow import MlflowClient

KIND = "run"
BATCH = 1000  # metrics in one call: MLflow's limit
#: (metric, name in the ledger, unit): what training the arm took, summed over its own stages.
COSTS = (
    ("cost/train_tflop", "flops", 1e12),
    ("cost/examples_understanding", "examples_understanding", 1.0),
    ("cost/examples_generation", "examples_generation", 1.0),
    ("cost/positions_m", "positions", 1e6),
    ("cost/text_tokens_m", "supervised_text_tokens", 1e6),
    ("cost/visual_positions_m", "supervised_visual_positions", 1e6),
)
#: The same of what the arm is: the largest over its own stages.
SIZES = (("cost/params_m", "params_total", 1e6), ("cost/trained_params_m", "params_trainable", 1e6))
WALL = "cost/wall_s"  # of all stages of a run, the shared ones included
RUN_COSTS = (*(name for name, _, _ in (*COSTS, *SIZES)), WALL)
CURVE_POINTS = 200  # points of one history; the whole curve is in curves.parquet
#: Okabe and Ito's colours, readable with every kind of colour vision; one per arm, in every chart of the UI.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")


def write_run(
    client: MlflowClient,
    experiment_id: str,
    plan: Plan,
    run: Run,
    key: str,
    status: str,
    error: dict[str, Any] | None,
    report: str = "",
) -> str:
    """Write one MLflow run and return its id; the tag ``lavit.synced`` comes last, so that an interrupted one is known.

    Args:
        client, experiment_id: where to.
        plan, run: what.
        key: the run's ``lavit.run_key``.
        status: ``done`` or ``failed``.
        error: of a failed run.
        report: address of the study's report within the UI.
    """
    from mlflow.entities import Param, RunTag

    store = Store(plan.runs_dir)
    start, end = span_ms(store, run, error)
    created = client.create_run(experiment_id, start_time=start, run_name=run.name)
    run_id = str(created.info.run_id)
    made_on = _made_on(store, run)
    tags = _tags(plan, run, key, error, made_on)
    if report:
        tags["mlflow.note.content"] = f"[Report of the study]({report})\n\nRepeat this run: `{run.command}`"
    params = {f"axis.{axis}": level for axis, level in run.levels.items()} | {"seed": str(run.seed)}
    client.log_batch(
        run_id,
        params=[Param(name, str(value)) for name, value in params.items()],
        tags=[RunTag(name, str(value)[:4900]) for name, value in tags.items()],
    )
    _write_metrics(client, store, run, run_id, end)
    _write_artifacts(client, run, run_id, error, made_on)
    write_run_results(client, run_id, plan, run)
    client.set_tag(run_id, "lavit.layout", LAYOUT)
    client.set_tag(run_id, "lavit.synced", status)
    client.set_terminated(run_id, "FINISHED" if status == "done" else "FAILED", end_time=end)
    return run_id


def span_ms(store: Store, run: Run, error: dict[str, Any] | None = None) -> tuple[int, int]:
    """When a run began and ended, in milliseconds, as its stages' DONE.json (or its FAILED.json) tell.

    Shared stages ran long before: the span shows the work, not the wait.
    """
    times = [body for stage, key in run.stage_keys.items() if (body := store.done(stage, key))]
    ends = [float(body["finished"]) for body in times]
    if error:
        failure = store.failure(error["stage"], error["key"]) or {}
        ends += [float(failure["time"])] if "time" in failure else []
    end = max(ends, default=0.0)
    return int((end - sum(body["wall_s"] for body in times)) * 1000), int(end * 1000)


def _made_on(store: Store, run: Run) -> dict[str, Any]:
    """The environment of the last finished stage, as it was recorded; of stages made before that was, this machine's.

    How many threads and which accelerator they had is then not known: this process' own say nothing of it.
    """
    for stage, key in reversed(run.stage_keys.items()):
        if store.is_done(stage, key) and isinstance(found := store.read(stage, key, ENVIRONMENT), dict) and found:
            return found
    return {**stage_environment(), "threads": None, "gpu": None}


def _tags(plan: Plan, run: Run, key: str, error: dict[str, Any] | None, made_on: dict[str, Any]) -> dict[str, Any]:
    git = made_on.get("git") or {}
    arm_number = list(plan.arms).index(run.arm)
    tags = {
        "lavit.study": plan.study.name,
        "lavit.kind": KIND,
        "lavit.arm": run.arm,
        "lavit.seed": run.seed,
        "lavit.default": str(arm_number == 0).lower(),
        "lavit.run_key": key,
        "lavit.command": run.command,
        "mlflow.runColor": PALETTE[arm_number % len(PALETTE)],
        **{f"lavit.stage.{stage}": k for stage, k in run.stage_keys.items()},
    }
    if git.get("commit"):
        tags |= {"mlflow.source.git.commit": git["commit"], "lavit.git.dirty": str(git["dirty"]).lower()}
    store = Store(plan.runs_dir)
    for name, found in fingerprints(store, run).items():
        tags[f"lavit.fingerprint.{name}"] = f"{found['hash'][:12]} {found['line']}, {found['hygiene'] or 'undeclared'}"
    if absent := skipped(store, run):
        tags["lavit.absent"] = "\n".join(f"{name}: {why}" for name, why in absent.items())
    if error:
        tags |= {"lavit.error": f"{error['stage']}: {error['class']}: {error['message']}"}
    return tags


def metric_name(name: str) -> str:
    """A name that MLflow accepts: ``@`` (a control) becomes `` - ``."""
    return name.replace("@", " - ").replace("(", "").replace(")", "")


def _write_metrics(client: MlflowClient, store: Store, run: Run, run_id: str, end: int) -> None:
    """Final numbers once, rounded (the grid prints every digit), and losses as thinned histories."""
    from mlflow.entities import Metric

    metrics = []
    for name, value in run_metrics(store, run).items():
        if math.isfinite(value):
            metrics.append(Metric(metric_name(name), float(f"{value:.5g}"), end, 0))
    ledgers = [stage_ledger(store, run, stage) for stage in own_stages(run)]
    for name, ledger_name, unit in (*COSTS, *SIZES):
        values = [float(ledger.get(ledger_name, 0.0)) / unit for ledger in ledgers]
        total = max(values, default=0.0) if (name, ledger_name, unit) in SIZES else sum(values)
        if total:
            metrics.append(Metric(name, float(f"{total:.4g}"), end, 0))
    wall = sum(body["wall_s"] for s, k in run.stage_keys.items() if (body := store.done(s, k)))
    metrics.append(Metric(WALL, round(wall, 1), end, 0))
    metrics += [Metric(name, value, at, step) for name, value, step, at in _histories(store, run)]
    for first in range(0, len(metrics), BATCH):
        client.log_batch(run_id, metrics=metrics[first : first + BATCH])


def _histories(store: Store, run: Run) -> Iterator[tuple[str, float, int, int]]:
    """(name, value, step, time in ms) of every curve; stages of one arm count their steps on from one another."""
    offset: dict[str, int] = {}
    curves: dict[str, list[tuple[int, float]]] = {}
    total = 0
    for stage in own_stages(run):
        offset[stage] = total
        total += int(stage_ledger(store, run, stage).get("steps", 0))
    for _, step, _, name, value in curve_points(store, run):
        if math.isfinite(value):
            curves.setdefault(name, []).append((step, value))
    clock = _clock(store, run, offset)
    for name, points in curves.items():
        stride = max(1, math.ceil(len(points) / CURVE_POINTS))
        kept = points[::stride] if (len(points) - 1) % stride == 0 else [*points[::stride], points[-1]]
        for step, value in kept:
            yield metric_name(name), float(f"{value:.6g}"), step, clock(step)


def _clock(store: Store, run: Run, offset: dict[str, int]) -> Callable[[int], int]:
    """When a step of the curve was made, in ms of the run's own span: its stage's time, spread over its steps."""
    spans = []
    at_s = span_ms(store, run)[0] / 1000
    for stage, key in run.stage_keys.items():
        wall = float(body["wall_s"]) if (body := store.done(stage, key)) is not None else 0.0
        if stage in offset:
            steps = int(stage_ledger(store, run, stage).get("steps", 0))
            spans.append((offset[stage], steps, at_s, wall))
        at_s += wall

    def at(step: int) -> int:
        if not spans:  # no stage of the run's own has a curve: the points came with the evaluation
            return int(at_s * 1000)
        first, steps, begin, wall = next((span for span in reversed(spans) if span[0] <= step), spans[0])
        return int((begin + wall * min(1.0, (step - first) / max(steps, 1))) * 1000)

    return at


def _write_artifacts(
    client: MlflowClient,
    run: Run,
    run_id: str,
    error: dict[str, Any] | None,
    made_on: dict[str, Any],
) -> None:
    git = git_state()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = yaml.safe_dump(run.config, sort_keys=False, allow_unicode=True, width=110)
        (folder / "config.yaml").write_text(config, encoding="utf-8")
        (folder / "requirements.txt").write_text(_requirements(made_on), encoding="utf-8")
        (folder / "environment.json").write_text(
            json.dumps({**made_on, "command": run.command}, indent=1), encoding="utf-8"
        )
        now = {"commit": git["commit"], "dirty": git["dirty"]}
        if git["diff"] and now == made_on.get("git"):  # of another commit's edits nothing is known
            (folder / "uncommitted.diff").write_text(git["diff"], encoding="utf-8")
        if error:
            (folder / "error.json").write_text(json.dumps(error, indent=1), encoding="utf-8")
        client.log_artifacts(run_id, str(folder))


def _requirements(made_on: dict[str, Any]) -> str:
    """All packages where they are still those that the run was made with; otherwise those that were recorded."""
    recorded: dict[str, str] = made_on.get("packages") or {}
    now = {name.lower(): version for name, version in environment()["packages"].items()}
    if recorded == {name: now[name] for name in NUMERIC if name in now}:
        return requirements_text()
    head = f"# python {made_on.get('python')}, {made_on.get('platform')}; what may change a number\n"
    return head + "".join(f"{name}=={version}\n" for name, version in recorded.items())
