"""Weights of a released checkpoint into a model of transformers, with nothing missing and nothing run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lavit.errors import LavitError
from lavit.released_files import weight_files


def load_released(kind: Any, key: str, folder: Path, config: Any, unused: tuple[str, ...] = (), **options: Any) -> Any:
    """A model of transformers with the weights of a folder, read from safetensors alone.

    Args:
        kind: one of transformers' ``Auto…`` classes.
        key: of the config that names the folder, for messages.
        folder: of the checkpoint.
        config: of the model.
        unused: parts of names of tensors that may be missing, because nobody will use them.
        options: further arguments of ``from_pretrained``.

    Raises:
        LavitError: there are no safetensors, or tensors are missing or misshapen.
    """
    weight_files(key, folder)
    try:
        with quiet():
            model, report = kind.from_pretrained(
                folder,
                config=config,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
                **options,
            )
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        raise refusal(key, folder, error) from error
    for what in ("missing", "mismatched"):
        names = sorted(str(name) for name in report.get(f"{what}_keys") or ())
        if names := [name for name in names if not any(part in f".{name}" for part in unused)]:
            raise LavitError(
                f"{key}={folder}: {len(names)} tensors are {what}: {', '.join(names[:4])}{' …' if names[4:] else ''}",
                "config.json and weights do not belong together",
            )
    return model


def refusal(key: str, folder: Path, error: Exception) -> LavitError:
    """What transformers has against a checkpoint, as one of our errors."""
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    if "attention" in reason.lower() or "attn" in reason.lower():
        return LavitError(f"{key}={folder}: {reason}", "set language.attention=eager, which every architecture has")
    return LavitError(f"{key}={folder}: {reason}", "is the checkpoint whole, and of a kind that is supported?")


@contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' bars and lists: what a part of a checkpoint leaves unused is meant."""
    from transformers.utils import logging

    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()
