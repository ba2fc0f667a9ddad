"""Pictures inside the page: as data, each once, small, and no more than there is room for."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from itertools import zip_longest
from pathlib import Path
from typing import Any

from reports.examples import Album
from reports.figures.samples import Grid

SMALL = 1_000  # bytes: a PNG up to this size is embedded as it is; a larger one would be four times its WebP
SIDE = 192  # pixels: larger pictures are made this large
QUALITY = 85
ELEMENT = 300  # bytes of what stands around a picture of the grid


class Embedder:
    """Turns pictures into data URIs, each once, while there is room; larger ones become small WebP.

    Args:
        room: bytes of the page that pictures may take.
    """

    def __init__(self, room: int) -> None:
        self.room = room
        self.made: dict[Path, str] = {}

    def embed_all(self, paths: list[Path]) -> bool:
        """Embed these together, or none of them where there is no room for all; whether they are embedded."""
        new = {path: _encode(path) for path in dict.fromkeys(paths) if path not in self.made}
        size = sum(map(len, new.values()))
        if size > self.room:
            return False
        self.made |= new
        self.room -= size
        return True


def _encode(path: Path) -> str:
    raw = path.read_bytes()
    if path.suffix == ".png" and raw[:8] == b"\x89PNG\r\n\x1a\n" and len(raw) <= SMALL:
        return "data:image/png;base64," + base64.b64encode(raw).decode()
    from PIL import Image

    with Image.open(io.BytesIO(raw)) as picture:
        small = picture.convert("RGB")
    small.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    small.save(buffer, format="WEBP", quality=QUALITY, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def embed_grid(grid: Grid | None, embedder: Embedder) -> tuple[Grid | None, Callable[[Path], str], int]:
    """(the grid where there is room for all of its pictures, what gives their data, the room that is left)."""
    paths = [pictures[e] for _, pictures in grid.lines() for e in grid.examples if e in pictures] if grid else []
    fits = embedder.embed_all(paths)
    return grid if fits else None, embedder.made.__getitem__, embedder.room - ELEMENT * len(paths) * fits


def embed_album(album: Album, embedder: Embedder) -> tuple[dict[str, str], int]:
    """(name of a picture -> its data, how many drawings there was no room for).

    Evaluated images come first, then the drawings of whole examples, one of each benchmark in turn. What is not
    embedded is taken out of the album's examples.
    """
    pictures: dict[str, str] = {}
    turns = _in_turn(album.examples)
    for example in turns:
        key = example["image"]
        if key is not None and not _take([key], album, embedder, pictures):
            example["image"] = None
    left = 0
    for example in turns:
        chips = [chip for own in example["arms"] for chip in own if "i" in chip]
        if not _take([chip["i"] for chip in chips], album, embedder, pictures):
            left += len(chips)
            for chip in chips:
                del chip["i"]
    return pictures, left


def _take(keys: list[str], album: Album, embedder: Embedder, pictures: dict[str, str]) -> bool:
    paths = {key: album.pictures[key] for key in keys}
    if not embedder.embed_all(list(paths.values())):
        return False
    pictures |= {key: embedder.made[path] for key, path in paths.items()}
    return True


def _in_turn(examples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first of each benchmark, then the second of each, and so on."""
    by_benchmark: dict[str, list[dict[str, Any]]] = {}
    for example in examples:
        by_benchmark.setdefault(example["benchmark"], []).append(example)
    return [example for turn in zip_longest(*by_benchmark.values()) for example in turn if example is not None]
