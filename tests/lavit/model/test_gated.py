"""Gated cross-attention: what a position sees, that closed gates are not there, and that decoding agrees."""

import copy
from collections import Counter

import numpy as np
import pytest
import torch
from gated_arm import CONNECTORS, make, store_of
from tiny_arm import BUILDER, CODES, FEATURES, TEXTS
from written_alone import written_alone

from lavit.errors import LavitError
from lavit.model.decoding import embed_prompts, generate_text, see_prompts
from lavit.model.gated import GatedBlock, Gates, View, looking
from lavit.model.lavit import LaVIT, weights_hash
from lavit.model.text_settings import TextSettings
from lavit.sequences import Sequence, VisualStore, collate, join

BEAMS = TextSettings(beams=3, min_new=1, max_new=7)
SETTINGS = pytest.mark.parametrize("settings", [TextSettings(max_new=7), BEAMS], ids=["greedy", "beams"])


def between(store: VisualStore, *parts: str | int) -> Sequence:
    """Texts and images (by number) as they come."""
    rows = [part if isinstance(part, str) else store.entering(part) for part in parts]
    return BUILDER.interleaved(rows, written=False)


def hidden(model: LaVIT, sequence: Sequence, store: VisualStore | None) -> torch.Tensor:
    with torch.no_grad():
        return model.hidden(collate([sequence]), store)


def changed(store: VisualStore, image: int) -> VisualStore:
    """The same images, but for one that shows something else."""
    first, count = store.rows(image)
    other = copy.copy(store)
    other.features_MC, other.codes_M = store.features_MC.clone(), store.codes_M.clone()
    other.features_MC[first : first + count] = 3.0
    other.codes_M[first : first + count] = (store.codes_M[first : first + count] + 1) % CODES
    return other


@pytest.mark.parametrize("connector", CONNECTORS)
def test_closed_gates_are_the_language_model_bit_for_bit(connector: str) -> None:
    model = make("gated", connector)
    store = store_of(model)
    rows = [
        between(store, "blue", 0, TEXTS[2], 1, "green"),
        between(store, 2, "a red circle"),
        BUILDER.document("blue"),
    ]
    batch = collate(rows)
    with torch.no_grad():
        bare = make("in_sequence").llm.model(inputs_embeds=model.embed(batch, store)).last_hidden_state
        assert torch.equal(model.hidden(batch, store), bare.flatten(0, 1))
    told = generate_text(model, rows, store, BEAMS, BUILDER.text.eos)
    plain = make("in_sequence", connector)  # knows nothing of images beside: it reads the marks alone
    blind = [Sequence(row.ids, row.supervised) for row in rows]
    assert told == generate_text(plain, blind, None, BEAMS, BUILDER.text.eos)
    logits = []
    for one in (model, plain):  # decoding with a cache, step by step
        seen: list[torch.Tensor] = []
        hook = one.llm.lm_head.register_forward_hook(lambda _, __, out, seen=seen: seen.append(out))
        generate_text(one, rows if one is model else blind, store, TextSettings(max_new=5), BUILDER.text.eos)
        hook.remove()
        logits.append(seen)
    assert len(logits[0]) > 2 and all(torch.equal(a, b) for a, b in zip(*logits, strict=True))


@pytest.mark.parametrize("connector", CONNECTORS)
def test_a_position_sees_the_last_image_before_it_and_no_other(connector: str) -> None:
    model = make("gated", connector, opened=0.7)
    # One layer, so that what a position knows of earlier images through the sequence does not hide what it sees.
    del model.llm.model.layers[1:]
    model.llm.config.num_hidden_layers = 1
    store = store_of(model)
    sequence = between(store, "blue", 0, "a red circle", 1, "green")
    first, second = (position for position, _, _ in sequence.enters)
    assert sequence.seen().tolist() == [-1] * first + [store.entering(0)[0]] * (second - first) + [
        store.entering(1)[0]
    ] * (len(sequence.ids) - second)
    states: list[torch.Tensor] = []
    model.llm.model.layers[0].register_forward_pre_hook(
        lambda _, args, kwargs: states.append(args[0]), with_kwargs=True
    )
    for images in (store, changed(store, 0), changed(store, 1), changed(store, 2)):
        hidden(model, sequence, images)
    base, zero, one, none = (state[0] for state in states)
    differs_0, differs_1 = ((base != other).any(1).tolist() for other in (zero, one))
    assert differs_0 == [first <= t < second for t in range(len(sequence.ids))]
    assert differs_1 == [second <= t for t in range(len(sequence.ids))]
    assert torch.equal(base, none), "an image that the sequence does not show"


