"""Reading pictures from a folder or a zip: found by id, checked, and decoded once into one array.

Shapes: B images, H height, W width.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from lavit.errors import LavitError

_SUFFIXES = {".png", ".jpg", ".jpeg"}
_BAD_IMAGE = (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError)


class Pictures:
    """The PNG and JPEG files of a folder (with its subfolders) or of a zip, by file name without suffix.

    Args:
        path: the folder or zip.

    Raises:
        LavitError: there is nothing, nothing of that kind, or two files of one name.
    """

    def __init__(self, path: Path):
        self.path = path
        self._zipped = path.is_file()
        if not path.exists():
            raise LavitError(
                f"data.images: there is no folder or zip {path}.",
                "Give the pictures: data.images=DIR or FILE.zip.",
            )
        self._files: dict[str, str] = {}
        for name in self._names():
            file = PurePosixPath(name)
            if file.suffix.lower() not in _SUFFIXES or any(p.startswith((".", "__MACOSX")) for p in file.parts):
                continue
            if file.stem in self._files:
                raise LavitError(
                    f"{path}: {self._files[file.stem]} and {name} have one id, {file.stem!r}.",
                    "Rename one: a picture is found by its file name without suffix.",
                )
            self._files[file.stem] = name
        if not self._files:
            raise LavitError(f"{path} holds no PNG or JPEG file.", "Give the folder or zip that holds the pictures.")

    def _names(self) -> list[str]:
        if not self._zipped:
            return sorted(p.relative_to(self.path).as_posix() for p in self.path.rglob("*") if p.is_file())
        try:
            with zipfile.ZipFile(self.path) as archive:
                return sorted(entry.filename for entry in archive.infolist() if not entry.is_dir())
        except (zipfile.BadZipFile, OSError) as error:
            raise LavitError(
                f"data.images: {self.path} is neither a folder nor a readable zip ({error}).",
                "Give one of the two.",
            ) from error

    def __len__(self) -> int:
        return len(self._files)

    def __contains__(self, identity: str) -> bool:
        return identity in self._files

    def check(self, ids: list[str]) -> None:
        """Refuse any of ``ids`` whose file does not begin like an image; pixels are not decoded yet."""
        with _Reader(self.path, self._zipped) as reader:
            for identity in ids:
                name = self._files[identity]
                try:
                    Image.open(io.BytesIO(reader.read(name, 4096)))
                except UnidentifiedImageError:
                    # Some headers are longer than that; the whole file decides.
                    self._open(reader, name)

    def decode(
        self, ids: list[str], side: int, ground: tuple[int, int, int]
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32] | None]:
        """All pictures of ``ids`` at ``side`` x ``side`` pixels, on ``ground`` where transparent or not
        square.

        Returns:
            uint8 [B, H, W, 3], and the opacity in 0..1 [B, H, W]; None where no picture has any transparency.

        Raises:
            LavitError: naming the file that is not an image.
        """
        images = np.empty((len(ids), side, side, 3), dtype=np.uint8)
        opacity = np.ones((len(ids), side, side), dtype=np.float32)
        with _Reader(self.path, self._zipped) as reader:
            for row, identity in enumerate(ids):
                picture = self._open(reader, self._files[identity])
                long = max(picture.size)
                canvas = Image.new("RGBA", (long, long), (*ground, 0))
                canvas.paste(picture, ((long - picture.width) // 2, (long - picture.height) // 2))
                flat = Image.new("RGBA", canvas.size, (*ground, 255))
                flat.alpha_composite(canvas)
                images[row] = np.asarray(_resize(flat.convert("RGB"), side))
                opacity[row] = np.asarray(_resize(canvas.getchannel("A"), side), dtype=np.float32) / 255
        return images, opacity if (opacity < 0.5).any() else None

    def _open(self, reader: _Reader, name: str) -> Image.Image:
        try:
            return Image.open(io.BytesIO(reader.read(name))).convert("RGBA")
        except _BAD_IMAGE as error:
            where = f"{self.path}: {name}" if self._zipped else str(self.path / name)
            # Pillow's own words for bytes that are no image name a buffer in memory; a broken image's say what broke.
            why = "" if isinstance(error, UnidentifiedImageError) else f": {error}"
            message = f"{where} is not an image that can be read{why}."
            raise LavitError(message, "Replace it, or remove it with its row.") from error


class _Reader:
    """Bytes of files, from a folder or from a zip that stays open meanwhile."""

    def __init__(self, path: Path, zipped: bool):
        self.path = path
        self.archive = zipfile.ZipFile(path) if zipped else None

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *_: object) -> None:
        if self.archive:
            self.archive.close()

    def read(self, name: str, most: int = -1) -> bytes:
        if self.archive:
            try:
                with self.archive.open(name) as file:
                    return file.read(most)
            except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
                raise LavitError(f"{self.path}: {name} cannot be unpacked: {error}.", "Make the zip anew.") from error
        with (self.path / name).open("rb") as file:
            return file.read(most)


def _resize(picture: Image.Image, side: int) -> Image.Image:
    shrinks = picture.width >= side
    return picture.resize((side, side), Image.Resampling.BOX if shrinks else Image.Resampling.BICUBIC)
