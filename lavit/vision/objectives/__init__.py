"""Masked objectives that teach the vision encoder without labels, one file each: ``vision.objective`` names one.

Pixels of masked patches never enter the encoder: they are made grey before the stem, whose convolutions would carry
them over to their neighbours.
"""

from lavit.vision.objectives.masking import MaskedObjective

__all__ = ["MaskedObjective"]
