"""Images with human text: a folder or zip of pictures and a JSONL of texts (``docs/data.md``)."""

from lavit.data.image_text.corpus import ImageText

__all__ = ["ImageText"]
