"""Likelihoods of an arm: batches change nothing, images count, rows that are too long keep what matters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from harness_images import colour
from hypothesis import given, settings
from hypothesis import strategies as st

from lavit.errors import LavitError
from lavit.model.likelihood import NOTHING, Request, cut_left, loglikelihood, nll_of_parts, score
from lavit.sequences import Sequence as Row

PROMPTS = [
    ["a red", colour(10), "and a"],
    [colour(250), colour(10)],
    "two green",
    "",
    ["what is", colour(250), "left of ", colour(130), " a "],
    [colour(250)],
]
ENDS = [" blue square", "circle", " triangles stand", "a circle.", "circle and a red square", "what is this?"]


def test_a_batch_is_its_rows_one_by_one(arm) -> None:
    prompts, ends = PROMPTS * 2, ENDS + ENDS[::-1]
    together = arm.loglikelihood(prompts, ends)
    for prompt, end, (value, greedy) in zip(prompts, ends, together, strict=True):
        alone, alone_greedy = arm.loglikelihood([prompt], [end])[0]
        assert value == pytest.approx(alone, abs=1e-5)
        assert greedy == alone_greedy
    small = loglikelihood(arm.tokens(), prompts, ends, positions=1)
    assert [value for value, _ in small] == pytest.approx([value for value, _ in together], abs=1e-5)


def test_an_arm_s_captions_are_as_likely_as_its_training_loss_says(arm) -> None:
    from lavit.sequences import collate

    images, text = np.stack([colour(200), colour(20)]), "a red circle and a blue square"
    visual = arm.encode(images)
    for number in range(2):
        sequence = arm.builder.caption(visual.rows()[number], text)
        batch = collate([sequence])
        with torch.no_grad():
            losses = arm.model.text_loss(arm.model.hidden(batch, visual.store), batch)
        value, _ = arm.loglikelihood([[images[number]]], [text])[0]
        assert value == pytest.approx(-float(losses[:-1].sum()), abs=1e-4), "all but the end mark"


def test_images_and_their_order_count(arm) -> None:
    dark, light = colour(10), colour(250)
    values = [
        arm.loglikelihood([prompt], ["a circle"])[0][0]
        for prompt in (["a", dark], ["a", light], [dark, "a"], "a", ["a", dark, light], ["a", light, dark])
    ]
    assert len({round(value, 6) for value in values}) == len(values)


def test_greedy_is_what_the_arm_would_write(arm) -> None:
    from lavit.model.text_settings import TextSettings

    prompt = ["a red", colour(77)]
    text = arm.complete([prompt], TextSettings(max_new=3))[0]
    ids = arm.builder.text.encode(text)
    if text and len(ids) == 3:
        assert arm.loglikelihood([prompt], [text])[0][1]
    assert not arm.loglikelihood([prompt], ["square square square"])[0][1]


def test_the_same_ids_split_at_two_places_are_two_results(arm) -> None:
    pairs = [("a red", " circle and a"), ("a red circle", " and a"), ("a red circle and", " a")]
    together = arm.loglikelihood(*zip(*pairs, strict=True))
    alone = [arm.loglikelihood([context], [rest])[0] for context, rest in pairs]
    assert [value for value, _ in together] == pytest.approx([value for value, _ in alone], abs=1e-5)
    assert together[0][0] < together[1][0] < together[2][0] < 0


def test_one_input_is_read_once(arm) -> None:
    model, rows = arm.tokens(), []
    logits = model.logits
    model.logits = lambda batch, *rest: rows.extend(batch) or logits(batch, *rest)  # type: ignore[method-assign]
    loglikelihood(model, ["a red"] * 3, [" circle", " a", " circle"])
    assert len(rows) == 1


def test_vision_off_leaves_the_marks(arm) -> None:
    model, text = arm.tokens(), "a circle"
    (nats, ids), (plain, _) = nll_of_parts(model, [[NOTHING], [""]], [text, text], None)
    assert nats != pytest.approx(plain, abs=1e-4)
    assert ids == len(arm.builder.text.encode(text))
    blind = arm.builder.caption(None, text)
    with torch.no_grad():
        hidden = arm.model.llm.model(inputs_embeds=arm.model.embed_ids(torch.tensor([blind.ids]))).last_hidden_state
        logs = arm.model.llm.lm_head(hidden)[0].log_softmax(-1)
    start = len(blind.ids) - ids - 1
    told = sum(float(logs[at - 1, blind.ids[at]]) for at in range(start, start + ids))
    assert nats == pytest.approx(-told, abs=1e-4)


def test_text_that_is_too_long_is_predicted_in_windows_each_id_once(arm) -> None:
    model = arm.tokens()
    text = "a red circle and a blue square " * 20
    ids = arm.builder.text.encode(text)
    assert len(ids) > 2 * model.max_length
    (nats, count), *_ = arm.nll([""], [text])
    assert count == len(ids)
    total, row = 0.0, [model.prefix, *ids]
    for start in range(0, len(ids), model.max_length):  # by the rule of the harness: the last window has a full context
        end = min(start + model.max_length, len(ids))
        context = row[max(0, end - model.max_length) : end]
        with torch.no_grad():
            out = arm.model.llm(torch.tensor([context])).logits[0].log_softmax(-1)
        own = row[start + 1 : end + 1]
        total += sum(float(out[len(context) - len(own) + i, target]) for i, target in enumerate(own))
    assert nats == pytest.approx(-total, rel=1e-5)


def test_a_long_prompt_loses_its_left_end_and_no_image_is_cut_in_two(arm) -> None:
    row = Row(list(range(20)), [0.0] * 20, [(2, 0, 4), (10, 4, 3)])  # marks at 1, 6 and 9, 13
    assert cut_left(row, 20, 20).ids == row.ids
    whole = cut_left(row, 20, 19)
    assert (whole.ids[0], whole.enters) == (1, [(1, 0, 4), (9, 4, 3)])
    cut = cut_left(row, 20, 17)
    assert (cut.ids[0], cut.enters) == (6, [(4, 4, 3)]), "the first image goes, its end mark stays"
    assert cut_left(row, 20, 9).ids[0] == 13
    prompt = [colour(250), "a red circle and " * 30]
    kept, _ = arm.loglikelihood([prompt], [" a square"])[0]
    text, _ = arm.loglikelihood(["a red circle and " * 30], [" a square"])[0]
    assert kept == pytest.approx(text, abs=1e-5), "image and all were beyond what the model reads"


def test_a_text_model_refuses_images(arm) -> None:
    from lavit.model.token_model import TextModel

    model = TextModel(arm.model.llm, arm.builder.text)
    with pytest.raises(LavitError, match="reads text alone"):
        loglikelihood(model, [[colour(1)]], ["a"])


def test_nothing_is_certain(arm) -> None:
    assert arm.loglikelihood(["a red"], [""]) == [(0.0, True)]


@settings(max_examples=25, deadline=None)
@given(lengths=st.lists(st.tuples(st.integers(1, 60), st.integers(0, 120)), min_size=1, max_size=6))
def test_scores_add_up_over_any_split(arm, lengths) -> None:
    """log p(b, c | a) = log p(b | a) + log p(c | a, b) as long as all fits."""
    model, generator = arm.tokens(), np.random.default_rng(sum(a + b for a, b in lengths))
    for before, count in lengths:
        ids = generator.integers(6, len(arm.builder.text), before + count).tolist()
        (whole, _), *_ = score(model, [Request(Row().text(ids), count)], None)
        if count > 1 and before + count <= model.max_length:
            first = count // 2
            parts = score(
                model,
                [Request(Row().text(ids[: before + first]), first), Request(Row().text(ids), count - first)],
                None,
            )
            assert whole == pytest.approx(sum(value for value, _ in parts), abs=1e-3)
        assert whole <= 0
