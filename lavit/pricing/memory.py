"""Peak memory of a training step, in bytes, from the modules themselves.

Parameters, gradients and optimizer moments as they are; activations are what autograd keeps of one forward pass
(each storage once). What a kernel borrows while it works, and the framework itself, are not in it.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor

from lavit.pricing.shapes import Shapes, saved_bytes
from lavit.pricing.trial import Trial

MOMENTS = {"adamw": 2, "muon": 2}  # running averages a parameter
ORTHOGONAL = 1  # Muon keeps one for the matrices that it turns


def memory(trial: Trial) -> dict[str, int]:
    """Bytes of ``parameters``, ``gradients``, ``moments``, ``activations`` and ``data``, and their sum, ``peak``."""
    if not trial.steps:
        return {}
    step = trial.first_step + trial.steps // 2
    batch = trial.module.batch(step)

    def forward() -> None:
        with Shapes():
            trial.module.loss(batch, step)

    found = {"activations": saved_bytes(forward, trial.held)}
    parameters = list(trial.network.parameters())
    found["parameters"] = _bytes(parameters) + _bytes(trial.network.buffers())
    found["gradients"] = _bytes(p for p in parameters if p.requires_grad)
    found["moments"] = sum(
        _bytes(p for p in group["params"] if p.requires_grad) * _moments(trial.method, bool(group.get("orthogonal")))
        for group in trial.module.parameter_groups()
    )
    found["data"] = _bytes(trial.data)
    return found | {"peak": sum(found.values())}


def _moments(method: str, orthogonal: bool) -> int:
    return ORTHOGONAL if method == "muon" and orthogonal else MOMENTS[method]


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