def test_what_sees_no_image_gets_zero_from_the_attention() -> None:
    block = GatedBlock(8, 2, 4)
    torch.nn.init.constant_(block.attention_gate, 5.0)
    gates = Gates(8, 1, 2, 1, head_width=4)
    media = make("gated").look(torch.zeros(1, dtype=torch.long), store_of(make("gated")))[0]
    assert media is not None
    media.gates, media.embeddings_ISW = gates, torch.randn(1, 3, 8)
    y_BTW = torch.randn(1, 4, 8)
    seen_BT = torch.tensor([[-1, -1, 0, 0]])
    out = block(y_BTW, View(media, seen_BT))
    assert torch.equal(out[:, :2], y_BTW[:, :2]) and (out[:, 2:] != y_BTW[:, 2:]).any(2).all()
    assert torch.equal(block(y_BTW, View(media, torch.full((1, 4), -1))), y_BTW)
    assert torch.equal(block(y_BTW, None), y_BTW)


def test_the_attention_is_softmax_over_the_images_own_embeddings() -> None:
    """Against the formula, for images of unequal size in one batch."""
    model = make("gated", opened=0.7)
    store, block = store_of(model), model.gates[0]
    seen_BT = torch.tensor([[0, 2, 2], [-1, 1, 0]])
    media, index = model.look(seen_BT, store)
    assert media is not None and torch.equal(index, seen_BT)
    y_BTW = torch.randn(2, 3, 32)
    out_BTW = block(y_BTW, View(media, index))
    with torch.no_grad():
        for b, t in seen_BT.clamp_min(-1).ge(0).nonzero().tolist():
            first, count = store.rows(int(seen_BT[b, t]))
            rows = torch.arange(first, first + count)
            image_SW = model.embed_read(store, rows)
            y = y_BTW[b, t]
            heads = []
            for h in (slice(0, 8), slice(8, 16)):
                keys, values = block.key(image_SW)[:, h], block.value(image_SW)[:, h]
                weights = (keys @ block.query(block.norm(y))[h] / 8**0.5).softmax(0)
                heads.append(weights @ values)
            y = y + np.tanh(0.7) * block.out(torch.cat(heads))
            y = y + np.tanh(0.7) * block.feed(y)
            assert torch.allclose(out_BTW[b, t], y, atol=1e-5)


@pytest.mark.parametrize("connector", CONNECTORS)
@pytest.mark.parametrize("entry", ["gated", "hybrid"])
@SETTINGS
def test_a_batch_writes_what_each_prompt_writes_alone(entry: str, connector: str, settings: TextSettings) -> None:
    """Prompts of unequal length, some with a common beginning, some without any image; images between texts."""
    model = make(entry, connector, opened=0.8)
    store, eos = store_of(model), BUILDER.text.eos
    rows = [between(store, "blue", 0, TEXTS[2], 1, "green"), between(store, "blue", 0, TEXTS[2], 1, "a red")]
    rows += [between(store, 3), between(store, 2, "a red", 0), BUILDER.caption(None, None), between(store, "blue")]
    rows += [
        between(store, "blue", 0, TEXTS[2], "green"),
        *(BUILDER.questions(store.entering(i), [("a red", None)]) for i in (1, 1)),
    ]
    together = generate_text(model, rows, store, settings, eos)
    expected = []
    for row in rows:
        embedded = embed_prompts(model, [row], store)[0]
        media, (seen,) = see_prompts(model, [row], store)
        with looking(media, seen[None]):
            expected.append(written_alone(model.llm, embedded, settings, eos))
    assert together == expected
    off = generate_text(model, [Sequence(row.ids, row.supervised) for row in rows], None, settings, eos)
    assert off != together, "images make a difference"


@pytest.mark.parametrize("entry", ["gated", "hybrid"])
def test_decoding_with_a_cache_agrees_with_the_training_forward(entry: str) -> None:
    model = make(entry, opened=0.8)
    store = store_of(model)
    prompt = between(store, 0, "blue", 2, "a red")
    written = generate_text(model, [prompt], store, TextSettings(max_new=6), BUILDER.text.eos)[0]
    start = len(prompt.ids) - 1
    logits = model.llm.lm_head(hidden(model, prompt.text(written), store))
    assert logits[start : start + len(written)].argmax(-1).tolist() == written


