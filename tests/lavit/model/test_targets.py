"""What holds for every target: nothing leaks, decoding is training step by step, nothing reaches what is regressed."""

from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tiny_targets import (
    BUILDER,
    CODES,
    FEATURES,
    LEGAL,
    MLP,
    READOUT,
    SLOTS,
    TARGETS,
    WIDTH,
    make,
    store_for,
    target_of,
)

from lavit.errors import LavitError
from lavit.model.decoding import embed_prompts, generate_images
from lavit.model.draw_settings import DrawSettings
from lavit.model.targets import ImageShape
from lavit.model.targets.cosine import CosineTarget
from lavit.model.targets.emu import EmuTarget
from lavit.model.targets.feature import FeatureTarget
from lavit.sequences import collate

PROMPTS = [BUILDER.generation(text, None) for text in ("a red circle", "blue")]
GREEDY = DrawSettings(place_temperature=0, min_tokens=2)


@pytest.mark.parametrize("target", LEGAL)
@torch.no_grad()
def test_what_is_fed_in_next_does_not_move_a_prediction(target: str) -> None:
    model = make(target)
    store = store_for(model)
    batch = collate([BUILDER.generation("a red circle", store.written(2))])
    x_BTW = model.embed(batch, store)
    for step, at in enumerate(batch.predict_at.tolist()[:-1]):
        moved = x_BTW.clone()
        moved[0, at + 1 :] += 1.0
        here, there = (model.llm.model(inputs_embeds=x).last_hidden_state[0] for x in (x_BTW, moved))
        assert torch.equal(here[: at + 1], there[: at + 1]), step
        assert not torch.allclose(here[at + 1], there[at + 1])


@pytest.mark.parametrize("target", [name for name in LEGAL if name != "emu"])
@torch.no_grad()
def test_an_input_holds_nothing_of_the_token_after_it(target: str) -> None:
    model = make(target)
    store = store_for(model)
    first, count = store.written(2)
    batch = collate([BUILDER.generation("a red circle", (first, count))])
    before = model.embed(batch, store)[0]
    row = first + 2
    store.codes_M[row] = (store.codes_M[row] + 1) % CODES
    store.vectors_MD[row] *= -1
    store.features_MC[row] *= -1
    after = model.embed(batch, store)[0]
    changed = int(batch.generated_at[2])
    assert torch.equal(before[:changed], after[:changed])
    assert not torch.allclose(before[changed], after[changed])


@pytest.mark.parametrize("guidance", [1.0, 2.0])
@pytest.mark.parametrize("target", LEGAL)
@torch.no_grad()
def test_decoding_with_a_cache_predicts_what_training_does(target: str, guidance: float) -> None:
    """Feed what was written, all at once, and predict each of its tokens again."""
    model = make(target)
    head, settings = model.head, DrawSettings(place_temperature=0, min_tokens=2, guidance=guidance)
    assert head is not None
    unprompted = BUILDER.drawing([], None)
    written = generate_images(model, PROMPTS, settings, unprompted=unprompted)
    for row, prompt in enumerate(PROMPTS):
        count = int(written.mask_BK[row].sum())
        codes, vectors = written.codes_BK[row, :count], written.vectors_BKD[row, :count]
        places = written.places_BK[row, :count]
        fed = model.embed_generated(codes.clamp_min(0), vectors, places)
        hidden = []
        for start in (prompt, unprompted):
            x_TW = torch.cat([embed_prompts(model, [start], None)[0], fed])
            hidden_TW = model.llm.model(inputs_embeds=x_TW[None]).last_hidden_state[0]
            predicts = hidden_TW[len(start.ids) - 1 :][:count]
            hidden.append(head.token_hidden(predicts, places))
        unguided = None if guidance == 1 else hidden[1]
        again_codes, again = head.target.choose(hidden[0], model.codebook_KD, settings, None, unguided)
        assert torch.allclose(again, vectors, atol=1e-4)
        assert again_codes.tolist() == codes.tolist()


@pytest.mark.parametrize("target", LEGAL)
def test_no_gradient_reaches_what_is_regressed(target: str) -> None:
    model = make(target)
    store = store_for(model)
    store.vectors_MD.requires_grad_()
    store.features_MC.requires_grad_()
    batch = collate([BUILDER.generation("blue", store.written(i)) for i in range(4)])
    hidden = torch.randn(len(batch.predict_at), WIDTH, requires_grad=True)
    model.visual_loss(hidden, batch.predict_row, store)[0].backward()
    assert hidden.grad is not None and float(hidden.grad.abs().sum()) > 0
    assert store.vectors_MD.grad is None and store.features_MC.grad is None
    assert model.connector is not None and all(p.grad is None for p in model.connector.parameters())


