"""LaVIT: one LLM over text and visual tokens, its visual head, its ways of decoding, and its public protocol."""

from pathlib import Path

from lavit.model.draw_settings import DrawSettings
from lavit.model.protocol import Drawing, Part, Prompt, VisionLanguageModel, Visual
from lavit.model.text_settings import TextSettings

__all__ = ["DrawSettings", "Drawing", "Part", "Prompt", "TextSettings", "VisionLanguageModel", "Visual", "load"]


def load(folders: dict[str, Path]) -> VisionLanguageModel:
    """A trained arm behind the protocol, from its stages' folders; see :func:`lavit.model.vision_language.load`."""
    from lavit.model.vision_language import load as load_arm

    return load_arm(folders)
