"""Peak memory of a training step, in bytes, from the modules themselves.

Parameters, optimizer moments and data as they are; for a step, all that its forward and backward pass have alive at
once. What a kernel borrows while it works, what an allocator does not give back, and the framework are not in it.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from lavit.pricing.shapes import step_bytes
from lavit.pricing.trial import Trial

MOMENTS = {"adamw": 2, "muon": 2}  # running averages a parameter
ORTHOGONAL = 1  # Muon keeps one for the matrices that it turns


def memory(trial: Trial) -> dict[str, int]:
    """Bytes of ``parameters``, ``gradients``, ``moments`` and ``data``, of a ``step``, and their ``peak``.

    The step holds activations, and gradients as they come; the update holds gradients alone.
    """
    if not trial.steps:
        return {}
    number = trial.first_step + trial.steps // 2
    batch = trial.module.batch(number)
    step = step_bytes(lambda: trial.module.loss(batch, number)[0])
    parameters = list(trial.network.parameters())
    gradients = _bytes(p for p in parameters if p.requires_grad)
    found = {
        "parameters": _bytes(parameters) + _bytes(trial.network.buffers()),
        "moments": sum(
            _bytes(p for p in group["params"] if p.requires_grad)
            * _moments(trial.method, bool(group.get("orthogonal")))
            for group in trial.module.parameter_groups()
        ),
        "data": _bytes(trial.data),
    }
    peak = sum(found.values()) + max(step, gradients)
    return found | {"gradients": gradients, "step": step, "peak": peak}


def _moments(method: str, orthogonal: bool) -> int:
    return ORTHOGONAL if method == "muon" and orthogonal else MOMENTS[method]


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
