"""Question answering as LaVIT's published numbers were made: a protocol of its own, beside the benchmarks' rules.

LaVIT (arXiv 2309.04669, section 4) and its released evaluation: the question is simplified and asked as
``Question: {} Answer:``, five beams write 2 to 10 ids whose log-probabilities are summed without a length penalty, the
answer is cut out, nouns and verbs of it become their lemmas, and it is normalised by a chain of rules of its own
(:mod:`evals.metrics.lavit_rules`). The people's answers are lemmatised too, and otherwise lose their punctuation alone.
The files of lemmatised answers that were used are not published: here they are made with the same tagger.

Such numbers stand under names that hold "lavit", and can be mixed with no others: every part of the rule is in their
fingerprint.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from evals.benchmarks.gqa import Gqa
from evals.benchmarks.question_sets import OkVqa, QuestionSetAnswering, Vqav2
from evals.benchmarks.vizwiz import VizWiz
from evals.errors import EvaluationError
from evals.metrics import lavit_rules
from evals.records import Record
from evals.sitting import Sitting
from lavit.data.protocol import Examples
from lavit.errors import LavitError
from lavit.official.text import Tagger, english_tagger, lemmatise, preprocess_question

if TYPE_CHECKING:
    from lavit.model.protocol import VisionLanguageModel

TAGGER = "en_core_web_sm"
DECODE: Mapping[str, Any] = {
    "beams": 5,
    "min_new": 2,
    "max_new": 10,
    "length_penalty": 0.0,
    "early_stopping": True,
}


class LavitRules(QuestionSetAnswering):
    """Mixed into a dataset's benchmark, it replaces how questions are put and how answers are scored.

    Args:
        lemmas: bring nouns and verbs to their lemmas, as published; False leaves them, under another fingerprint.
        decode: as published where None.
        further: see the benchmark that it is mixed into.

    Raises:
        EvaluationError: the name does not say that it is this protocol.
    """

    def __init__(self, name: str, lemmas: bool = True, decode: Mapping[str, Any] | None = None, **further: Any):
        super().__init__(name, decode=DECODE if decode is None else decode, **further)
        if "lavit" not in name:
            raise EvaluationError(
                f"suite.benchmarks.{name} scores by LaVIT's own protocol, which no other number may stand beside.",
                f"Call it {name}_lavit.",
            )
        self.lemmas = lemmas

    def settings(self) -> dict[str, Any]:
        """The protocol is the chain of rules and, with lemmas, the tagger's version."""
        lemmas = f"lemmas of {TAGGER} {_version()}" if self.lemmas else "no lemmas"
        return {**super().settings(), "protocol": f"{lavit_rules.NAME}, {lemmas}", "prompt": "the model's own"}

    def obstacle(self, model: VisionLanguageModel, corpus: Examples) -> str | None:
        """No tagger, no lemmas."""
        if (other := super().obstacle(model, corpus)) is not None:
            return other
        if self.lemmas:
            try:
                tagger()
            except LavitError as error:
                return f"{error.message}: {error.remedy}; lemmas=false scores without, under another fingerprint"
        return None

    def write(self, sitting: Sitting, visual: Any, texts: list[str]) -> list[str]:
        """One answer a question, which is simplified first (of a model of LaVIT's the prompt does so again)."""
        return super().write(sitting, visual, [preprocess_question(text) for text in texts])

    def plain(self, text: str) -> str:
        """Lemmas, where they are wanted."""
        return lemmas_of(text) if self.lemmas else text.lower()

    def judge(self, record: Record) -> float:
        """Leave one person out in turn: min(1, matches among the others / 3), averaged."""
        people = [self.plain(answer) for answer in record.references]
        return lavit_rules.question_accuracy(self.plain(record.prediction), people)


class Vqav2Lavit(LavitRules, Vqav2):
    """VQAv2 validation by LaVIT's protocol."""


class OkVqaLavit(LavitRules, OkVqa):
    """OK-VQA validation by LaVIT's protocol."""


class VizWizLavit(LavitRules, VizWiz):
    """VizWiz validation by LaVIT's protocol: every question is asked twice, first whether it can be answered."""

    def __init__(self, name: str, ask_answerable: bool = True, **further: Any):
        super().__init__(name, ask_answerable=ask_answerable, **further)


class GqaLavit(LavitRules, Gqa):
    """GQA testdev-balanced by LaVIT's protocol: the normalised answer equals the lemmatised one."""

    def judge(self, record: Record) -> float:
        """Equality."""
        said = lavit_rules.normalise_prediction(self.plain(record.prediction))
        return float(said == self.plain(record.references[0]))


@lru_cache(maxsize=1)
def tagger() -> Tagger:
    """The published protocol's pipeline, loaded once."""
    return english_tagger(TAGGER)


@lru_cache(maxsize=1_000_000)
def lemmas_of(text: str) -> str:
    """A text with the lemmas of its nouns and verbs; each different text is looked at once."""
    return lemmatise(text, tagger())


def _version() -> str:
    try:
        return version(TAGGER.replace("_", "-"))
    except PackageNotFoundError:
        return "not installed"
