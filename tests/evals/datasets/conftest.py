"""A data.root with every caption dataset in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from caption_files import make_coco, make_flickr30k, make_nocaps


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Small enough to be made anew for each test, which may break it."""
    folder = tmp_path / "data"
    make_coco(folder)
    make_flickr30k(folder)
    make_nocaps(folder)
    return folder
