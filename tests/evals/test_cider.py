"""CIDEr against its definition and against the official scores."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest

from evals.errors import EvaluationError
from evals.metrics.cider import score_captions

REFERENCES = [
    ["a red circle", "one red circle in the picture"],
    ["two blue squares", "a pair of blue squares"],
    ["nothing at all", "an empty picture"],
]


def test_a_reference_scores_higher_than_another_images_reference() -> None:
    own = score_captions([texts[0] for texts in REFERENCES], REFERENCES)
    other = score_captions([REFERENCES[(i + 1) % 3][0] for i in range(3)], REFERENCES)
    assert (own > 2).all()
    assert (other < 0.2).all()


def test_a_caption_that_was_not_made_has_no_score_but_its_references_count() -> None:
    whole = score_captions([texts[0] for texts in REFERENCES], REFERENCES)
    part = score_captions([REFERENCES[0][0], None, None], REFERENCES)
    assert part[0] == whole[0]
    assert np.isnan(part[1:]).all()


def test_an_empty_caption_scores_zero() -> None:
    assert score_captions(["", "...", "two blue squares"], REFERENCES)[:2].tolist() == [0, 0]


def test_an_image_without_a_reference_is_refused() -> None:
    with pytest.raises(EvaluationError, match=r"positions \[1\]"):
        score_captions(["a", "b"], [["a"], []])
    with pytest.raises(EvaluationError, match="2 captions for 3 images"):
        score_captions(["a", "b"], REFERENCES)


@pytest.mark.parametrize("name", ["coco_karptest_25.vinvl_base", "coco_karptest_500_human_vs_4.human"])
def test_scores_agree_with_the_official_ones_per_image(shared_fixtures, name: str) -> None:
    def read(kind: str):
        return json.loads(gzip.decompress((shared_fixtures / "caption" / f"{kind}.json.gz").read_bytes()))

    expected = read(f"{name}.expected")
    references: dict[int, list[str]] = {}
    for row in read(f"{name.rpartition('.')[0]}.ann")["annotations"]:
        references.setdefault(row["image_id"], []).append(row["caption"])
    said = {row["image_id"]: row["caption"] for row in read(f"{name}.results")}
    order = expected["image_id_order"]
    scores = score_captions([said[image] for image in order], [references[image] for image in order])
    np.testing.assert_allclose(scores, expected["per_image"]["CIDEr"], atol=1e-4)
    assert scores.mean() == pytest.approx(expected["overall"]["CIDEr"], abs=1e-4)
