"""Running a training step on shapes alone: floating-point tensors on the meta device, indices and masks on the CPU.

The meta device knows no values, yet a step of ragged sequences needs some: which positions hold an image, which places
are kept. So integers and masks stay real, and every operation that meets both is told shapes only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

INDEXING = ("aten::index", "aten::index_put", "aten::index_put_", "aten::_unsafe_index")


class Shapes(TorchDispatchMode):
    """Where an operation meets a tensor on the meta device, its other tensors are taken for their shapes.

    A mask chooses as many rows as it has ones; a mask without values is taken to be all ones. Autocast does not know
    the meta device, and is left out there.
    """

    def __enter__(self) -> Any:
        self._autocast = torch.autocast
        torch.autocast = _autocast(torch.autocast)  # type: ignore[misc,assignment]
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        torch.autocast = self._autocast  # type: ignore[misc]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        tensors = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, Tensor)]
        if not tensors and kwargs.get("device") == torch.device("meta"):  # made anew: integers keep their values
            made = func(*args, **kwargs)
            return made if made.is_floating_point() else func(*args, **kwargs | {"device": torch.device("cpu")})
        if not any(tensor.is_meta for tensor in tensors):
            return func(*args, **kwargs)
        if func._schema.name in INDEXING:
            args = (args[0], [part for index in args[1] for part in _chosen(index)], *args[2:])
        args, kwargs = tree_map(_shape_of, (args, kwargs))
        return func(*args, **kwargs)


def _autocast(real: Any) -> Callable[..., Any]:
    def autocast(device_type: str, *args: Any, **kwargs: Any) -> Any:
        return nullcontext() if device_type == "meta" else real(device_type, *args, **kwargs)

    return autocast


def _chosen(index: Tensor | None) -> Sequence[Tensor | None]:
    """A mask as the indices of what it chooses, one tensor a dimension; anything else as it is."""
    if index is None or index.dtype not in (torch.bool, torch.uint8):
        return [index]
    if index.is_meta:
        return [torch.empty(index.numel(), dtype=torch.long)] * index.ndim
    return index.nonzero(as_tuple=True)


def _shape_of(leaf: Any) -> Any:
    return leaf.to("meta") if isinstance(leaf, Tensor) and not leaf.is_meta else leaf


def saved_bytes(step: Callable[[], Any], apart: Iterable[Tensor] = ()) -> int:
    """Bytes that autograd keeps for the backward pass of ``step``.

    Args:
        step: a forward pass.
        apart: tensors that are there anyway (parameters, data), not counted.
    """
    known = {tensor.untyped_storage()._cdata for tensor in apart}
    kept: dict[int, Tensor] = {}  # holding them keeps addresses from being used twice

    def keep(tensor: Tensor) -> Tensor:
        address = tensor.untyped_storage()._cdata
        if address not in known:
            kept[address] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        step()
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
