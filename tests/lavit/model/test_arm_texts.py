"""What an arm says: captions, answers and completions with settings, equal to transformers' ``generate`` alone."""

import numpy as np
import pytest
import torch
from tiny_arm import BUILDER, TEXTS
from written_alone import written_alone

from lavit.errors import LavitError
from lavit.model.decoding import common_beginnings, embed_prompts, generate_text, greedy_text
from lavit.model.text_settings import GREEDY_ANSWER, GREEDY_CAPTION, TextSettings
from lavit.model.vision_language import Arm
from lavit.sequences import Sequence, VisualStore

BEAMS = TextSettings(beams=3, min_new=1, max_new=7)
SETTINGS = pytest.mark.parametrize("settings", [TextSettings(max_new=7), BEAMS], ids=["greedy", "beams"])


def alone(arm: Arm, prompt: Sequence, store: VisualStore | None, settings: TextSettings) -> str:
    """The reference: transformers, one prompt."""
    row = embed_prompts(arm.model, [prompt], store)[0]
    return arm.builder.text.decode(written_alone(arm.model.llm, row, settings, arm.builder.text.eos))


@SETTINGS
def test_captions_are_those_of_each_image_alone(arm: Arm, pictures: np.ndarray, settings: TextSettings) -> None:
    visual = arm.encode(pictures)
    expected = [alone(arm, BUILDER.caption(rows, None), visual.store, settings) for rows in visual.rows()]
    assert arm.caption(visual, 2, settings) == expected
    assert len(set(expected)) == 2
    assert arm.caption(None, 3, settings) == [alone(arm, BUILDER.caption(None, None), None, settings)] * 3


@SETTINGS
def test_answers_are_those_of_each_question_alone(arm: Arm, pictures: np.ndarray, settings: TextSettings) -> None:
    visual, asked = arm.encode(pictures), [TEXTS[0], TEXTS[1], TEXTS[2], "green", TEXTS[0]]
    row = np.array([0, 1, 0, 1, 1])
    expected = [
        alone(arm, BUILDER.questions(rows, [(text, None)]), visual.store, settings)
        for rows, text in zip(visual[row].rows(), asked, strict=True)
    ]
    assert arm.answer(visual[row], asked, settings) == expected
    blind = [alone(arm, BUILDER.questions(None, [(text, None)]), None, settings) for text in asked]
    assert arm.answer(None, asked, settings) == blind


@SETTINGS
def test_completions_follow_texts_and_images_as_they_come(
    arm: Arm, pictures: np.ndarray, settings: TextSettings
) -> None:
    one, two = pictures
    prompts = ["blue", ["a red", one, "and", two, "green"], [one, "blue", two], [one], "", ["a red", one, "and", two]]
    store = arm.encode(pictures).store
    first, second = store.rows(0), store.rows(1)
    parts = [["blue"], ["a red", first, "and", second, "green"], [first, "blue", second], [first], [""]]
    parts.append(["a red", first, "and", second])
    expected = [alone(arm, BUILDER.interleaved(row, written=False), store, settings) for row in parts]
    assert arm.complete(prompts, settings) == expected
    assert arm.complete(prompts[:1], settings) == expected[:1]


def test_an_image_is_read_once_for_all_its_questions(arm: Arm, pictures: np.ndarray) -> None:
    visual = arm.encode(pictures)
    row = np.array([0, 0, 0, 1, 1, 1])
    prompts = [
        BUILDER.questions(rows, [(text, None)]) for rows, text in zip(visual[row].rows(), TEXTS * 2, strict=True)
    ]
    counts = [count for _, count in visual.rows()]
    assert common_beginnings(prompts) == [3 + counts[image] for image in row]
    read = []
    hook = arm.model.llm.model.register_forward_pre_hook(
        lambda module, args, kwargs: read.append(tuple(kwargs["inputs_embeds"].shape[:2])), with_kwargs=True
    )
    generate_text(arm.model, prompts, visual.store, TextSettings(max_new=1), BUILDER.text.eos)
    hook.remove()
    assert read[0] == (2, 3 + max(counts)) and read[1][0] == 6 and len(read) == 2


def test_examples_before_every_prompt_are_read_once() -> None:
    shots = ["a red", (0, 3), "blue", (3, 2), "green"]
    prompts = [BUILDER.interleaved([*shots, rows, "blue"], written=False) for rows in ((5, 4), (9, 1))]
    alike = len(BUILDER.interleaved(shots[:4], written=False).ids)
    assert common_beginnings(prompts) == [alike, alike]
    assert common_beginnings([*prompts, BUILDER.interleaved(["green"], written=False)]) == [alike, alike, 0]
    assert common_beginnings(prompts[:1]) == [0]


def test_without_settings_texts_are_greedy_and_bounded(arm: Arm, pictures: np.ndarray) -> None:
    visual = arm.encode(pictures)
    assert arm.caption(visual, 2) == arm.caption(visual, 2, GREEDY_CAPTION)
    assert arm.answer(visual, TEXTS[:2]) == arm.answer(visual, TEXTS[:2], GREEDY_ANSWER)


def test_sampled_captions_of_nothing_differ_and_come_again(arm: Arm) -> None:
    settings = TextSettings(max_new=8, temperature=3.0, seed=1)
    captions = arm.caption(None, 6, settings)
    assert len(set(captions)) > 1 and captions == arm.caption(None, 6, settings)
    answers = arm.answer(None, ["blue"] * 6, settings)
    assert len(set(answers)) > 1 and answers == arm.answer(None, ["blue"] * 6, settings)


def test_a_bare_llm_answers_texts_of_mixed_lengths(arm: Arm) -> None:
    text = BUILDER.text
    prompts = [[text.bos, *text.encode(words)] for words in TEXTS]
    expected = [alone(arm, Sequence().text(ids), None, TextSettings(max_new=6)) for ids in prompts]
    with torch.no_grad():
        assert [text.decode(ids) for ids in greedy_text(arm.model.llm, prompts, 6, text.eos)] == expected


def test_no_part_of_a_prompt_but_text_and_images_is_completed(arm: Arm, pictures: np.ndarray) -> None:
    with pytest.raises(LavitError, match="float32"):
        arm.complete([["blue", pictures[0].astype(np.float32)]], BEAMS)
    with pytest.raises(LavitError, match="2 x 3 pixels"):
        arm.complete([["blue", pictures[0][:2]]], BEAMS)


def test_an_image_in_several_prompts_is_one(arm: Arm, pictures: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = pictures
    prompts = [[one, "blue", two, "red"], [one, "blue", two, "green"], [one, "blue", one, "red"]]
    expected = [arm.complete([prompt], BEAMS)[0] for prompt in prompts]
    encoded, encode = [], arm.encode
    monkeypatch.setattr(arm, "encode", lambda images: encoded.append(len(images)) or encode(images))
    assert arm.complete(prompts, BEAMS) == expected
    assert encoded == [2]
