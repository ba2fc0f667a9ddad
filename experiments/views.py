"""How a study reads in the MLflow UI: its description, and saved views that open grouped by arm.

MLflow keeps a saved view as an experiment tag ``mlflow.sharedViewState.<id>`` with plain JSON in it. That is no public
interface: everything that knows of it is in this file, and where a later MLflow does not know it the plain page opens.
Tried with MLflow 3.17.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from experiments.plan import Plan

ARMS, CURVES, AXES = "lavit-arms", "lavit-curves", "lavit-axes"
TAG = "mlflow.sharedViewState."
LIMIT = 4900  # characters in a tag, a little under what MLflow refuses
#: Metrics that are worth a column, where a study has them, after the headline.
COLUMNS = ("caption/CIDEr", "vqa/accuracy", "t2i/exact", "t2i/objects", "t2i/committed", "tokenizer/kept", "cost/flops")
#: Histories that are worth a chart, where a study has them.
HISTORIES = ("val/caption/CIDEr", "val/vqa/accuracy", "train/loss")


def address(host: str, experiment_id: str, view: str = ARMS) -> str:
    """The URL that opens a saved view."""
    charts = "&compareRunsMode=CHART" if view != ARMS else ""
    return f"{host}/#/experiments/{experiment_id}/runs?viewStateShareKey={view}&workflowType=machine_learning{charts}"


def describe(plan: Plan) -> str:
    """The experiment's description, in Markdown: the question, the design, the voids, where the report is."""
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
    lines += ["", f"Report: `{plan.runs_dir / study.name / 'report.html'}`"]
    return "\n".join(lines)


def _void(void: Any) -> str:
    arm = void.get("arm") or void.get("when") or {}
    levels = " & ".join(f"{axis}={level}" for axis, level in arm.items()) if isinstance(arm, dict) else str(arm)
    return f"{levels}: {void.get('why', '')}"


def saved_views(plan: Plan, metrics: Sequence[str]) -> dict[str, str]:
    """Tags that hold the saved views of a study.

    Args:
        plan: the study.
        metrics: names of the final metrics that its runs have; a view shows only what is there.

    Returns:
        Tag name -> JSON; a view that does not fit into a tag is left out.
    """
    headline = plan.study.headline
    have = {*metrics, "cost/flops"}
    shown = [headline, *(name for name in COLUMNS if name != headline and name in have)]
    axes = [f"axis.{name}" for name in plan.study.axes]
    views = {
        ARMS: _view("Arms: mean over seeds", _arms(shown, axes), headline),
        CURVES: _view("Curves and costs", _curves(shown, headline), headline),
        AXES: _view("Axes: every seed", _axes(shown, axes), headline),
    }
    texts = {TAG + key: json.dumps(view, separators=(",", ":"), ensure_ascii=False) for key, view in views.items()}
    return {key: text for key, text in texts.items() if len(text) <= LIMIT}


def _view(name: str, state: dict[str, Any], headline: str) -> dict[str, Any]:
    facets = {
        "searchFilter": "tags.`lavit.kind` = 'run'",
        "orderByKey": f"metrics.`{headline}`",
        "orderByAsc": False,
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
    }
    return {"name": name, "createdAt": 0, "state": {**facets, **state}}


def _table_state(columns: Sequence[str], params: Sequence[str], grouped: bool) -> dict[str, Any]:
    return {
        "selectedColumns": [*(f"metrics.`{name}`" for name in columns), *(f"params.`{name}`" for name in params)],
        "columnOrder": [],
        "columnWidths": {},
        "runsHiddenMode": "SHOW_ALL",
        "groupBy": _by_arm() if grouped else None,
        "useGroupedValuesInCharts": grouped,
        "hideEmptyCharts": True,
        "viewMaximized": False,
        "runListHidden": False,
        "isAccordionReordered": False,
    }


def _by_arm() -> dict[str, Any]:
    return {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": "lavit.arm"}]}


def _arms(columns: Sequence[str], axes: Sequence[str]) -> dict[str, Any]:
    return _table_state(columns, axes, grouped=True)


def _curves(columns: Sequence[str], headline: str) -> dict[str, Any]:
    charts: list[dict[str, Any]] = [_bar(name) for name in columns[:4]]
    charts += [_line(name) for name in HISTORIES]
    charts.append(_scatter("cost/flops", headline))
    return {**_table_state(columns, (), grouped=True), **_charts(charts)}


def _axes(columns: Sequence[str], axes: Sequence[str]) -> dict[str, Any]:
    parallel = {"type": "PARALLEL", "selectedParams": list(axes), "selectedMetrics": list(columns[:3]), "showAllRuns": True}
    return {**_table_state(columns, axes, grouped=False), **_charts([parallel, *(_bar(name) for name in columns[:2])])}


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


def _charts(charts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    section = "lavit-section"
    common = {"metricSectionId": section, "deleted": False, "isGenerated": False}
    return {
        "compareRunCharts": [{"uuid": f"lavit-{index}", **common, **chart} for index, chart in enumerate(charts)],
        "compareRunSections": [
            {"uuid": section, "name": "Study", "display": True, "isReordered": True, "deleted": False, "isGenerated": False}
        ],
    }
