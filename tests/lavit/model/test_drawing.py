"""How arms draw: bounds of length, guidance in one batch, prompts that show images, and the best of several."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_arm import BUILDER, CODEBOOK, MODELS, PLACES, PROMPTS, TARGETS, TEXTS, UNPROMPTED, WIDTH
from transformers import DynamicCache

from lavit.errors import LavitError
from lavit.model.decoding import Decoder, embed_prompts, generate_images, generate_text
from lavit.model.draw_settings import DrawSettings
from lavit.model.reranking import best_rows
from lavit.model.text_settings import TextSettings
from lavit.model.vision_language import Arm
from lavit.sequences import collate


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from(sorted(MODELS)),
    low=st.integers(1, PLACES),
    more=st.integers(0, PLACES),
    guidance=st.sampled_from([0.0, 1.0, 2.5]),
    place_temperature=st.sampled_from([0.0, 0.7, 4.0]),
    token_temperature=st.sampled_from([0.0, 1.0]),
    top_k=st.sampled_from([None, 1, 3]),
    top_p=st.sampled_from([1.0, 0.5]),
    seed=st.integers(0, 99),
)
def test_an_image_is_in_raster_order_and_within_its_bounds(
    kind: tuple[str, str], low: int, more: int, seed: int, **rest: float
) -> None:
    high = min(PLACES, low + more)
    draw = DrawSettings(min_tokens=low, max_tokens=low + more, **rest)  # type: ignore[arg-type]
    written = generate_images(MODELS[kind], PROMPTS, draw, torch.Generator().manual_seed(seed), unprompted=UNPROMPTED)
    for places, mask, vectors in zip(written.places_BK, written.mask_BK, written.vectors_BKD, strict=True):
        kept = places[mask]
        assert bool((mask.int().diff() <= 0).all()), "an image that has ended goes on"
        assert (high if kind[1] == "implied" else low) <= len(kept) <= high
        assert bool((kept.diff() > 0).all()) and bool((kept < PLACES).all())
        assert bool(vectors.isfinite().all())


def test_no_image_can_be_longer_than_its_places() -> None:
    with pytest.raises(LavitError, match="min_tokens is 10"):
        generate_images(MODELS["discrete", "place"], PROMPTS, DrawSettings(min_tokens=10))


@torch.no_grad()
@pytest.mark.parametrize("target", TARGETS)
def test_guidance_in_one_batch_is_guidance_in_two_passes(target: str) -> None:
    """The reference: one row, two caches, the formula written out, the same greedy choices."""
    model, scale = MODELS[target, "place"], 2.0
    head = model.head
    written = generate_images(
        model, PROMPTS, DrawSettings(min_tokens=3, place_temperature=0, guidance=scale), unprompted=UNPROMPTED
    )
    for row, prompt in enumerate(PROMPTS):
        caches = [DynamicCache(), DynamicCache()]
        inputs = [embed_prompts(model, [prompt], None)[0], embed_prompts(model, [UNPROMPTED], None)[0]]
        last = torch.tensor([-1])
        for step in range(int(written.mask_BK[row].sum())):
            own, free = (
                model.llm.model(inputs_embeds=x[None], past_key_values=cache).last_hidden_state[:, -1]
                for x, cache in zip(inputs, caches, strict=True)
            )
            scores = [head.place_logits(h, last).log_softmax(-1) for h in (own, free)]
            guided = (scores[1] + scale * (scores[0] - scores[1])).nan_to_num(nan=float("-inf"))
            if step < 3:  # three tokens at least: no end yet, and no place with too few behind it
                guided[:, PLACES - (3 - step) + 1 :] = float("-inf")
            place = written.places_BK[row, step]
            assert int(guided.argmax()) == int(place)
            hidden = [head.token_hidden(h, place[None]) for h in (own, free)]
            if target == "discrete":
                codes = [head.target.logits(h).log_softmax(-1) for h in hidden]
                assert int((codes[1] + scale * (codes[0] - codes[1])).argmax()) == int(written.codes_BK[row, step])
            else:
                vectors = [head.target.head(h) for h in hidden]
                vector = vectors[1] + scale * (vectors[0] - vectors[1])
                vector = torch.nn.functional.normalize(vector, dim=-1)
                assert torch.allclose(vector[0], written.vectors_BKD[row, step], atol=1e-5)
            fed = model.embed_generated(
                written.codes_BK[row, step : step + 1].clamp_min(0),
                written.vectors_BKD[row, step : step + 1],
                place[None],
            )
            inputs, last = [fed, fed], place[None]


def test_guidance_of_one_needs_no_second_half_and_of_zero_forgets_the_prompt() -> None:
    model = MODELS["discrete", "place"]
    plain = DrawSettings(place_temperature=0)
    without = generate_images(model, PROMPTS, plain)
    nearly = DrawSettings(place_temperature=0, guidance=1 + 1e-7)
    assert torch.equal(without.codes_BK, generate_images(model, PROMPTS, nearly, unprompted=UNPROMPTED).codes_BK)
    forgotten = DrawSettings(place_temperature=0, guidance=0)
    free = generate_images(model, PROMPTS, forgotten, unprompted=UNPROMPTED)
    alone = generate_images(model, [UNPROMPTED], plain)
    for row in range(len(PROMPTS)):
        assert torch.equal(free.codes_BK[row], alone.codes_BK[0])


@pytest.mark.parametrize("target", TARGETS)
def test_a_guided_drawing_does_not_depend_on_the_rest_of_its_batch(target: str) -> None:
    draw = DrawSettings(place_temperature=0, guidance=2.0, min_tokens=2)
    together = generate_images(MODELS[target, "place"], PROMPTS, draw, unprompted=UNPROMPTED)
    for row, prompt in enumerate(PROMPTS):
        alone = generate_images(MODELS[target, "place"], [prompt], draw, unprompted=UNPROMPTED)
        count = int(alone.mask_BK[0].sum())
        assert int(together.mask_BK[row].sum()) == count
        assert together.places_BK[row, :count].tolist() == alone.places_BK[0, :count].tolist()
        assert torch.allclose(together.vectors_BKD[row, :count], alone.vectors_BKD[0, :count], atol=1e-5)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"min_tokens": 0}, "min_tokens is 0"),
        ({"min_tokens": 4, "max_tokens": 3}, "max_tokens is 3"),
        ({"top_p": 0}, "top_p is 0"),
        ({"top_k": 0}, "top_k is 0"),
        ({"top_k": 2.5}, "top_k is 2.5"),
        ({"guidance": -1}, "guidance is -1"),
        ({"guidance": "2"}, "guidance is '2'"),
        ({"temperature": 1}, "draw.temperature"),
        ({"best_of": 4, "place_temperature": 0}, "same image every time"),
    ],
)
def test_a_wrong_setting_is_named(wrong: dict[str, object], named: str) -> None:
    with pytest.raises(LavitError, match=named):
        DrawSettings.of(wrong)


def test_a_prompt_of_one_text_is_that_text(arm: Arm) -> None:
    whole, split = arm.draw(TEXTS, 3), arm.draw([[text] for text in TEXTS], 3)
    assert np.array_equal(whole.images, split.images) and np.array_equal(whole.tokens, split.tokens)


def test_a_drawing_depends_on_the_images_of_its_prompt_and_on_no_other_prompt(arm: Arm, pictures: np.ndarray) -> None:
    store = arm.encode(pictures).store
    one, two = store.rows(0), store.rows(1)
    variants = [["blue", one, "red", two], ["blue", two, "red", one], ["blue", "red"]]
    with torch.no_grad():
        hidden_BW = Decoder(arm.model, [BUILDER.drawing(parts, None) for parts in variants], store).hidden_BW
    assert min(float((hidden_BW[a] - hidden_BW[b]).abs().max()) for a, b in ((0, 1), (0, 2), (1, 2))) > 0.01
    prompts = [["blue", pictures[0], "red", pictures[1]], TEXTS[0], ["blue", pictures[0], "red", pictures[1]]]
    every_place = DrawSettings(place_temperature=0, min_tokens=PLACES)
    drawing = arm.draw(prompts, 0, every_place)
    assert np.array_equal(drawing.images[0], drawing.images[2])
    assert np.array_equal(drawing.images[0], arm.draw(prompts[:1], 0, every_place).images[0])


def test_a_prompt_shows_images_between_marks_as_the_tokens_that_the_arm_writes(arm: Arm, pictures: np.ndarray) -> None:
    store = arm.encode(pictures).store
    first, second = store.rows(0), store.rows(1)
    sequence = BUILDER.drawing(["blue", first, "red", second], None)
    text, start, end = BUILDER.text, BUILDER.image_start, BUILDER.image_end
    expected = [text.bos, *text.encode("blue"), start, *[text.pad] * first[1], end, *text.encode("red")]
    expected += [start, *[text.pad] * second[1], end, start]
    assert sequence.ids == expected
    x = embed_prompts(arm.model, [sequence], store)[0]
    at = expected.index(start) + 1
    rows = slice(first[0], first[0] + first[1])
    places, codes = store.places_M[rows], store.codes_M[rows]
    assert torch.equal(x[at : at + first[1]], arm.model.embed_generated(codes, CODEBOOK[codes], places))
    read = embed_prompts(arm.model, [BUILDER.interleaved(["blue", first], written=False)], store)[0]
    assert torch.equal(read[at : at + first[1]], arm.model.embed_entering(store.features_MC[rows], places))


def test_what_a_prompt_shows_is_read_in_training_and_never_predicted(arm: Arm, pictures: np.ndarray) -> None:
    store = arm.encode(pictures).store
    first, second = store.rows(0), store.rows(1)
    batch = collate([BUILDER.drawing(["blue", first], second), BUILDER.generation("red", first)])
    assert len(batch.generated_at) == first[1] + second[1] + first[1]
    assert batch.predict_row.tolist() == [*range(second[0], sum(second)), -1, *range(first[0], sum(first)), -1]
    with torch.no_grad():
        hidden = arm.model.hidden(batch, store).view(2, -1, WIDTH)
        decoder = Decoder(arm.model, [BUILDER.drawing(["blue", first], None)], store)
    position = int(batch.predict_at[0])
    assert torch.allclose(hidden[0, position], decoder.hidden_BW[0], atol=1e-5), "drawing continues what was trained"


def test_text_goes_on_after_texts_and_images(arm: Arm, pictures: np.ndarray) -> None:
    store = arm.encode(pictures).store
    prompts = [BUILDER.interleaved(["blue", store.rows(i), "red"], written=False) for i in range(2)]
    together = generate_text(arm.model, prompts, store, TextSettings(max_new=6), BUILDER.text.eos)
    assert together == [
        generate_text(arm.model, [p], store, TextSettings(max_new=6), BUILDER.text.eos)[0] for p in prompts
    ]


def test_a_part_that_is_neither_text_nor_image_is_refused(arm: Arm) -> None:
    with pytest.raises(LavitError, match=r"float32 \[3, 3, 3\]"):
        arm.draw([["blue", np.zeros((3, 3, 3), np.float32)]], 0)


def test_the_best_of_several_is_the_one_that_the_ranker_likes(arm: Arm) -> None:
    seen = []

    def most_tokens(arm: Arm, prompts: list, features: torch.Tensor) -> torch.Tensor:
        seen.append(list(prompts))
        return (features[..., 0] > 0).sum(1).float()

    draw = {"place_temperature": 2.0, "token_temperature": 1.0}
    single = arm.draw(TEXTS, 0, DrawSettings(**draw))
    best = arm.draw(TEXTS, 0, DrawSettings(**draw, best_of=8), rerank=most_tokens)
    assert seen == [[text for text in TEXTS for _ in range(8)]]
    assert len(best.images) == len(best.tokens) == len(best.features) == 3
    assert (best.tokens >= single.tokens).all() and best.tokens.sum() > single.tokens.sum()


def test_the_arms_own_ranker_is_the_likelihood_of_its_caption(arm: Arm, pictures: np.ndarray) -> None:
    from lavit.model.reranking import caption_likelihood

    features = torch.as_tensor(pictures[..., 0]).flatten(1)[..., None].float()
    with torch.no_grad():
        scores = caption_likelihood(arm, ["a red circle", ["blue", pictures[0]]], features)
        read = arm.read(features)
        for row, text in enumerate(("a red circle", "blue")):
            batch = collate([BUILDER.caption(read.rows()[row], text)])
            nats = arm.model.text_loss(arm.model.hidden(batch, read.store), batch)
            assert float(scores[row]) == pytest.approx(-float(nats.mean()), abs=1e-5)
        with pytest.raises(LavitError, match="without text"):
            caption_likelihood(arm, [[pictures[0]]], features[:1])
    best = arm.draw(TEXTS, 0, DrawSettings(best_of=3))
    assert len(best.images) == 3


def test_of_equals_the_first_is_kept() -> None:
    assert best_rows(torch.tensor([1.0, 1.0, 0.0, 0.0, 2.0, 2.0]), 3).tolist() == [0, 4]
