"""The model: what it predicts, what it keeps from seeing, and that decoding agrees with training."""

import pytest
import torch

from lavit.language import TextTokenizer, build_llm
from lavit.model.decoding import generate_images, generate_text
from lavit.model.draw_settings import DrawSettings
from lavit.model.lavit import LaVIT, build_lavit, place_embeddings, weights_hash
from lavit.model.targets import ContinuousTarget, DiscreteTarget
from lavit.model.text_settings import TextSettings
from lavit.sequences import SequenceBuilder, VisualStore, collate

WIDTH, FEATURES, CODES, DIM, PLACES = 32, 12, 20, 6, 9
GREEDY = DrawSettings(place_temperature=0)
CONFIG = {"width": WIDTH, "layers": 2, "heads": 2, "mlp_width": 48, "max_positions": 128}


@pytest.fixture(scope="module")
def builder() -> SequenceBuilder:
    return SequenceBuilder(TextTokenizer.train(["a red circle and a blue square"] * 5, 64))


@pytest.fixture(scope="module")
def store() -> VisualStore:
    generator = torch.Generator().manual_seed(0)
    counts = [3, 1, 5, 2]
    places = torch.cat([torch.randperm(PLACES, generator=generator)[:n].sort().values for n in counts])
    codebook = codebook_KD()
    codes = torch.randint(0, CODES, (sum(counts),), generator=generator)
    features = torch.randn(sum(counts), FEATURES, generator=generator)
    return VisualStore(features, codebook[codes], codes, places, torch.tensor([0, *counts]).cumsum(0))


def codebook_KD() -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(CODES, DIM, generator=torch.Generator().manual_seed(1)), dim=-1)


def make(
    builder: SequenceBuilder,
    target: type | None,
    implied: bool = False,
    frozen: bool = False,
    positions: str = "place",
) -> LaVIT:
    torch.manual_seed(0)
    llm = build_llm(CONFIG, len(builder.text))
    shape = {"num_places": PLACES, "places_implied": implied, "positions": positions, "feature_dim": FEATURES}
    connector = {"_target_": "lavit.connectors.mlp.MLP"}
    shape["place_patches_MN"] = None if positions == "rank" else torch.eye(PLACES)
    return build_lavit(llm, shape, codebook_KD(), connector, target, not frozen, seed=3).eval()


def test_arms_of_a_seed_share_what_they_have_in_common(builder: SequenceBuilder) -> None:
    discrete, continuous, none = (make(builder, t) for t in (DiscreteTarget, ContinuousTarget, None))
    for other in (continuous, none):
        for name in ("marks.weight", "connector.0.weight", "place.weight"):
            assert torch.equal(discrete.get_parameter(name), other.get_parameter(name))
    assert torch.equal(discrete.get_parameter("head.mix.0.weight"), continuous.get_parameter("head.mix.0.weight"))


@pytest.mark.parametrize("target", [DiscreteTarget, ContinuousTarget])
def test_a_position_does_not_see_the_token_it_predicts(
    builder: SequenceBuilder, store: VisualStore, target: type
) -> None:
    model = make(builder, target)
    batch = collate([builder.generation("a red circle", store.rows(2))])
    with torch.no_grad():
        before = model.hidden(batch, store)
        changed = VisualStore(
            store.features_MC,
            -store.vectors_MD,
            (store.codes_M + 1) % CODES,
            store.places_M,
            torch.tensor([0]),
        )
        changed.vectors_MD[: batch.generated_row[2]] = store.vectors_MD[: batch.generated_row[2]]
        changed.codes_M[: batch.generated_row[2]] = store.codes_M[: batch.generated_row[2]]
        after = model.hidden(batch, changed)
    third = int(batch.generated_at[2])
    assert torch.equal(before[:third], after[:third]), "positions before the changed token must not move"
    assert not torch.allclose(before[third], after[third])


