"""lm-evaluation-harness with this suite's models, in this process; see docs/lm-eval.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from evals.harness.offline import require_lm_eval, stay_offline

__all__ = ["run"]


def run(
    model: Any,
    tasks: str | Sequence[Any],
    include_path: str | Path | None = None,
    batch_size: int = 64,
    **further: Any,
) -> dict[str, Any]:
    """Run tasks of lm-evaluation-harness on a model, without the network, and return its results.

    Args:
        model: an arm or an imported release behind the protocol, a :class:`lavit.model.token_model.TokenModel`, a
            transformers folder, or a model of the harness itself.
        tasks: names, files of tasks, or tasks.
        include_path: folder of tasks. Only where a task is not in it are the harness's own looked through, which
            takes a quarter of a minute.
        batch_size: rows of a batch.
        further: of ``lm_eval.simple_evaluate``, e.g. ``num_fewshot``, ``limit``, ``log_samples``, ``bootstrap_iters``
            (0 here: no standard errors by resampling).

    Raises:
        EvaluationError: lm-eval is not installed, or there is no such task.
    """
    stay_offline()
    require_lm_eval()
    import lm_eval

    from evals.harness.model import wrap
    from evals.harness.tasks import find_tasks

    names = [tasks] if isinstance(tasks, str) else list(tasks)
    manager = find_tasks([name for name in names if isinstance(name, str)], include_path)
    with same_generators():
        results = lm_eval.simple_evaluate(
            wrap(model, batch_size), tasks=names, task_manager=manager, **{"bootstrap_iters": 0} | further
        )
    assert results is not None, "only a process that is not the first has no results"
    return dict(results)


@contextmanager
def same_generators() -> Iterator[None]:
    """Leave the global generators of Python, NumPy and torch as they were: the harness seeds all of them anew."""
    import random

    import numpy as np
    import torch

    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
