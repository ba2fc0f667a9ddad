"""From records to statistics, tables, figures and the report page. Never imports torch.

`build(folder)` writes a report. In a notebook `frames("quickstart")` returns a study as tidy pandas frames;
`load` and `analyse` return what they are made from. The names are loaded on first use, so that importing the
package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reports.frame import Frame
    from reports.notebook import Frames, frames, load
    from reports.report import ReportSummary, build
    from reports.results import Results, analyse

__all__ = ["Frame", "Frames", "ReportSummary", "Results", "analyse", "build", "frames", "load"]

_HOMES = {
    "Frame": "reports.frame",
    "Frames": "reports.notebook",
    "frames": "reports.notebook",
    "load": "reports.notebook",
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
