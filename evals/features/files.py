"""Features and pictures of anyone, read from files.

Suffixes: N rows, D features.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from evals.errors import EvaluationError
from evals.features.extractor import Picture
from evals.metrics.gaussians import Gaussian, check_features, from_features, from_statistics

ENDINGS = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")


def read_arrays(path: Path) -> dict[str, npt.NDArray]:
    """The arrays of a ``.npz``, or that of a ``.npy`` under the name ``features``. Nothing pickled is loaded.

    Raises:
        EvaluationError: no such file, or it is neither.
    """
    if not path.is_file():
        raise EvaluationError(f"{path}: there is no such file.", "Check the path.")
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"features": loaded}
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise EvaluationError(
            f"{path} cannot be read as arrays: {str(error).splitlines()[0] if str(error) else 'it ends early'}",
            "Save it with numpy.save or numpy.savez, real numbers only; is it whole?",
        ) from error


def read_features(path: Path) -> npt.NDArray[np.float64]:
    """Features [N, D] of a ``.npy``, or of a ``.npz`` with one array or one called ``features``.

    Raises:
        EvaluationError: see :func:`read_arrays` and :func:`~evals.metrics.gaussians.check_features`.
    """
    return check_features(_features_of(read_arrays(path), path), str(path))


def read_gaussian(path: Path) -> Gaussian:
    """Mean and covariance of a file of features, or of statistics ``mu`` and ``sigma`` as pytorch-fid saves them.

    Raises:
        EvaluationError: see :func:`read_features` and :func:`~evals.metrics.gaussians.from_statistics`.
    """
    arrays = read_arrays(path)
    if {"mu", "sigma"} <= set(arrays):
        return from_statistics(arrays["mu"], arrays["sigma"], str(path))
    return from_features(_features_of(arrays, path), str(path))


def _features_of(arrays: Mapping[str, npt.NDArray], path: Path) -> npt.NDArray:
    if "features" in arrays:
        return arrays["features"]
    if len(arrays) == 1:
        return next(iter(arrays.values()))
    if {"mu", "sigma"} <= set(arrays):
        raise EvaluationError(f"{path} holds statistics (mu, sigma).", "This metric needs the features themselves.")
    raise EvaluationError(
        f"{path} holds the arrays {', '.join(arrays) or 'none'}; which one is not said.", "Call it features."
    )


def list_pictures(folder: Path) -> list[Path]:
    """The pictures below a folder, in the order of their names.

    Raises:
        EvaluationError: no such folder, or no picture in it.
    """
    if not folder.is_dir():
        raise EvaluationError(f"{folder}: there is no such folder.", "Check the path.")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS and path.is_file())
    if not found:
        raise EvaluationError(f"{folder} holds no pictures.", f"They end in {', '.join(ENDINGS)}.")
    return found


def open_pictures(paths: Sequence[Path]) -> Iterator[Picture]:
    """The pictures as uint8 RGB [H, W, 3], at their own sizes.

    Raises:
        EvaluationError: one cannot be decoded.
    """
    for path in paths:
        try:
            with Image.open(path) as picture:
                pixels = np.asarray(picture.convert("RGB"))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise EvaluationError(f"{path} is not an image that can be read: {error}.", "Is it whole?") from error
        yield pixels
