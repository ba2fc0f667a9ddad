"""Files of weights: are they there, and which are they?"""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

from evals.errors import EvaluationError

INCEPTION_PAGE = "https://github.com/mseitzer/pytorch-fid/releases (pt_inception-2015-12-05-6726825d.pth)"
CLIP_PAGE = "https://huggingface.co/openai/clip-vit-large-patch14-336 (or clip-vit-base-patch32, CLIPScore's own)"


def content_hash(path: Path) -> str:
    """A hash over the bytes of a file, or over names and bytes of the files in a folder.

    Raises:
        EvaluationError: there is nothing.
    """
    if not path.exists():
        raise EvaluationError(f"{path}: there is no such file.", "Copy it there, or name another path.")
    files = [path] if path.is_file() else sorted(part for part in path.iterdir() if part.is_file())
    return _hash(tuple((file, file.stat().st_size, file.stat().st_mtime_ns) for file in files), path.is_dir())


@functools.cache  # gigabytes, asked for by several benchmarks; size and time tell a changed file
def _hash(files: tuple[tuple[Path, int, int], ...], named: bool) -> str:
    digest = hashlib.sha256()
    for file, size, _ in files:
        if named:
            digest.update(f"{file.name}\0{size}\0".encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
