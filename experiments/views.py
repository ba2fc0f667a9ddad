"""How a study reads in the MLflow UI: its description, and saved views that open grouped by arm.

MLflow keeps a saved view as an experiment tag ``mlflow.sharedViewState.<id>``: JSON of a name, a time and the
page's state, which is JSON in a string once more. That is no public interface: everything that knows of it is in
this file, and where a later MLflow does not know it the plain page opens. Tried with MLflow 3.17.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from experiments.plan import Plan
from experiments.tracked_results import REPORT
from experiments.tracked_run import RUN_COSTS

ARMS, AXES, COST, CURVES = "lavit-arms", "lavit-axes", "lavit-cost", "lavit-curves"
VIEWS = {"arms": ARMS, "axes": AXES, "cost": COST, "curves": CURVES}
TAG = "mlflow.sharedViewState."
RUN_NAME, CREATED = "attributes.`Run Name`", "runDateAndNestInfo"  # the grid's own ids of its first two columns
LIMIT = 4900  # characters in a tag, a little under what MLflow refuses
#: Metrics that are worth a column, where a study has them, after the headline.
COLUMNS = (
    "caption/CIDEr",
    "vqa/accuracy",
    "t2i/exact",
    "t2i/objects",
    "t2i/committed",
    "tokenizer/kept",
    "cost/train_tflop",
)
#: The same of a study that stops at the tokenizer.
TOKENIZER_COLUMNS = (
    "tokenizer/cosine_objects",
    "tokenizer/probe_objects",
    "tokenizer/psnr",
    "tokenizer/codes_used",
    "tokenizer/perplexity",
    "tokenizer/kept",
    "cost/train_tflop",
)
#: What an arm costs: columns of the cost view, where a study has them; the first four are drawn as bars.
COSTS = (
    "cost/train_tflop",
    "cost/wall_s",
    "cost/positions_m",
    "cost/params_m",
    "cost/trained_params_m",
    "cost/text_tokens_m",
    "cost/visual_positions_m",
    "cost/examples_understanding",
    "cost/examples_generation",
    "pretrain/tokens/mean",
)
#: What quality is drawn against, where a study has it.
AGAINST = ("cost/train_tflop", "pretrain/tokens/mean", "cost/wall_s")
#: Histories that are worth a chart, where a study has them.
HISTORIES = ("val/caption/CIDEr", "val/vqa/accuracy", "train/loss")


def address(host: str, experiment_id: str, view: str = ARMS) -> str:
    """The URL that opens a saved view."""
    charts = "&compareRunsMode=CHART" if view != ARMS else ""
    return f"{host}/#/experiments/{experiment_id}/runs?viewStateShareKey={view}&workflowType=machine_learning{charts}"


def report_address(experiment_id: str, study_run: str) -> str:
    """The page of the report within the MLflow UI, whichever host serves it."""
    return f"#/experiments/{experiment_id}/runs/{study_run}/artifacts/{REPORT}/report.html"


def describe(plan: Plan, report: str = "") -> str:
    """The experiment's description, in Markdown: the question, the design, the voids, where the report is.

    Args:
        plan: the study.
        report: address of the report within the UI.
    """
    study = plan.study
    axes = "\n".join(f"- **{name}**: {', '.join(axis.levels)}" for name, axis in study.axes.items())
    voids = plan.study_document().get("voids") or []
    lines = [
        f"**{study.question}**",
        "",
        f"{study.design} design: {len(plan.arms)} arms × {len(study.seeds)} seeds; headline `{study.headline}`.",
        "",
        axes,
    ]
    if voids:
        lines += ["", "Left out as meaningless:", *(f"- {_void(void)}" for void in voids)]
    if report:
        lines += ["", f"[Report]({report}), with tables and figures as artifacts of the run `study`."]
    lines += ["", f"Where it was made: `{plan.runs_dir / study.name / 'report.html'}`"]
    return "\n".join(lines)


def _void(void: Any) -> str:
    arm = void.get("arm") or void.get("when") or {}
    levels = " & ".join(f"{axis}={level}" for axis, level in arm.items()) if isinstance(arm, dict) else str(arm)
    return f"{levels}: {void.get('why', '')}"


def saved_views(plan: Plan, metrics: Sequence[str], created_ms: int) -> dict[str, str]:
    """Tags that hold the saved views of a study.

    Args:
        plan: the study.
        metrics: names of the final metrics that its runs have; a view shows only what is there.
        created_ms: when the views were made, as the menu shows it.

    Returns:
        Tag name -> JSON; a view that does not fit into a tag is left out.
    """
    headline = plan.study.headline or "caption/CIDEr"
    have = {*metrics, *RUN_COSTS}
    columns = TOKENIZER_COLUMNS if plan.study.until == "tokenizer" else COLUMNS
    shown = [headline, *(name for name in columns if name != headline and name in have)]
    axes = [f"axis.{name}" for name in plan.study.axes]
    arms = list(plan.arms)
    views = {
        ARMS: _view("Arms: mean over seeds", _table_state(shown, (), arms), headline, created_ms),
        AXES: _view("Axes: every seed", _axes(shown, axes), headline, created_ms),
        COST: _view("Cost", _cost([name for name in COSTS if name in have], headline, arms), headline, created_ms),
        CURVES: _view("Curves", _curves(shown, arms), headline, created_ms),
    }
    texts = {TAG + key: _text(view) for key, view in views.items()}
    return {key: text for key, text in texts.items() if len(text) <= LIMIT}


def _text(view: dict[str, Any]) -> str:
    """A view as the tag holds it; that its groups start closed is left out where it would not fit."""
    text = json.dumps(view, separators=(",", ":"), ensure_ascii=False)
    if len(text) <= LIMIT:
        return text
    state = json.loads(view["state"]) | {"groupsExpanded": {}}
    short = {**view, "state": json.dumps(state, separators=(",", ":"), ensure_ascii=False)}
    return json.dumps(short, separators=(",", ":"), ensure_ascii=False)


def _view(name: str, state: dict[str, Any], headline: str, created_ms: int) -> dict[str, Any]:
    facets = {
        "searchFilter": "tags.`lavit.kind` = 'run'",
        "orderByKey": f"metrics.`{headline}`",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
    }
    text = json.dumps({**facets, **state}, separators=(",", ":"), ensure_ascii=False)
    return {"name": name, "createdAt": created_ms, "state": text}


def _table_state(columns: Sequence[str], params: Sequence[str], arms: Sequence[str] = ()) -> dict[str, Any]:
    """The table: what it shows, in which order and how wide; grouped by arm, groups closed, where arms are given."""
    shown = [*(f"metrics.`{name}`" for name in columns), *(f"params.`{name}`" for name in params)]
    by_arm = {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": "lavit.arm"}]}
    return {
        "selectedColumns": shown,
        "columnOrder": [RUN_NAME, CREATED, *shown],
        "columnWidths": {RUN_NAME: 240, CREATED: 36, **dict.fromkeys(shown, 110)},
        "runsHiddenMode": "SHOW_ALL",
        "groupBy": by_arm if arms else None,
        "groupsExpanded": {f"tag.lavit.arm.{arm}": False for arm in arms},
        "useGroupedValuesInCharts": bool(arms),
        "hideEmptyCharts": True,
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": True,  # keeps our charts above those that the page makes up itself
    }


def _cost(costs: Sequence[str], headline: str, arms: Sequence[str]) -> dict[str, Any]:
    charts = [*(_scatter(x, headline) for x in AGAINST if x in costs), *map(_bar, costs[:4])]
    return {**_table_state([headline, *costs], (), arms), **_charts(charts)}


def _curves(columns: Sequence[str], arms: Sequence[str]) -> dict[str, Any]:
    charts = [*(_bar(name) for name in columns[:3]), *map(_line, HISTORIES)]
    return {**_table_state(columns, (), arms), **_charts(charts)}


def _axes(columns: Sequence[str], axes: Sequence[str]) -> dict[str, Any]:
    parallel = {
        "type": "PARALLEL",
        "selectedParams": list(axes),
        "selectedMetrics": list(columns[:2]),
        "showAllRuns": True,
    }
    return {**_table_state(columns, axes), **_charts([parallel], columns=1, height=340), "runListHidden": True}


def _bar(metric: str) -> dict[str, Any]:
    return {"type": "BAR", "metricKey": metric, "runsCountToCompare": 100}


def _line(metric: str) -> dict[str, Any]:
    return {
        "type": "LINE",
        "metricKey": metric,
        "selectedMetricKeys": [metric],
        "xAxisKey": "step",
        "selectedXAxisMetricKey": "",
        "lineSmoothness": 0,
        "scaleType": "linear",
        "xAxisScaleType": "linear",
        "useGlobalLineSmoothing": False,
        "useGlobalXaxisKey": False,
        "range": {},
    }


def _scatter(x: str, y: str) -> dict[str, Any]:
    axes = {"xaxis": {"key": x, "type": "METRIC"}, "yaxis": {"key": y, "type": "METRIC"}}
    return {"type": "SCATTER", **axes, "runsCountToCompare": 100}


def _charts(charts: Sequence[dict[str, Any]], columns: int = 2, height: int = 300) -> dict[str, Any]:
    """One section of charts, so many beside each other and so many pixels high."""
    section = "lavit-section"
    common = {"metricSectionId": section, "deleted": False, "isGenerated": False}
    return {
        "compareRunCharts": [{"uuid": f"lavit-{index}", **common, **chart} for index, chart in enumerate(charts)],
        "compareRunSections": [
            {
                "uuid": section,
                "name": "Study",
                "display": True,
                "isReordered": True,
                "columns": columns,
                "cardHeight": height,
            }
        ],
    }
