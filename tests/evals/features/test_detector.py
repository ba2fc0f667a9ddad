"""Objects in images, by models of both kinds, and their colours."""

from __future__ import annotations

import numpy as np
import pytest
from t2i_files import write_clip, write_detector, write_segmenter

from evals.errors import EvaluationError
from evals.features.clip import ClipFeatures
from evals.features.colours import ColourNames, cut_out
from evals.features.detector import Detector, Found
from evals.metrics.geneval import COLOURS

PICTURE = np.random.default_rng(0).integers(0, 255, (20, 24, 3), np.uint8)


@pytest.mark.parametrize("write", [write_detector, write_segmenter])
def test_objects_have_geneval_names_and_boxes_in_the_pictures_own_pixels(tmp_path, write) -> None:
    detector = Detector(write(tmp_path))
    assert set(detector.classes.values()) == {"bench", "bus", "computer mouse"}
    found = detector.detect(PICTURE, 0.0)
    items = [item for group in found.values() for item in group]
    assert items and found.keys() <= {"bench", "bus", "computer mouse"}
    for item in items:
        assert 0 <= item.row[4] <= 1
        if write is write_segmenter:
            assert item.mask_HW is not None and item.mask_HW.shape == (20, 24)
            left, top, right, bottom = (int(edge) for edge in item.row[:4])
            assert item.mask_HW.sum() == item.mask_HW[top:bottom, left:right].sum()
            assert item.mask_HW[top].any() and item.mask_HW[:, right - 1].any()
    assert detector.detect(PICTURE, 1.0) == {}


def test_an_object_is_cut_out_by_its_mask_before_its_colour_is_named(tmp_path) -> None:
    mask = np.zeros((20, 24), bool)
    mask[5:9, 6:12] = True
    shown = cut_out(PICTURE, Found((5.0, 4.0, 13.0, 10.0, 0.9), mask))
    assert shown.shape == (6, 8, 3) and (shown[0] == 0x99).all()
    assert (shown[1:5, 1:7] == PICTURE[5:9, 6:12]).all()
    outside = cut_out(PICTURE, Found((-5.0, -3.0, 40.0, 0.2, 0.9), None))
    assert outside.shape == (1, 24, 3)
    colours = ColourNames(ClipFeatures(write_clip(tmp_path)))
    assert colours.name(PICTURE, Found((5.0, 4.0, 13.0, 10.0, 0.9), mask), "bus") in COLOURS


def test_a_folder_without_a_detector_is_refused(tmp_path) -> None:
    with pytest.raises(EvaluationError, match="There is no folder"):
        Detector(tmp_path / "none")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(EvaluationError, match="holds no detector that transformers can read"):
        Detector(tmp_path)