@pytest.mark.parametrize(
    ("target", "error"),
    [
        ("continuous", lambda p, v, f: (p - v).square().sum(-1)),
        ("cosine", lambda p, v, f: 1 - F.cosine_similarity(p, v, dim=-1)),
        ("cosine of features", lambda p, v, f: 1 - F.cosine_similarity(p, f, dim=-1)),
        ("feature", lambda p, v, f: (p - f).square().sum(-1) / FEATURES),
    ],
)
@torch.no_grad()
def test_a_loss_is_the_formula_of_its_paper(target: str, error: object) -> None:
    model = make(target)
    store, head = store_for(model), model.head
    assert head is not None
    batch = collate([BUILDER.generation("blue", store.written(2))])
    hidden = torch.randn(len(batch.predict_at), WIDTH)
    rows = batch.predict_row[:-1]
    predicted = head.target.head(head.token_hidden(hidden[:-1], store.places_M[rows]))
    expected = error(predicted, store.vectors_MD[rows], store.features_MC[rows]).mean()  # type: ignore[operator]
    assert torch.allclose(model.visual_loss(hidden, batch.predict_row, store)[1]["token"], expected, atol=1e-5)


def test_projections_of_a_feature_have_no_bias_and_those_of_other_vectors_do() -> None:
    for target, bias in (("feature", False), ("cosine", True), ("continuous", True)):
        model = make(target)
        assert model.vector_in is not None and (model.vector_in.bias is not None) == bias
        assert (target_of(model).head.bias is not None) == bias
    assert make("emu").vector_in is None and make("discrete").vector_in is None


@pytest.mark.parametrize(
    ("target", "width", "features", "head", "projector"),
    [
        (FeatureTarget, 6656, 1792, 6656 * 1792, 1792 * 6656),  # Emu2: project_down and project_up
        (partial(EmuTarget, readout=READOUT), 5120, 1408, 5120 * 5120, 0),  # Emu: d to d, and fed back as it is
        (partial(CosineTarget, space="feature"), 4096, 1152, 4096 * 1152 + 1152, 1152 * 4096 + 4096),  # MetaMorph
    ],
)
def test_heads_have_the_sizes_of_their_papers(
    target: Any, width: int, features: int, head: int, projector: int
) -> None:
    with torch.device("meta"):
        made = target(ImageShape(width, torch.empty(16384, 32), features, 256, 32))
        back = made.projector()
    assert sum(p.numel() for p in made.head.parameters()) == head
    assert sum(p.numel() for p in back.parameters()) == projector if projector else back is None


@torch.no_grad()
def test_what_a_cosine_feeds_back_has_one_length() -> None:
    for target, length in (("cosine", 1.0), ("cosine of features", FEATURES**0.5)):
        model = make(target)
        store = store_for(model)
        fed = target_of(model).vectors(store, slice(None))
        written = generate_images(model, PROMPTS, GREEDY).vectors_BKD
        for vectors in (fed, written):
            assert torch.allclose(vectors.norm(dim=-1), torch.tensor(length), atol=1e-4)


@pytest.mark.parametrize("target", ["continuous", "cosine", "feature"])
def test_what_nothing_would_end_is_refused(target: str) -> None:
    without = partial(TARGETS[target], end="full")
    with pytest.raises(LavitError, match="nothing would end an image"):
        make(without, implied=False)
    head = make(without, implied=True).head
    assert head is not None and head.place_head is None


def test_options_that_there_are_not_are_named() -> None:
    for options, named in (({"space": "pixels"}, "space"), ({"layers": 3}, "layers"), ({"end": "never"}, "end")):
        with pytest.raises(LavitError, match=named):
            make(partial(CosineTarget, **options))  # type: ignore[arg-type]
    with pytest.raises(LavitError, match="causal_former"):
        make(partial(EmuTarget, readout={}), connector=MLP)
    with pytest.raises(LavitError, match="collapses"):
        make(partial(EmuTarget, readout={}, stop_gradient=False), connector=FORMER_OF_4, implied=True)


FORMER_OF_4 = {
    "_target_": "lavit.connectors.causal_former.CausalFormer",
    "tokens": SLOTS,
    "depth": 1,
    "hidden": 16,
    "heads": 2,
}
