"""Names as file names, apart from what makes arms: reports name files alike without loading Hydra."""

from __future__ import annotations

import hashlib
import re

LONGEST = 80


def slugify(name: str) -> str:
    """A name as a file name of at most 80 characters: `regime=adapter, llm=frozen` ->
    `regime-adapter_llm-frozen`."""
    text = re.sub(r"[^A-Za-z0-9_.-]+", "-", name.replace(", ", "_")).strip("-.") or "arm"
    return text if len(text) <= LONGEST else marked(text, name)


def marked(slug: str, name: str) -> str:
    """A file name cut short, told from others by a digest of the whole name."""
    return f"{slug[:71]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
