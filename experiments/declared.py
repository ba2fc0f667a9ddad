"""A stage's config that knows what the stage declared: what lies outside is refused by name, what is read is noted.

A key is made of the declared parts alone. An undeclared part that a stage could see would change its result and not
its key; one that silently reads as None (``config.get("x")``) would be a setting that does nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from experiments.errors import LavitError, did_you_mean


class UndeclaredReadError(LavitError):
    """A stage asked for a part of the config that it does not declare."""


class DeclaredConfig(DictConfig):
    """The declared subtrees, read-only; every way of asking for anything else raises :class:`UndeclaredReadError`.

    A declared part that is absent (a void rule dropped it) reads as any absent key does: it is part of the key
    that it is not there.

    Args:
        content: the subtrees, nested, as plain data.
        stage: whose they are.
        reads: the declared dotted keys.
    """

    def __init__(self, content: Mapping[str, Any], stage: str, reads: Iterable[str], **place: Any) -> None:
        under = place.pop("under", "")
        seen = place.pop("seen", set())
        super().__init__(dict(content), **place)
        self.__dict__.update(_stage=stage, _reads=tuple(reads), _under=under, _seen=seen)
        for name, child in content.items():
            path = f"{under}{name}"
            if path not in self._reads and isinstance(child, Mapping):  # on the way to a declared part
                node = DeclaredConfig(child, stage, reads, under=f"{path}.", seen=seen, key=name, parent=self)
                self.__dict__["_content"][name] = node
        if not under:
            OmegaConf.set_struct(self, True)
            OmegaConf.set_readonly(self, True)

    @property
    def seen(self) -> list[str]:
        """The declared keys that were read so far, in the order of the declaration."""
        return [key for key in self._reads if key in self._seen]

    def __getattr__(self, key: str) -> Any:
        self._check(key)
        return super().__getattr__(key)

    def __getitem__(self, key: Any) -> Any:
        self._check(key)
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        self._check(key)
        return super().__contains__(key)

    def get(self, key: Any, default_value: Any = None) -> Any:
        """As in any config, for declared keys."""
        self._check(key)
        return super().get(key, default_value)

    def _get_node(self, key: Any, *arguments: Any, **options: Any) -> Any:
        self._check(key)  # OmegaConf.select and whatever walks the nodes
        return super()._get_node(key, *arguments, **options)

    def _check(self, key: object) -> None:
        reads = self.__dict__.get("_reads")
        if reads is None or not isinstance(key, str) or key.startswith("_"):  # being made, or Python's own protocols
            return
        path = f"{self._under}{key}"
        declared = next((read for read in reads if path == read or path.startswith(f"{read}.")), None)
        if declared is not None:
            self._seen.add(declared)
        elif not any(read.startswith(f"{path}.") for read in reads):
            raise UndeclaredReadError(
                f"the stage '{self._stage}' reads '{path}' from its config, which stages.{self._stage}.reads in "
                f"conf/config.yaml does not declare",
                f"add it there, so that it becomes part of the stage's key; {did_you_mean(path, reads)}",
            )
