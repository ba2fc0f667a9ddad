"""What has to be so before lm-eval is imported: that it is there, and that it asks nobody on the network."""

from __future__ import annotations

import importlib.util
import os

from evals.errors import EvaluationError

OFFLINE = {
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_OFFLINE": "1",
    "HF_EVALUATE_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
"""Read by the libraries when they are imported. Whoever sets one of them to another value is left alone."""


def stay_offline() -> None:
    """Keep the libraries around lm-eval from the network, unless the environment already says otherwise."""
    for name, value in OFFLINE.items():
        os.environ.setdefault(name, value)


def require_lm_eval() -> None:
    """Raise unless lm-eval is installed.

    Raises:
        EvaluationError: it is not.
    """
    if importlib.util.find_spec("lm_eval") is None:
        raise EvaluationError("lm-eval is not installed.", "pip install 'lavit-lab[lm-eval]'")
