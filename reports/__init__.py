"""From records to statistics, tables, figures and the report page. Never imports torch.

`build(folder)` writes a report; `load(folder)` and `analyse(frame)` return tidy frames and every comparison,
for use in a notebook. The names are loaded on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reports.frame import Frame, load
    from reports.report import ReportSummary, build
    from reports.results import Results, analyse

__all__ = ["Frame", "ReportSummary", "Results", "analyse", "build", "load"]

_HOMES = {
    "Frame": "reports.frame",
    "load": "reports.frame",
    "ReportSummary": "reports.report",
    "build": "reports.report",
    "Results": "reports.results",
    "analyse": "reports.results",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'reports' has no attribute '{name}'")
