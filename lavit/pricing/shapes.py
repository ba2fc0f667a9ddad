"""Running a training step on shapes alone: floating-point tensors on the meta device, indices and masks on the CPU.

The meta device knows no values, yet a step of ragged sequences needs some: which positions hold an image, which places
are kept. So integers and masks stay real, and every operation that meets both is told shapes only.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

COMPARING = ("aten::gt", "aten::ge", "aten::lt", "aten::le")
INDEXING = ("aten::index", "aten::index_put", "aten::index_put_", "aten::_unsafe_index")


_known: dict[int, tuple[Any, Tensor]] = {}  # address of a storage -> (the storage, what it would hold)


def know(tensor: Tensor, values: Tensor) -> Tensor:
    """Say what a tensor on the meta device would hold: comparisons of it then have a result."""
    if tensor.is_meta:
        storage = tensor.untyped_storage()
        _known[storage._cdata] = storage, values
    return tensor


class Shapes(TorchDispatchMode):
    """Where an operation meets a tensor on the meta device, its other tensors are taken for their shapes.

    A mask chooses as many rows as it has ones; a mask without values is taken to be all ones. Autocast does not know
    the meta device, and is left out there. Attention is that of a kernel which keeps no scores, as all devices have
    one; left to itself the meta device would keep them.
    """

    def __enter__(self) -> Any:
        self._autocast = torch.autocast
        torch.autocast = _autocast(torch.autocast)  # type: ignore[misc,assignment]
        self._attention = F.scaled_dot_product_attention
        F.scaled_dot_product_attention = _attention(self._attention)
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        _known.clear()
        torch.autocast = self._autocast  # type: ignore[misc]
        F.scaled_dot_product_attention = self._attention

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
        if func._schema.name in COMPARING:
            args = tuple(_value_of(argument) for argument in args)
            if not any(isinstance(argument, Tensor) and argument.is_meta for argument in args):
                return func(*args, **kwargs)
        if func._schema.name in INDEXING:
            args = (args[0], [part for index in args[1] for part in _chosen(index)], *args[2:])
        args, kwargs = tree_map(_shape_of, (args, kwargs))
        return func(*args, **kwargs)


def _autocast(real: Any) -> Callable[..., Any]:
    def autocast(device_type: str, *args: Any, **kwargs: Any) -> Any:
        return nullcontext() if device_type == "meta" else real(device_type, *args, **kwargs)

    return autocast


def _attention(real: Any) -> Callable[..., Tensor]:
    def attention(
        query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, *args: Any, **kwargs: Any
    ) -> Tensor:
        if not query.is_meta or args or kwargs.get("enable_gqa"):
            return real(query, key, value, attn_mask, *args, **kwargs)
        bias = None
        if attn_mask is not None:
            bias = torch.empty(attn_mask.shape, dtype=query.dtype, device="meta")
            bias = bias.expand(*query.shape[:-1], key.shape[-2])
        options = {"dropout_p": kwargs.get("dropout_p", 0.0), "is_causal": kwargs.get("is_causal", False)}
        made = torch.ops.aten._scaled_dot_product_efficient_attention(
            query, key, value, bias, True, **options, scale=kwargs.get("scale")
        )
        return made[0]

    return attention


def _chosen(index: Tensor | None) -> Sequence[Tensor | None]:
    """A mask as the indices of what it chooses, one tensor a dimension; anything else as it is."""
    if index is None or index.dtype not in (torch.bool, torch.uint8):
        return [index]
    if index.is_meta:
        return [torch.empty(index.numel(), dtype=torch.long)] * index.ndim
    return index.nonzero(as_tuple=True)


def _value_of(argument: Any) -> Any:
    if not isinstance(argument, Tensor) or not argument.is_meta:
        return argument
    return _known.get(argument.untyped_storage()._cdata, (None, argument))[1]


def _shape_of(leaf: Any) -> Any:
    return leaf.to("meta") if isinstance(leaf, Tensor) and not leaf.is_meta else leaf


class Alive(TorchDispatchMode):
    """Counts the bytes of what operations make, as long as it lives; of a storage with several views once.

    Attributes:
        peak: the most bytes that were alive at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now, self.peak = 0, 0
        self._storages: dict[int, int] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = {_storage(leaf)._cdata for leaf in tree_flatten((args, kwargs or {}))[0] if isinstance(leaf, Tensor)}
        made = func(*args, **(kwargs or {}))
        for leaf in tree_flatten(made)[0]:
            if isinstance(leaf, Tensor) and _storage(leaf)._cdata not in given:
                self._add(_storage(leaf))
        return made

    def _add(self, storage: Any) -> None:
        address = storage._cdata
        if address in self._storages:
            return
        self._storages[address] = storage.nbytes()
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._remove, address)

    def _remove(self, address: int) -> None:
        self.now -= self._storages.pop(address)


def _storage(tensor: Tensor) -> Any:
    return tensor.untyped_storage()


def step_bytes(loss: Callable[[], Tensor]) -> int:
    """The most bytes that a forward and a backward pass have alive at once, gradients of parameters among them."""
    with Shapes(), Alive() as alive:
        loss().backward()
    return alive.peak
