"""LaVIT: one LLM over text and visual tokens, its visual head, its ways of decoding, and its public protocol."""

from pathlib import Path

from lavit.model.protocol import Drawing, VisionLanguageModel, Visual

__all__ = ["Drawing", "VisionLanguageModel", "Visual", "load"]


def load(folders: dict[str, Path]) -> VisionLanguageModel:
    """A trained arm behind the protocol, from its stages' folders; see :func:`lavit.model.vision_language.load`."""
    from lavit.model.vision_language import load as load_arm

    return load_arm(folders)
