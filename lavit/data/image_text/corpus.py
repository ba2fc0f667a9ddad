"""Images with human text as a corpus (``lavit.data.protocol.Corpus``).

Names are captions and prompts; groups and keywords are questions. There are no dense labels and no exact
judge: the vision stage learns without labels, and generation is judged in feature space.

Shapes: B images, H height, W width, N patches in raster order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lavit.data.image_text import texts as said
from lavit.data.image_text.pictures import Pictures
from lavit.data.image_text.rows import SPLITS, Row, read_rows
from lavit.data.protocol import Images, Index, Question
from lavit.errors import LavitError


class ImageText:
    """A folder or zip of pictures and a JSONL of texts; ``docs/data.md`` has the format.

    Rows and files are checked when it is made; pixels are decoded when the first image is asked for, all at
    once.

    Args:
        images: folder or zip of PNG and JPEG files, named by id.
        texts: JSONL with id, name, keywords, group and the split field.
        split_key: the field that says train, val or test.
        image_size: side in pixels that every picture is brought to.
        ground: [red, green, blue] under transparent pixels and beside pictures that are not square.
        keywords_in_reference: most keywords of the second reference caption; 0 for the name alone.
        keyword_count: a keyword is asked for if at least this many train rows have it.
        seed: decides which questions are asked.
        name: the corpus in reports.

    Raises:
        LavitError: a path, row or picture that will not do, with what to do about it.
    """

    channels = 3
    preprocessing = "padded to a square, box where it shrinks, else bicubic"  # part of a result's fingerprint

    def __init__(
        self,
        *,
        images: str | None,
        texts: str | None,
        split_key: str = "split",
        image_size: int = 32,
        ground: Sequence[int] = (255, 255, 255),
        keywords_in_reference: int = 6,
        keyword_count: int = 10,
        seed: int = 0,
        name: str = "image_text",
    ):
        if not images or not texts:
            missing = "data.images" if not images else "data.texts"
            raise LavitError(
                f"data=image_text needs {missing}.", "Say where: data.images=DIR|ZIP data.texts=FILE.jsonl."
            )
        if image_size < 4:
            raise LavitError(f"data.image_size={image_size} is too small.", "Give the side in pixels, e.g. 32.")
        self.name, self.image_size, self.seed = name, int(image_size), seed
        self.ground = (int(ground[0]), int(ground[1]), int(ground[2]))
        self.keywords_in_reference = keywords_in_reference
        self.texts_path = Path(texts).expanduser()
        rows = read_rows(self.texts_path, split_key)
        self.pictures = Pictures(Path(images).expanduser())
        for row in rows:
            if row.id not in self.pictures:
                raise LavitError(
                    f"{self.texts_path}, line {row.line}: {images} has no picture for the id {row.id!r}.",
                    f"Add {row.id}.png or {row.id}.jpg, or remove the row.",
                )
        self.pictures.check([row.id for row in rows])
        self._rows = {split: [row for row in rows if row.split == split] for split in SPLITS}
        self._questioner = said.Questioner(self._rows["train"], keyword_count, seed)
        self._pixels: dict[str, tuple[Images, NDArray[np.float32] | None]] | None = None

    def splits(self) -> list[str]:
        """``train``, ``val`` and ``test``."""
        return list(SPLITS)

    def size(self, split: str) -> int:
        """Number of rows of ``split``."""
        return len(self._split(split))

    def rows(self, split: str, index_B: Index) -> list[Row]:
        """The rows at ``index_B``, in the order of the file.

        Raises:
            IndexError: an index outside the split.
        """
        rows = self._split(split)
        index_B = np.asarray(index_B, dtype=np.int64).reshape(-1)
        if len(index_B) and (index_B.min() < 0 or index_B.max() >= len(rows)):
            raise IndexError(f"index {index_B.min()}..{index_B.max()} outside split {split!r} of {len(rows)}")
        return [rows[i] for i in index_B.tolist()]

    def _split(self, split: str) -> list[Row]:
        if split not in self._rows:
            raise LavitError(f"{self.name} has no split {split!r}.", f"Splits: {', '.join(SPLITS)}.")
        return self._rows[split]

    def decoded(self) -> dict[str, tuple[Images, NDArray[np.float32] | None]]:
        """Pixels and opacity of every split, decoded at the first call."""
        if self._pixels is None:
            ids = [row.id for split in SPLITS for row in self._rows[split]]
            pixels, opacity = self.pictures.decode(ids, self.image_size, self.ground)
            self._pixels, start = {}, 0
            for split in SPLITS:
                part = slice(start, start + len(self._rows[split]))
                self._pixels[split] = pixels[part], None if opacity is None else opacity[part]
                start = part.stop
        return self._pixels

    def images(self, split: str, index_B: Index) -> Images:
        """uint8 [B, H, W, 3]."""
        self.rows(split, index_B)
        return self.decoded()[split][0][np.asarray(index_B, dtype=np.int64).reshape(-1)]

    def captions(self, split: str, index_B: Index) -> list[list[str]]:
        """The name; then the name with keywords, where there are any."""
        return [said.references(row, self.keywords_in_reference) for row in self.rows(split, index_B)]

    def prompts(self, split: str, index_B: Index) -> list[str]:
        """The names."""
        return [row.name for row in self.rows(split, index_B)]

    def questions(self, split: str, index_B: Index, per_image: int) -> list[list[Question]]:
        """The group, and keywords with as many yes as no."""
        return self._questioner.ask(split, index_B, self.rows(split, index_B), per_image)

    def documents(self, split: str, index_B: Index) -> list[str]:
        """Names, with keywords or group."""
        return said.documents(split, index_B, self.rows(split, index_B), self._questioner)

    def grounded(self, split: str, index_B: Index, per_image: int = 4) -> list[tuple[str, list[Question]]]:
        """Name, group and keywords in one line, and questions that it answers."""
        rows = self.rows(split, index_B)
        asked = self._questioner.ask(split, index_B, rows, per_image, mark="g")
        return [(said.description(row, self._questioner), q) for row, q in zip(rows, asked, strict=True)]

    def patch_labels(self, split: str, index_B: Index, patch: int) -> None:
        """None: nobody has labelled the patches."""
        return None

    def object_patches(self, split: str, index_B: Index, patch: int) -> NDArray[np.bool_] | None:
        """[B, N]: patches of which at least a twentieth is opaque; None if no picture has transparency."""
        shown = self._opacity(split, index_B)
        if shown is None:
            return None
        if self.image_size % patch:
            raise ValueError(f"patches of {patch} px do not tile an image of {self.image_size} px")
        across = self.image_size // patch
        blocks = shown.reshape(len(shown), across, patch, across, patch).mean((2, 4))
        occupied: NDArray[np.bool_] = blocks.reshape(len(shown), -1) >= 0.05
        return occupied

    def complexity(self, split: str, index_B: Index) -> dict[str, NDArray[np.float64]]:
        """``area``: the opaque share of each picture; nothing if no picture has transparency."""
        shown = self._opacity(split, index_B)
        return {} if shown is None else {"area": shown.mean((1, 2), dtype=np.float64)}

    def _opacity(self, split: str, index_B: Index) -> NDArray[np.float32] | None:
        opacity = self.decoded()[split][1]
        return None if opacity is None else opacity[np.asarray(index_B, dtype=np.int64).reshape(-1)]

    def scene_judge(self) -> None:
        """None: generation is judged against the real image, in feature space."""
        return None

    def describe(self) -> str:
        """One line for the report."""
        counts = ", ".join(f"{len(rows)} {split}" for split, rows in self._rows.items())
        groups = Counter(row.group for rows in self._rows.values() for row in rows)
        return (
            f"{self.name}: {self.texts_path.name} with {self.pictures.path.name} "
            f"at {self.image_size} px, {counts}, "
            f"{len(groups)} groups, {len(self._questioner.frequent)} keywords asked for"
        )
