"""Leave one out: the complete system, and each component taken away once.

One arm an axis, unlike `one_at_a_time`, which has one a level: an axis of five learning rates is one component.
"""

from __future__ import annotations

from experiments.design import Design, neighbours
from experiments.errors import LavitError
from experiments.study import Study


def build(study: Study) -> Design:
    """The default, and for each axis the default with that axis at its `off` level."""
    varied = [axis.name for axis in study.axes.values() if len(axis.levels) > 1]
    return neighbours(study, [(axis, off_level(study, axis)) for axis in varied])


def off_level(study: Study, axis: str) -> str:
    """The level that means 'without': the one that the design names, else the axis's last."""
    named = study.design_options.get("off", {}).get(axis)
    level = str(named) if named is not None else list(study.axes[axis].levels)[-1]
    if level == study.default[axis]:
        raise LavitError(
            f"{study.file}: design: {study.design}: the axis '{axis}' without is '{level}', which is also its default",
            f"write design: {{{study.design}: ...}} with another level, or make '{level}' not the default",
        )
    return level
