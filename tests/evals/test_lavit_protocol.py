"""LaVIT's own protocol: how questions are put, what is made of answers, and that nothing can be taken for it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from evals.benchmark import REAL, VISION_OFF, Batch
from evals.benchmarks import lavit_protocol
from evals.benchmarks.lavit_protocol import GqaLavit, OkVqaLavit, VizWizLavit, Vqav2Lavit
from evals.errors import EvaluationError
from evals.records import Record
from evals.runner import build_suite
from evals.sitting import Sitting
from experiments.compose import Composer, resolve
from lavit.data.protocol import Question
from lavit.model.text_settings import TextSettings
from lavit.official.understanding import ANSWER, CAPTION


def tag(text: str):
    """A tagger that knows one noun and one verb, and an adjective that looks like one."""
    known = {"dogs": ("dog", "NOUN"), "running": ("run", "VERB"), "reds": ("red", "ADJ")}
    for word in text.split():
        lemma, kind = known.get(word, (word, "X"))
        yield SimpleNamespace(text=word, lemma_=lemma, pos_=kind)


@pytest.fixture
def tagged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lavit_protocol, "tagger", lambda: tag)
    lavit_protocol.lemmas_of.cache_clear()


class Asked:
    """A set of questions about one image each, and a model that remembers how it was asked."""

    name, image_size = "asked", 8

    def __init__(self, *questions: Question, answers: dict[str, str]):
        self.rows, self.said, self.calls = questions, answers, []

    def questions(self, split, index_B, per_image):
        return [[self.rows[int(index)]] for index in index_B]

    def images(self, split, index_B):
        return np.zeros((len(index_B), 8, 8, 3), np.uint8)

    def image_id(self, index):
        return f"image-{index}"

    def encode(self, images):
        return np.arange(len(images))

    def answer(self, visual, questions, settings=None):
        self.calls.append((visual, questions, settings))
        return [self.said.get(question, "dogs") for question in questions]


def ask(benchmark, asked: Asked, out: Path, control: str = REAL) -> list[Record]:
    benchmark._opened = asked
    index_B = np.arange(len(asked.rows))
    sitting = Sitting(asked, asked, 0, out)
    return benchmark.ask(Batch(control, 0, index_B, index_B, index_B), sitting).records


def question(number: int, text: str, *answers: str) -> Question:
    tags = {"question_type": "what", "answer_type": "other", "answerable": "1"}
    return Question(f"q{number}", "what", text, answers[0], answers, tags)


def test_questions_are_simplified_and_answers_decoded_as_published(tagged: None, tmp_path: Path) -> None:
    asked = Asked(question(1, 'What is "this" (here)?  ', *["dog"] * 10), answers={})
    ask(OkVqaLavit("okvqa_lavit"), asked, tmp_path)
    ((_, texts, settings),) = asked.calls
    assert texts == ["what is this here?"]
    assert settings == ANSWER == TextSettings(beams=5, min_new=2, max_new=10, length_penalty=0.0, early_stopping=True)


def test_both_sides_are_lemmatised_and_one_is_normalised(tagged: None, tmp_path: Path) -> None:
    people = ("dogs", "dogs", "dog", "a dog", *["cat"] * 6)
    asked = Asked(question(1, "what", *people), question(2, "how", *["two"] * 10), answers={"how": "two"})
    first, second = ask(Vqav2Lavit("vqav2_lavit"), asked, tmp_path)
    assert first.prediction == "dogs"  # the record keeps what was said
    assert first.score == pytest.approx(np.mean([2 / 3] * 3 + [1.0] * 7))  # "a dog" keeps its article
    assert second.score == 0.0  # the answer's number becomes a digit, the people's does not
    plain = Vqav2Lavit("vqav2_lavit", lemmas=False)
    assert plain.judge(first) == pytest.approx(np.mean([1 / 3] * 2 + [2 / 3] * 8))


def test_the_question_s_image_is_left_out_where_vision_is_off(tagged: None, tmp_path: Path) -> None:
    asked = Asked(question(1, "What?", *["dog"] * 10), question(2, "what?", *["dog"] * 10), answers={})
    records = ask(OkVqaLavit("okvqa_lavit"), asked, tmp_path, VISION_OFF)
    assert [record.score for record in records] == [1.0, 1.0]
    assert all(visual is None for visual, *_ in asked.calls)


def test_gqa_is_equality_with_the_lemma(tagged: None) -> None:
    benchmark = GqaLavit("gqa_lavit")
    record = Record("gqa_lavit", "accuracy", "", "s", "1", "1", prediction="The dogs", references=("dogs",))
    assert benchmark.judge(record) == 1.0
    assert benchmark.judge(Record(**{**vars(record), "references": ("the dog",)})) == 0.0


def test_vizwiz_asks_first_whether_there_is_an_answer(tagged: None, tmp_path: Path) -> None:
    can = 'is the question: "{}" answerable?'
    said = {"what": "dog", "how": "dog", "why": "dog"}
    asked = Asked(
        *(question(n, text, "dog", *["unanswerable"] * 9) for n, text in enumerate(said)),
        answers={
            can.format("what").replace('"', "").replace(":", ""): "yes",
            can.format("how").replace('"', "").replace(":", ""): "I know",
            can.format("why").replace('"', "").replace(":", ""): "no",
            **said,
        },
    )
    records = ask(VizWizLavit("vizwiz_lavit"), asked, tmp_path)
    assert [record.prediction for record in records] == ["dog", "unanswerable", "unanswerable"]  # "know" holds "no"
    assert records[1].score == 1.0


def test_without_the_tagger_there_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spacy", None)
    lavit_protocol.tagger.cache_clear()
    benchmark = OkVqaLavit("okvqa_lavit")
    told = benchmark.obstacle(SimpleNamespace(), SimpleNamespace())
    assert told is not None
    assert "lavit-lab[lemmas]" in told
    assert "\n" not in told
    assert OkVqaLavit("okvqa_lavit", lemmas=False).obstacle(SimpleNamespace(), SimpleNamespace()) is None


def test_the_name_says_which_protocol_it_is() -> None:
    with pytest.raises(EvaluationError, match="okvqa_lavit"):
        OkVqaLavit("okvqa")


def test_the_preset_is_the_published_one_and_shares_nothing_with_ours() -> None:
    composer = Composer()
    suites = {name: resolve(composer.compose([f"suite={name}"]))["suite"] for name in ("paper", "paper_lavit")}
    ours, published = ({each.name: each for each in build_suite(node)} for node in suites.values())
    assert not set(ours) & set(published)
    assert all("lavit" in name for name in published)
    assert [name.removesuffix("_lavit") for name in published if "best_of" not in name] == list(ours)
    for name, benchmark in published.items():
        decode = getattr(benchmark, "decode", None)
        if "t2i" in name:
            assert (benchmark.draw["top_k"], benchmark.draw["guidance"], benchmark.draw["min_tokens"]) == (300, 1.5, 20)
        else:
            assert decode == (ANSWER if isinstance(benchmark, lavit_protocol.LavitRules) else CAPTION)
    assert published["coco_t2i_lavit_best_of"].draw["best_of"] == 4
    assert published["vizwiz_lavit"].settings()["protocol"].startswith("lavit-vqa, lemmas of en_core_web_sm")
