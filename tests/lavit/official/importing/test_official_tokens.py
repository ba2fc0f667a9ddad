"""The imported release at the level of tokens: likelihoods are those of its own language model."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lavit.checkpoint import open_checkpoint
from lavit.official.importing import import_official

from .conftest import TEXT


def test_a_likelihood_is_the_language_model_s_own(release, tmp_path) -> None:
    for name, state in release.files.items():
        release.files[name] = {key: value * 0.2 for key, value in state.items()}
    import_official(release.write(), tmp_path / "out")
    model = open_checkpoint(tmp_path / "out").model
    model.llm.float()  # half precision would round differently where a row is padded differently
    image = np.random.default_rng(1).integers(0, 256, (28, 28, 3), dtype=np.uint8)
    prompts = [["a", image, "dog"], "a dog", [image, "a"]]
    found = model.loglikelihood(prompts, [" dog a", " a", " dog dog dog"])
    for prompt, continuation, (total, greedy) in zip(prompts, ([4, 3], [3], [4, 4, 4]), found, strict=True):
        pieces = model.pieces([prompt])[0]
        inputs = model.reader.read([[*pieces, continuation]])  # nothing stands in front, as published
        logits = model.llm(inputs_embeds=inputs.embeds_BSD, attention_mask=inputs.mask_BS).logits[0, :, :TEXT].float()
        own = logits[-len(continuation) - 1 : -1].double().log_softmax(-1)
        wanted = float(own.gather(1, torch.tensor(continuation)[:, None]).sum())
        assert total == pytest.approx(wanted, abs=1e-4)
        assert greedy == (own.argmax(-1).tolist() == continuation)