def test_frozen_means_bit_identical_while_the_rest_learns(builder: SequenceBuilder, store: VisualStore) -> None:
    model = make(builder, DiscreteTarget, frozen=True)
    before = weights_hash(model.llm)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1)
    start = model.connector[0].weight.clone()
    batch = collate(
        [builder.caption(store.rows(0), "a red circle"), builder.generation("a blue square", store.rows(2))]
    )
    hidden = model.hidden(batch, store)
    (
        model.text_loss(hidden, batch).sum() + model.visual_loss(hidden[batch.predict_at], batch.predict_row, store)[0]
    ).backward()
    optimizer.step()
    assert weights_hash(model.llm) == before
    assert not torch.equal(model.connector[0].weight, start)


@pytest.mark.parametrize(("positions", "implied"), [("place", False), ("rank", False), ("place", True)])
@pytest.mark.parametrize("target", [DiscreteTarget, ContinuousTarget])
def test_written_images_are_in_raster_order_and_end(
    builder: SequenceBuilder, target: type, positions: str, implied: bool
) -> None:
    model = make(builder, target, implied=implied, positions=positions)
    prompts = [builder.generation(text, None) for text in ("a red circle", "blue", "a blue square and a red circle")]
    written = generate_images(model, prompts, GREEDY)
    for places, mask, vectors in zip(written.places_BK, written.mask_BK, written.vectors_BKD, strict=True):
        kept = places[mask]
        assert len(kept) >= 1 and bool((kept.diff() > 0).all())
        assert torch.allclose(vectors[mask].norm(dim=-1), torch.ones(len(kept)), atol=1e-5)
        if implied:
            assert kept.tolist() == list(range(PLACES))
        if positions == "rank":
            assert kept.tolist() == list(range(len(kept)))


def test_a_batch_writes_what_each_prompt_writes_alone(builder: SequenceBuilder, store: VisualStore) -> None:
    model = make(builder, DiscreteTarget)
    prompts = [builder.caption(store.rows(i), None) for i in range(4)]
    together = generate_text(model, prompts, store, TextSettings(max_new=8), builder.text.eos)
    alone = [generate_text(model, [prompt], store, TextSettings(max_new=8), builder.text.eos)[0] for prompt in prompts]
    assert together == alone
    texts = [builder.generation(text, None) for text in ("a red circle", "blue")]
    both = generate_images(model, texts, GREEDY)
    for row, prompt in enumerate(texts):
        single = generate_images(model, [prompt], GREEDY)
        count = int(single.mask_BK[0].sum())
        assert both.codes_BK[row][both.mask_BK[row]].tolist() == single.codes_BK[0][:count].tolist()


def test_decoding_with_a_cache_agrees_with_the_training_forward(builder: SequenceBuilder, store: VisualStore) -> None:
    model = make(builder, ContinuousTarget)
    prompt = builder.caption(store.rows(1), None)
    written = generate_text(model, [prompt], store, TextSettings(max_new=5), builder.text.eos)[0]
    full = collate([builder.caption(store.rows(1), None).text(written)])
    with torch.no_grad():
        logits = model.llm.lm_head(model.hidden(full, store))
    start = len(prompt.ids) - 1
    assert logits[start : start + len(written)].argmax(-1).tolist() == written


def test_places_start_as_the_sum_of_their_row_and_their_column() -> None:
    torch.manual_seed(0)
    place_MW = place_embeddings(16, 8, torch.eye(16), 1.0).view(4, 4, 8)
    across = place_MW[:, 1:] - place_MW[:, :1]
    assert torch.allclose(across, across[:1].expand_as(across), atol=1e-6)
    assert not torch.allclose(place_MW[0], place_MW[1])
    torch.manual_seed(0)
    pooled = place_embeddings(4, 8, torch.eye(4).repeat_interleave(4, 1) / 4, 1.0)
    assert torch.allclose(pooled, place_MW.reshape(4, 4, 8).mean(1), atol=1e-6)
