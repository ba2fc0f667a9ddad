"""What goes wrong in an evaluation through the user's configuration or files, said so that it can be put
right."""

from __future__ import annotations

from lavit.errors import LavitError


class EvaluationError(LavitError):
    """A benchmark cannot be run or its records cannot be trusted; the message names what and the remedy."""