def test_rows_that_leave_take_their_images_along(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make("gated", opened=0.8)
    store = store_of(model, 6)
    prompts = [between(store, i, text) for text in (*TEXTS, "green") for i in range(6)]
    endless = generate_text(model, prompts, store, TextSettings(max_new=12), BUILDER.text.eos)
    eos = Counter(number for ids in endless for number in ids).most_common(1)[0][0]
    for settings in (TextSettings(max_new=12), TextSettings(beams=2, max_new=12)):
        monkeypatch.setattr("lavit.model.text_writer.LEAVE", 0.0)
        stays = generate_text(model, prompts, store, settings, eos)
        assert len({len(ids) for ids in stays}) > 2, "some end before others"
        monkeypatch.setattr("lavit.model.text_writer.LEAVE", 1.0)
        assert generate_text(model, prompts, store, settings, eos) == stays
    monkeypatch.setattr("lavit.model.text_writer.ROWS", 5)
    assert generate_text(model, prompts, store, settings, eos) == stays


def test_packed_rows_see_what_their_documents_see_alone() -> None:
    model = make("gated", opened=0.8)
    store = store_of(model)
    documents = [between(store, "blue", 0, TEXTS[2], 1), BUILDER.document("blue"), between(store, 2, "a red circle")]
    alone = torch.cat([hidden(model, document, store) for document in documents])
    together = hidden(model, join(documents), store)
    assert join(documents).seen().tolist() == [image for one in documents for image in one.seen()]
    assert torch.allclose(together, alone, atol=1e-5)


def test_an_image_takes_its_marks_alone_and_a_cut_row_does_not_see_what_it_lost() -> None:
    from lavit.model.likelihood import cut_left

    model = make("gated")
    store = store_of(model)
    row = BUILDER.caption(store.entering(2), "blue")
    assert row.ids[:3] == [BUILDER.text.bos, BUILDER.image_start, BUILDER.image_end]
    assert not len(collate([row]).enter_at)
    row = between(store, 0, "blue", 1, "green")
    marks = [at for at, _, _ in row.enters]
    assert cut_left(row, len(row.ids), len(row.ids) - marks[0]).enters == [(marks[1] - marks[0], 1, 0)]
    assert cut_left(row, len(row.ids), len(row.ids) - marks[0] + 1).enters[0] == (1, 0, 0)


def test_gates_learn_while_a_frozen_llm_keeps_every_bit() -> None:
    model = make("gated", "image_wise")
    store = store_of(model)
    model.llm_trainable = False
    model.learn(["llm", "connector", "gates", "rows"])
    before = weights_hash(model.llm)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.05)
    batch = collate([BUILDER.caption(store.entering(i), text) for i, text in enumerate(TEXTS)])
    losses = []
    for _ in range(25):
        loss = model.text_loss(model.hidden(batch, store), batch).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    assert all(p.grad is not None and bool(p.grad.any()) for p in model.gates.parameters())
    assert bool(model.connector.matrix.weight.grad.any())
    assert weights_hash(model.llm) == before


def test_a_copy_of_an_arm_looks_with_its_own_gates() -> None:
    model = make("gated", opened=0.8)
    other, store = copy.deepcopy(model), store_of(model)
    row = BUILDER.caption(store.entering(2), "blue")
    before = hidden(model, row, store)
    assert torch.equal(hidden(other, row, store), before)
    with torch.no_grad():
        for block in other.gates:
            block.attention_gate.fill_(-2.0)
    assert torch.equal(hidden(model, row, store), before)
    assert not torch.equal(hidden(other, row, store), before)


def test_blocks_stand_before_every_nth_layer_and_there_is_at_least_one() -> None:
    assert Gates(8, 12, 2, every=4).at == [3, 7, 11]
    with pytest.raises(LavitError, match=r"every=3: the language model has 2 layers"):
        Gates(8, 2, 2, every=3)


def test_the_size_of_openflamingo_9b() -> None:
    """Blocks before every 4th of 32 layers of 4096, 8 heads of 64 over embeddings of 1024, FFN x 4 without biases."""
    with torch.device("meta"):
        blocks = [GatedBlock(4096, 8, 64, 4.0, media_width=1024) for _ in Gates(16, 32, 1, every=4).at]
    attention, feed, norms = 4096 * 512 * 2 + 1024 * 512 * 2, 2 * 4096 * 4 * 4096, 2 * 2 * 4096
    assert sum(p.numel() for block in blocks for p in block.parameters()) == 8 * (attention + feed + norms + 2)


def test_connected_features_have_the_width_that_is_looked_at() -> None:
    model = make("gated", "image_wise")
    media, _ = model.look(torch.tensor([3, 0, -1]), store_of(model))
    assert media is not None and media.embeddings_ISW.shape == (2, 2, 32) and media.mask_IS is None
    assert FEATURES != 32
