"""What tokenizers are judged by: codes that live, counts that follow content, places that can be read from codes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lavit.tokenizer.metrics import code_use, kept_counts, place_recovery


def test_code_use_counts_the_living_and_the_dead() -> None:
    use = code_use(torch.tensor([0, 0, 3, 3]), 8)
    assert use == pytest.approx({"codes_used": 2, "codes_used_share": 0.25, "dead_codes": 6, "perplexity": 2})


def test_a_count_that_never_varies_has_no_correlation() -> None:
    objects = {"objects": np.array([1.0, 2.0, 3.0])}
    assert kept_counts(torch.tensor([2, 4, 6]), objects)["kept_corr_objects"] == pytest.approx(1)
    assert "kept_corr_objects" not in kept_counts(torch.tensor([4, 4, 4]), objects)
    assert "kept_corr_objects" not in kept_counts(torch.tensor([2, 4, 6]), {"objects": np.ones(3)})


def test_places_are_read_from_vectors_that_hold_them_and_only_from_those() -> None:
    generator = torch.Generator().manual_seed(0)
    places = torch.randint(16, (2000,), generator=generator)
    images = torch.arange(2000) // 5
    telling = F.one_hot(places, 16).float() @ torch.randn(16, 24, generator=generator)
    assert place_recovery(telling, places, images, 16)["place_recovered"] > 0.99
    silent = place_recovery(torch.randn(2000, 24, generator=generator), places, images, 16)
    assert silent["place_recovered"] == pytest.approx(1 / 16, abs=0.03)
    assert silent["place_guessed"] == pytest.approx(1 / 16, abs=0.03)


def test_one_place_or_one_image_tells_nothing_about_places() -> None:
    vectors, places = torch.randn(4, 3), torch.tensor([0, 1, 0, 1])
    assert place_recovery(vectors, places * 0, torch.arange(4), 1) == {}
    assert place_recovery(vectors, places, torch.zeros(4, dtype=torch.long), 2) == {}
