"""Few-shot prompts: which examples, in what order, under which control, and what is made of what is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from caption_files import make_coco
from tiny_corpus import Oracle, TinyCorpus

from evals.errors import EvaluationError
from evals.files import check_files
from evals.records import Record
from evals.runner import build_suite, evaluate
from evals.shot_templates import TEMPLATES, fill
from evals.shots import choose_shots
from lavit.language import TextTokenizer
from lavit.sequences import SequenceBuilder


class Recorder(Oracle):
    """Goes on with the same text after every prompt, and remembers the prompts."""

    makes_images = False

    def __init__(self, said: str = " a red square\n[next] nonsense"):
        super().__init__()
        self.said, self.prompts, self.settings = said, [], []  # type: ignore[var-annotated]

    def complete(self, prompts, settings):  # type: ignore[no-untyped-def]
        self.prompts += [[prompt] if isinstance(prompt, str) else list(prompt) for prompt in prompts]
        self.settings.append(settings)
        return [self.said] * len(prompts)


def run(model: Recorder, out: Path, task: str = "caption", corpus: Any = None, **options: Any) -> list[Record]:
    target = {"caption": "caption.Captioning", "vqa": "vqa.QuestionAnswering"}[task]
    entry = {"_target_": f"evals.benchmarks.{target}", "count": 8, "batch": 3, "shots": 2, **options}
    suite = build_suite({"name": "few", "benchmarks": {task: entry}})
    records = evaluate(model, corpus or TinyCorpus(), suite, out).records
    return [record for record in records if record.control != "text_prior"]


def kinds(prompt: list[Any]) -> list[str]:
    return ["text" if isinstance(part, str) else "image" for part in prompt]


def test_examples_stand_before_the_image_that_is_asked(tmp_path: Path) -> None:
    model, corpus = Recorder(), TinyCorpus()
    records = run(model, tmp_path)
    assert len(model.prompts) == 8
    for prompt in model.prompts:
        assert kinds(prompt) == ["image", "text", "image", "text", "image"]
        assert all(isinstance(part, str) or (part.dtype == np.uint8 and part.shape == (8, 8, 3)) for part in prompt)
        for image, text in zip(prompt[:4:2], prompt[1:4:2], strict=True):
            match = [i for i in range(100) if np.array_equal(corpus.images("train", [i])[0], image)]
            assert text == corpus.captions("train", match)[0][0] + "\n", "an example is an image with its own caption"
    asked = [int(record.example_id.partition("-")[2]) for record in records]
    assert all(
        np.array_equal(prompt[-1], corpus.images("test", [i])[0])
        for prompt, i in zip(model.prompts, asked, strict=True)
    )
    assert {record.prediction for record in records} == {"a red square"}, "cut where the next example begins"


def test_examples_are_the_same_for_every_arm_seed_and_image(tmp_path: Path) -> None:
    first, second = Recorder(), Recorder("something else")
    before = run(first, tmp_path / "a")
    run(second, tmp_path / "b", count=4, batch=2)
    assert len({record.prompt for record in before}) == 1, "captions are asked for in the same words"
    for one, other in zip(first.prompts, second.prompts, strict=False):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_an_image_is_never_among_its_own_examples(tmp_path: Path) -> None:
    records = run(Recorder(), tmp_path, corpus=TinyCorpus(5), count=5, shots=3, shots_from="test")
    for record in records:
        named = [part.partition("]")[0] for part in record.prompt.split("[image ")[1:]]
        assert len(set(named)) == 3 and record.example_id not in named
        assert record.prompt.endswith("[image]")
    with pytest.raises(EvaluationError, match="shots is 5, but 'test' has 4 examples besides"):
        run(Recorder(), tmp_path / "more", corpus=TinyCorpus(5), count=5, shots=5, shots_from="test")


def test_questions_are_asked_after_solved_ones(tmp_path: Path) -> None:
    model = Recorder(" 2\nQuestion: and")
    records = run(model, tmp_path, "vqa", per_image=2, count=3)
    prompt = model.prompts[0]
    assert kinds(prompt) == ["image", "text", "image", "text", "image", "text"]
    assert prompt[1].startswith("Question: how many squares are there? Answer: ") and prompt[1].endswith("\n")
    assert prompt[-1] == "Question: how many squares are there? Answer:"
    assert len(records) == 6 and {record.prediction for record in records} == {"2"}
    assert model.settings[0].max_new == 6


def test_vision_off_shows_no_image_at_all_and_asks_equal_prompts_once(tmp_path: Path) -> None:
    model = Recorder()
    controls = {"vision_off": 6, "shuffled": 6}
    records = run(model, tmp_path, "vqa", per_image=1, controls=controls)
    blind = [prompt for prompt in model.prompts if "image" not in kinds(prompt)]
    assert all(len(prompt) == 1 for prompt in blind), "neighbouring texts are one part"
    assert len(blind) == 2, "six equal questions in two batches"
    shuffled = [record for record in records if record.control == "shuffled"]
    for record in shuffled:
        named = [part.partition("]")[0] for part in record.prompt.split("[image ")[1:]]
        assert record.cluster_id not in named, "neither shown nor an example"


def test_text_examples_have_no_image(tmp_path: Path) -> None:
    model = Recorder()
    run(model, tmp_path, "vqa", shots_template="question_text", per_image=1)
    assert {tuple(kinds(prompt)) for prompt in model.prompts} == {("text", "image", "text")}


def test_a_suite_may_write_a_template_of_its_own(tmp_path: Path) -> None:
    model = Recorder(" a red square; and")
    template = {"shot": "<{image}> {answer}; ", "asked": "<{image}>", "stop": ";"}
    records = run(model, tmp_path, shots_template=template, shots=1)
    assert kinds(model.prompts[0]) == ["text", "image", "text", "image", "text"]
    assert model.prompts[0][0] == "<" and model.prompts[0][2].startswith("> A picture of ")
    assert model.prompts[0][2].endswith("; <") and records[0].prediction == "a red square"


def test_prompts_are_part_of_the_protocol(tmp_path: Path) -> None:
    def protocol(name: str, **options: Any) -> dict[str, Any]:
        entry = {"_target_": "evals.benchmarks.caption.Captioning", "count": 4, **options}
        suite = build_suite({"name": "few", "benchmarks": {"caption": entry}})
        return evaluate(Recorder(), TinyCorpus(), suite, tmp_path / name).protocol["caption"]

    zero, two, other = protocol("zero"), protocol("two", shots=2), protocol("other", shots=2, shots_template="output")
    assert zero["shots"] == 0 and "shots_template" not in zero
    assert (two["shots_from"], two["shots_template"]) == ("train", "caption")
    assert len({found["examples_sha256"] for found in (zero, two, other)}) == 3


def test_shots_of_a_dataset_are_from_another_split_of_its_files(tmp_path: Path) -> None:
    make_coco(tmp_path / "data")
    entry = {"_target_": "evals.benchmarks.coco.CocoCaption", "shots": 2, "shots_from": "val"}
    suite = build_suite({"name": "few", "benchmarks": {"coco": entry}})
    model = Recorder()
    records = evaluate(model, None, suite, tmp_path / "out", root=tmp_path / "data", image_size=8).records
    assert len([record for record in records if not record.control]) == 6 and model.prompts[0][0].shape == (8, 8, 3)
    named = {part.partition("]")[0] for record in records for part in record.prompt.split("[image ")[1:]}
    assert named < {"391897", "391898", "391899"}, "images of val"


def test_a_picture_of_an_example_that_is_not_there_is_told_before_any_work(tmp_path: Path) -> None:
    make_coco(tmp_path)
    entry = {"_target_": "evals.benchmarks.coco.CocoCaption", "shots": 1, "shots_from": "train"}
    with pytest.raises(EvaluationError, match=r"train2014/COCO_train2014_000000391895.jpg is missing"):
        check_files({"benchmarks": {"coco": entry}}, tmp_path)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"shots": -1}, "shots is -1"),
        ({"shots": True}, "shots is True"),
        ({"shots_template": "nice"}, "there is no 'nice'"),
        ({"shots_template": {"shot": "{image}", "ask": "{image}"}}, "unexpected keyword argument 'ask'"),
        ({"shots_template": {"shot": "{image}", "asked": "now:"}}, r"what is asked has no \{image\}: 'now:'"),
        ({"task": "vqa", "shots_template": "caption"}, r"what is asked has no \{question\}"),
        ({"prompt": "a photo of"}, "both shots and a prompt"),
    ],
)
def test_settings_that_mean_nothing_are_refused(tmp_path: Path, options: dict[str, Any], told: str) -> None:
    with pytest.raises(EvaluationError, match=told):
        run(Recorder(), tmp_path, **options)


def test_what_a_question_says_is_no_place_in_the_template() -> None:
    pieces = fill(TEMPLATES["question"].shot, None, "what is {answer} in {image}?", "{question}")
    assert "".join(str(piece) for piece in pieces) == "Question: what is {answer} in {image}? Answer: {question}\n"


def test_images_without_a_question_are_no_example() -> None:
    class Silent(TinyCorpus):
        def questions(self, split, index_B, per_image):  # type: ignore[no-untyped-def]
            return [row if i % 2 else [] for i, row in zip(index_B, super().questions(split, index_B, 1), strict=True)]

    chosen = choose_shots(Silent(), "train", 5, questions=True)
    assert len(chosen) == 5 and all(int(shot.image_id.partition("-")[2]) % 2 for shot in chosen)


def test_trained_templates_are_what_arms_were_trained_on() -> None:
    text = TextTokenizer.train(["how many red squares are there?", "two", "a picture of a red square."] * 9, 120)
    builder = SequenceBuilder(text)
    question, caption = TEMPLATES["trained_question"], TEMPLATES["trained_caption"]
    rows = ("0", np.zeros((2, 2, 3), np.uint8))

    def ids(*pieces: Any) -> list[int]:
        parts = [(0, 3) if piece is rows else piece for piece in pieces if not isinstance(piece, str)]
        merged = "".join(piece for piece in pieces if isinstance(piece, str))
        return builder.interleaved([*parts, merged], written=False).ids

    pair = ("how many red squares are there?", "two")
    assert ids(*fill(question.shot, rows, *pair)) == builder.questions((0, 3), [pair]).ids
    assert ids(*fill(question.asked, rows, pair[0])) == builder.questions((0, 3), [(pair[0], None)]).ids
    assert ids(*fill(caption.shot, rows, "", "a red square.")) == builder.caption((0, 3), "a red square.").ids
