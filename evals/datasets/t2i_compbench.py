"""T2I-CompBench: prompts that bind attributes, place and count objects (Huang et al. 2023, and its ++)."""

from __future__ import annotations

from pathlib import Path

from evals.datasets.dataset import Dataset
from evals.datasets.reading import read_text
from evals.errors import EvaluationError
from lavit.data.protocol import Index

CATEGORIES = ("color", "shape", "texture", "spatial", "3d_spatial", "numeracy", "non_spatial", "complex")
_ADDED = ("3d_spatial", "numeracy")  # by T2I-CompBench++


class T2ICompBench(Dataset):
    """``<category>_val.txt``, one prompt a line; the two categories of ++ may be missing."""

    name = "t2i_compbench"
    title = "T2I-CompBench"
    folder = "t2i_compbench"
    page = "https://github.com/Karine-Huang/T2I-CompBench (examples/dataset)"
    layout = """\
  t2i_compbench/color_val.txt    one prompt a line; so too shape_val.txt, texture_val.txt, spatial_val.txt,
                                 non_spatial_val.txt, complex_val.txt, and of ++ 3d_spatial_val.txt, numeracy_val.txt"""
    known_splits = ("val",)

    @classmethod
    def annotation_files(cls, split: str) -> list[str]:
        """The files that have to be there."""
        return [f"{category}_{split}.txt" for category in CATEGORIES if category not in _ADDED]

    @classmethod
    def fingerprint(cls, root: Path, split: str) -> str:
        """Over all files, those of ++ where they are."""
        added = [f"{category}_{split}.txt" for category in _ADDED]
        present = [name for name in added if (root / cls.folder / name).is_file()]
        return "-".join([super().fingerprint(root, split), *(_stamp(root / cls.folder / name) for name in present)])

    def read(self) -> None:
        """Read all prompts."""
        self._rows: list[tuple[str, int, str]] = []
        for category in CATEGORIES:
            path = self.annotation(f"{category}_{self.split}.txt")
            if category in _ADDED and not path.is_file():
                continue
            lines = [" ".join(line.split()) for line in read_text(path).splitlines() if line.strip()]
            if not lines:
                raise EvaluationError(f"{path} holds no prompt.", f"Copy it again from {self.page}.")
            self._rows += [(category, number, line) for number, line in enumerate(lines)]

    def size(self, split: str) -> int:
        """Number of prompts."""
        return len(self._rows)

    def image_id(self, index: int) -> str:
        """Category and line."""
        category, number, _ = self._rows[index]
        return f"{category}-{number:04d}"

    def image_path(self, index: int) -> Path | None:
        """There are no pictures."""
        return None

    def category(self, index: int) -> str:
        """What the prompt tries."""
        return self._rows[index][0]

    def prompts(self, split: str, index_B: Index) -> list[str]:
        """The lines, white space put straight."""
        return [self._rows[int(index)][2] for index in index_B]


def _stamp(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()
