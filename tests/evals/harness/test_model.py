"""The model as lm-eval asks it: images, text up to a string, tasks in this process, and what is refused."""

from __future__ import annotations

import random
from types import SimpleNamespace

import numpy as np
import pytest
from harness_images import colour
from PIL import Image

pytest.importorskip("lm_eval")

from evals.errors import EvaluationError
from evals.harness import run
from evals.harness.generation import read_settings
from evals.harness.model import LavitLM, wrap
from evals.harness.prompts import to_prompt


def ask(*arguments) -> SimpleNamespace:
    return SimpleNamespace(args=arguments)


def test_images_stand_where_the_text_says(arm) -> None:
    lm = wrap(arm)
    dark, light = (Image.fromarray(colour(value, 8)) for value in (10, 250))
    said = lm.loglikelihood(
        [
            ask("a red <image> and", " a circle", {"visual": [light]}),
            ask("a red <image> and <image>", " a circle", {"visual": [dark, light]}),
            ask("a red", " a circle", {"visual": [light]}),
        ]
    )
    prompts = [["a red ", colour(250), " and"], ["a red ", colour(10), " and ", colour(250)], [colour(250), "a red"]]
    assert [v for v, _ in said] == pytest.approx(
        [v for v, _ in arm.loglikelihood(prompts, [" a circle"] * 3)], abs=1e-5
    )


def test_without_vision_the_text_alone_is_left(arm) -> None:
    request = ask("a red <image> and", " a circle", {"visual": [Image.fromarray(colour(250))]})
    blind = wrap(arm, vision=False).loglikelihood([request])
    assert blind[0][0] == pytest.approx(arm.loglikelihood(["a red  and"], [" a circle"])[0][0], abs=1e-5)


def test_pictures_of_any_size_and_mode_are_brought_to_the_model_s() -> None:
    prompt = to_prompt("what is this?", [Image.new("L", (31, 5), 77), np.zeros((9, 4, 3), np.uint8)], 8)
    assert [part.shape for part in prompt[:2]] == [(8, 8, 3)] * 2
    assert (prompt[0] == 77).all()
    with pytest.raises(EvaluationError, match="2 places <image> for 1 images"):
        to_prompt("<image> and <image>", [Image.new("RGB", (4, 4))], 8)
    with pytest.raises(EvaluationError, match="cannot be read"):
        to_prompt("", [3], 8)


def test_text_is_written_after_images_in_any_batch(arm) -> None:
    requests = [
        ask(f"{text} <image>", {"until": ["square"], "max_gen_toks": 6}, {"visual": [Image.fromarray(colour(value))]})
        for text, value in [("a red", 10), ("two green triangles and", 250), ("what", 130), ("a", 250)]
    ]
    together = wrap(arm, batch_size=4).generate_until(requests)
    assert together == wrap(arm, batch_size=1).generate_until(requests)
    assert together == [wrap(arm).generate_until([request])[0] for request in requests]
    assert not any("square" in text for text in together)


def test_greedy_text_is_transformers_own(llama) -> None:
    import torch

    lm = LavitLM(pretrained=str(llama), batch_size=3)
    prompts = ["a red", "two green triangles stand left of", "what is", "blue", "a"]
    said = lm.generate_until([ask(prompt, {"until": [], "max_gen_toks": 8}) for prompt in prompts])
    model, tokenizer = lm.tokens.llm, lm.tokens.tokenizer
    for prompt, text in zip(prompts, said, strict=True):
        ids = torch.tensor([tokenizer.encode(prompt)])
        out = model.generate(ids, max_new_tokens=8, do_sample=False, pad_token_id=2)[0, ids.shape[1] :]
        assert text == tokenizer.decode(out, skip_special_tokens=True)


def test_settings_are_read_as_lm_eval_s_own_models_read_them() -> None:
    greedy = read_settings({"until": "\n", "temperature": 0.0, "top_p": 0.9}, 256)
    assert (greedy.until, greedy.most, greedy.sample, greedy.options) == (("\n",), 256, False, ())
    drawn = read_settings({"temperature": 0.7, "max_new_tokens": 5, "top_p": 0.9}, 256)
    assert (drawn.most, drawn.sample) == (5, True)
    assert dict(drawn.options) == {"temperature": 0.7, "top_p": 0.9}
    assert not read_settings({"do_sample": False, "temperature": 0.7}, 256).sample
    with pytest.raises(EvaluationError, match="temprature"):
        read_settings({"temprature": 0.7}, 256)


def test_draws_follow_the_seed(llama) -> None:
    import torch

    lm = LavitLM(pretrained=str(llama))
    requests = [ask("a red", {"do_sample": True, "temperature": 1.0, "max_gen_toks": 12})] * 4
    texts = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        texts.append(lm.generate_until(requests))
    assert texts[0] == texts[1] != texts[2]
    assert len(set(texts[0])) > 1, "repeats of a request are draws of their own"


def test_tasks_run_in_this_process_and_leave_its_generators_alone(arm, tasks) -> None:
    import torch

    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    expected = random.random(), np.random.rand(), float(torch.rand(1))
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    results = run(arm, ["seen"], include_path=tasks)
    assert (random.random(), np.random.rand(), float(torch.rand(1))) == expected
    samples = results["samples"]["seen"]
    assert len(samples) == 3
    shades = [sample["filtered_resps"] for sample in samples]
    assert shades[0] != shades[2], "the images reach the model"
    assert 0 <= results["results"]["seen"]["acc,none"] <= 1


def test_what_cannot_be_opened_says_why(tmp_path, tasks, arm) -> None:
    from lavit.errors import LavitError

    with pytest.raises(EvaluationError, match="one of checkpoint and pretrained"):
        LavitLM()
    with pytest.raises(LavitError, match=r"no config\.json"):
        LavitLM(pretrained=str(tmp_path))
    with pytest.raises(EvaluationError, match="'auto'"):
        LavitLM(pretrained=str(tmp_path), batch_size="auto")
    with pytest.raises(EvaluationError, match="no such folder"):
        run(arm, "seen", include_path=tmp_path / "nowhere")


def test_the_stop_of_one_row_leaves_the_others_alone(llama) -> None:
    lm = LavitLM(pretrained=str(llama), batch_size=8)
    prompts = ["a red", "two", "what is", "blue square and"]
    free = lm.generate_until([ask(prompt, {"max_gen_toks": 10}) for prompt in prompts])
    string = free[0][2:4]
    cut = lm.generate_until([ask(prompt, {"max_gen_toks": 10, "until": [string]}) for prompt in prompts])
    assert cut == [text.split(string)[0] for text in free]


def test_a_question_is_answered_as_the_arm_s_own_benchmark_has_it(arm) -> None:
    """The control tokens that mark a question can be written out in a task's text."""
    images, questions = [colour(10), colour(250)], ["what is this?", "what is left of it?"]
    requests = [
        ask(f"<question> {text} <answer>", {"until": [], "max_gen_toks": 6}, {"visual": [Image.fromarray(image)]})
        for image, text in zip(images, questions, strict=True)
    ]
    assert wrap(arm).generate_until(requests) == arm.answer(arm.encode(np.stack(images)), questions)
