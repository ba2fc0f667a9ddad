"""Published question-answering sets in miniature: their layouts, what is asked, how it is scored."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from question_files import make_question_sets

from evals.benchmarks.gqa import said_plainly
from evals.datasets.gqa import GqaQuestions
from evals.datasets.nlvr import NlvrClaims
from evals.datasets.pope import PopeQuestions
from evals.datasets.question_set import QuestionSet
from evals.datasets.scienceqa import ScienceQaQuestions
from evals.datasets.textvqa import TextVqaQuestions
from evals.datasets.vizwiz import VizWizQuestions
from evals.datasets.vqav2 import OkVqaQuestions, Vqav2Questions
from evals.errors import EvaluationError
from evals.records import Record
from evals.runner import Result, build_suite, evaluate, recompute
from lavit.model.protocol import VisionLanguageModel

SIDE = 16
SETS = {
    Vqav2Questions: ("val", 3, 6),
    OkVqaQuestions: ("val", 3, 6),
    TextVqaQuestions: ("val", 2, 2),
    VizWizQuestions: ("val", 3, 3),
    GqaQuestions: ("testdev_balanced", 2, 3),
    PopeQuestions: ("random", 2, 4),
    ScienceQaQuestions: ("test", 3, 3),
    NlvrClaims: ("dev", 12, 12),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make_question_sets(tmp_path / "data")
    return tmp_path / "data"


@pytest.mark.parametrize("kind", SETS)
def test_each_layout_is_read(kind: type[QuestionSet], root: Path) -> None:
    split, images, questions = SETS[kind]
    opened = kind(root, split, SIDE)
    everything = np.arange(opened.size(split))
    places = range(opened.size(split))
    asked = opened.questions(split, everything, None)
    assert (len(everything), sum(map(len, asked))) == (images, questions)
    assert opened.images(split, everything[::-1]).shape == (images, SIDE, SIDE, 3)
    assert len({opened.image_id(index) for index in places}) == images
    assert all("/" not in opened.image_id(index) and "/" not in q.kind for index in places for q in asked[index])
    assert len(opened.questions(split, everything, 1)[0]) == 1


@pytest.mark.parametrize("kind", SETS)
def test_a_missing_picture_or_file_is_told_with_page_and_layout(kind: type[QuestionSet], root: Path) -> None:
    split = SETS[kind][0]
    opened = kind(root, split, SIDE)
    path = opened.image_path(0)
    assert path is not None
    path.unlink()
    with pytest.raises(EvaluationError, match=path.name):
        kind(root, split, SIDE)
    name = kind.annotation_files(split)[0]
    (root / kind.folder / name).unlink()
    with pytest.raises(EvaluationError) as told:
        kind(root, split, SIDE)
    assert name in told.value.message
    assert kind.page in told.value.remedy
    assert f"{kind.folder}/" in told.value.remedy


def test_a_split_without_published_answers_is_refused(root: Path) -> None:
    with pytest.raises(EvaluationError, match="answers of 'test-dev' are not published"):
        Vqav2Questions(root, "test-dev", SIDE)


def change_json(path: Path, change: Callable[[Any], Any]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("kind", "file", "change", "words"),
    [
        (Vqav2Questions, "vqav2/v2_mscoco_val2014_annotations.json",
         lambda c: c["annotations"][3]["answers"].pop(), "question 73001 has 9 answers"),
        (TextVqaQuestions, "textvqa/TextVQA_0.5.1_val.json",
         lambda c: c["data"][1]["answers"].append("go"), "question 34603 has 11 answers"),
        (VizWizQuestions, "vizwiz/Annotations/val.json",
         lambda c: c[2].update(image=c[0]["image"]), "question id 'VizWiz_val_00000000.jpg' stands twice"),
        (VizWizQuestions, "vizwiz/Annotations/val.json", lambda c: c[0].update(answerable=2), "'answerable' is 2"),
        (VizWizQuestions, "vizwiz/Annotations/val.json",
         lambda c: c[0].update(image="../secret.jpg"), "is about image '../secret.jpg'"),
        (GqaQuestions, "gqa/testdev_balanced_questions.json",
         lambda c: c["20131"].pop("answer"), "question 20131 has no answer"),
        (GqaQuestions, "gqa/testdev_balanced_questions.json",
         lambda c: c["20131"]["types"].pop("semantic"), "question 20131: 'semantic' is missing"),
        (ScienceQaQuestions, "scienceqa/problems.json", lambda c: c["2"].update(answer=3), "problem 2: 'answer' is 3"),
        (ScienceQaQuestions, "scienceqa/pid_splits.json", lambda c: c["test"].append("9"), "problem 9 of 'test'"),
        (ScienceQaQuestions, "scienceqa/pid_splits.json", lambda c: c["test"].append("1"), "problem 1 stands twice"),
    ],
)  # fmt: skip
def test_files_that_are_not_as_published_are_refused(
    kind: type[QuestionSet], file: str, change: Callable[[Any], Any], words: str, root: Path
) -> None:
    change_json(root / file, change)
    with pytest.raises(EvaluationError) as told:
        kind(root, SETS[kind][0], SIDE)
    assert words in told.value.message


# Runs


@dataclasses.dataclass
class Seen:
    """Pictures by their mean colour: enough to tell whether one was shown, and which."""

    shades: np.ndarray

    def __len__(self) -> int:
        return len(self.shades)

    def __getitem__(self, index: np.ndarray) -> Seen:
        return Seen(self.shades[index])


class Teller:
    """Says what it was told to say, and remembers what it was asked and how many pictures it was shown."""

    makes_images = False
    image_size = SIDE

    def __init__(self, say: Callable[[str, bool], str]):
        self.say, self.encoded = say, 0
        self.asked: list[str] = []
        self.settings: list[Any] = []

    def encode(self, images: np.ndarray) -> Seen:
        self.encoded += len(images)
        return Seen(images.reshape(len(images), -1).mean(axis=1))

    def answer(self, visual: Seen | None, questions: list[str], settings: Any = None) -> list[str]:
        assert visual is None or len(visual) == len(questions)
        self.asked += questions
        self.settings.append(settings)
        return [self.say(question, visual is not None) for question in questions]


def run(root: Path, tmp_path: Path, model: Teller, target: str, **settings: Any) -> Result:
    suite = build_suite({"name": "mini", "benchmarks": {"set": {"_target_": f"evals.benchmarks.{target}", **settings}}})
    out = tmp_path / "out"
    result = evaluate(cast(VisionLanguageModel, model), None, suite, out, root=root, image_size=SIDE)
    if result.records:
        assert recompute(out) == (result.metrics, result.skipped), "from records and protocol alone"
    return result


def real(result: Result) -> list[Record]:
    """What the model said when nothing was withheld from it."""
    return [record for record in result.records if record.control == ""]


def test_vqav2_is_scored_by_type_and_each_image_is_encoded_once(root: Path, tmp_path: Path) -> None:
    model = Teller(lambda question, _: "a Red" if "color" in question else "no")
    result = run(root, tmp_path, model, "question_sets.Vqav2", controls={"vision_off": None, "shuffled": None})
    metrics = result.metrics
    assert metrics["set/accuracy.other"] == metrics["set/accuracy.what color is"] == 1
    assert metrics["set/accuracy.yes-no"] == metrics["set/accuracy.is it"] == pytest.approx(0.6)
    assert metrics["set/accuracy"] == pytest.approx(0.8) == pytest.approx(metrics["set/accuracy@shuffled"])
    assert model.encoded == 3
    assert len(model.asked) == 6 + 2 + 6
    assert {len(record.references) for record in result.records} == {10}
    assert result.protocol["set"]["protocol"] == "vqa-accuracy-1 official"


def test_prompt_decoding_and_rule_are_part_of_the_protocol(root: Path, tmp_path: Path) -> None:
    model = Teller(lambda question, _: "Red")
    settings = {"prompt": "Question: {question} Answer:", "decode": {"beams": 2}, "rule": "aokvqa"}
    result = run(root, tmp_path, model, "question_sets.OkVqa", **settings)
    assert model.asked[0].startswith("Question: What") or model.asked[0].startswith("Question: Is")
    assert result.records[0].prompt.endswith("? Answer:")
    assert (model.settings[0].beams, model.settings[0].max_new) == (2, 6)
    assert result.protocol["set"]["decode"]["beams"] == 2
    assert result.protocol["set"]["protocol"] == "vqa-accuracy-1 aokvqa"
    assert result.metrics["set/accuracy"] == 0  # the rule compares letter by letter


def test_textvqa_has_its_own_rule(root: Path, tmp_path: Path) -> None:
    result = run(root, tmp_path, Teller(lambda *_: "STOP?"), "question_sets.TextVqa")
    assert result.metrics["set/accuracy"] == 1
    assert result.protocol["set"]["protocol"].endswith("evalai")


@pytest.mark.parametrize("ask", [False, True])
def test_vizwiz_knows_what_cannot_be_answered(ask: bool, root: Path, tmp_path: Path) -> None:
    def say(question: str, _: bool) -> str:
        if "answerable" in question:
            return "not at all" if "Is it 1?" in question else "yes"
        return "unanswerable" if "1" in question and not ask else "red"

    model = Teller(say)
    metrics = run(root, tmp_path, model, "vizwiz.VizWiz", ask_answerable=ask).metrics
    assert metrics["set/accuracy.unanswerable"] == metrics["set/accuracy.other"] == 1
    assert metrics["set/accuracy.yes-no"] == 0
    assert metrics["set/answerability_ap"] == metrics["set/answerability_f1"] == 1
    assert len(model.asked) == (6 if ask else 3)
    assert model.encoded == 3


def test_gqa_parts_open_from_binary(root: Path, tmp_path: Path) -> None:
    metrics = run(root, tmp_path, Teller(lambda *_: "Red."), "gqa.Gqa").metrics
    assert (metrics["set/accuracy.binary"], metrics["set/accuracy.open"]) == (0, 0.5)
    assert metrics["set/accuracy.query"] == 0.5
    assert said_plainly(" On the left. ") == "on the left"


def test_pope_reads_yes_into_whatever_is_not_denied(root: Path, tmp_path: Path) -> None:
    model = Teller(lambda question, _: "No, there is none" if "cat" in question else "I see it")
    metrics = run(root, tmp_path, model, "yes_no.Pope", split="popular").metrics
    assert metrics["set/accuracy"] == 0.75
    assert metrics["set/precision"] == pytest.approx(2 / 3)
    assert (metrics["set/recall"], metrics["set/yes_ratio"]) == (1, 0.75)


def test_nlvr_counts_sentences_that_are_always_judged_rightly(root: Path, tmp_path: Path) -> None:
    metrics = run(root, tmp_path, Teller(lambda *_: "Yes, it is"), "yes_no.Nlvr").metrics
    assert (metrics["set/accuracy"], metrics["set/consistency"]) == (0.5, 0.5)


def test_scienceqa_asks_without_a_picture_where_there_is_none(root: Path, tmp_path: Path) -> None:
    model = Teller(lambda question, sees: "A. red" if sees else "The answer is B.")
    result = run(root, tmp_path, model, "scienceqa.ScienceQa", split="test_all")
    right = {record.example_id: record.score for record in real(result)}
    assert right == {"0": 1, "1": 1, "2": 1, "3": 0}
    assert result.metrics["set/no_option"] == 0
    assert "B. green" in model.asked[0]
    assert model.encoded == 3


def test_scienceqa_may_take_the_likeliest_option(root: Path, tmp_path: Path) -> None:
    class Ranker(Teller):
        def loglikelihood(self, prompts: list, continuations: list[str]) -> list[tuple[float, bool]]:
            assert all(len(prompt) == 2 and prompt[0].shape == (SIDE, SIDE, 3) for prompt in prompts)
            return [(float(text == " B"), False) for text in continuations]

    result = run(root, tmp_path, Ranker(lambda *_: ""), "scienceqa.ScienceQa", choose="likeliest")
    assert {record.prediction for record in real(result)} == {"B"}
    skipped = run(root, tmp_path / "2", Teller(lambda *_: ""), "scienceqa.ScienceQa", choose="likeliest").skipped
    assert "likely" in skipped["set"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"prompt": "Answer:"}, "the question stands nowhere"),
        ({"rule": "offical"}, "there is no 'offical'"),
        ({"split": "minival"}, "no split 'minival'"),
        ({"postprocess": "evals.metrics.vqa_protocols.NAME"}, "is no function"),
    ],
)
def test_settings_that_mean_nothing_are_refused(
    settings: dict[str, Any], words: str, root: Path, tmp_path: Path
) -> None:
    with pytest.raises(EvaluationError, match=words):
        run(root, tmp_path, Teller(lambda *_: ""), "question_sets.Vqav2", **settings)


def test_answers_may_be_cleaned_before_they_are_scored(root: Path, tmp_path: Path) -> None:
    model = Teller(lambda *_: "On The left.")
    cleaned = run(root, tmp_path, model, "gqa.Gqa", postprocess="evals.benchmarks.gqa.said_plainly")
    assert {record.prediction for record in real(cleaned)} == {"On The left."}


def test_equal_ids_of_two_datasets_keep_their_own_pictures(root: Path, tmp_path: Path) -> None:
    suite = build_suite({"name": "two", "benchmarks": {
        name: {"_target_": f"evals.benchmarks.question_sets.{kind}", "controls": {"text_prior": 0}}
        for name, kind in (("vqav2", "Vqav2"), ("okvqa", "OkVqa"))
    }})  # fmt: skip
    out = tmp_path / "out"
    model = cast(VisionLanguageModel, Teller(lambda question, _: "no"))
    result = evaluate(model, None, suite, out, root=root, image_size=SIDE)
    clusters = {name: {r.cluster_id for r in result.records if r.benchmark == name} for name in ("vqav2", "okvqa")}
    assert clusters["vqav2"] & clusters["okvqa"]
    names = {path.stem for path in (out / "images").glob("*.png")}
    assert names == {f"{name}--{cluster}" for name, own in clusters.items() for cluster in own}
