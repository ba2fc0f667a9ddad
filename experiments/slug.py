"""Names as file names: what a report needs of an arm without importing what makes arms."""

from __future__ import annotations

import hashlib
import re


def slugify(name: str) -> str:
    """A name as a file name of at most 80 characters: `regime=adapter, llm=frozen` ->
    `regime-adapter_llm-frozen`."""
    text = re.sub(r"[^A-Za-z0-9_.-]+", "-", name.replace(", ", "_")).strip("-.") or "arm"
    return text if len(text) <= 80 else f"{text[:71]}-{short_digest(name)}"


def short_digest(name: str) -> str:
    """Eight characters that tell two names apart where their beginnings do not."""
    return hashlib.sha256(name.encode()).hexdigest()[:8]
