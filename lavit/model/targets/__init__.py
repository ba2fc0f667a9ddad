"""Targets: what is predicted where an image is written, one file each, named by ``_target_`` in ``conf/target``.

See ``docs/targets.md`` for the table of spaces, losses, stop rules and gradient rules.
"""

from lavit.model.targets.continuous import ContinuousTarget
from lavit.model.targets.discrete import DiscreteTarget
from lavit.model.targets.target import ImageShape, Target

__all__ = ["ContinuousTarget", "DiscreteTarget", "ImageShape", "Target"]
