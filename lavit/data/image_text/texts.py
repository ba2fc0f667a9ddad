"""What is said and asked of an image with a name, keywords and a group.

The keyword questions are balanced twice: as many yes as no, and each keyword about as often in a no as in a
yes, so that neither the answer nor the keyword gives the other away. Keywords that are too rare among the
train rows to be learned are not asked for.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from itertools import accumulate

import numpy as np

from lavit.data.image_text.rows import Row
from lavit.data.protocol import Index, Question
from lavit.data.world import counter

GROUP_QUESTION = "what kind of thing is this?"
_GROUP_FIRST, _DOCUMENT, _ASK = 0, 1, 64
# A pair of keyword questions draws who leads, the keyword of the yes, and then keywords until one is not the
# row's.
_DRAWS = 2 + 16


def references(row: Row, keywords: int) -> list[str]:
    """The name, and the name with its first keywords that it does not hold itself."""
    further = [word for word in row.keywords if word not in row.name][:keywords]
    return [row.name, f"{row.name}: {', '.join(further)}"] if further else [row.name]


def keyword_question(keyword: str) -> str:
    """``is this a face?``, ``is this an animal?``"""
    return f"is this {'an' if keyword[0] in 'aeiou' else 'a'} {keyword}?"


class Questioner:
    """Questions about rows.

    Args:
        train: the train rows, whose keywords are counted.
        least: a keyword is asked for if at least this many train rows have it.
        seed: decides which keywords are asked for.
    """

    def __init__(self, train: list[Row], least: int, seed: int):
        self.seed = seed
        count = Counter(word for row in train for word in row.keywords if word.replace(" ", "").isalpha())
        self.frequent = sorted(word for word, number in count.items() if number >= least)
        self._known = set(self.frequent)
        # How often each keyword is asked for with yes: rows choose evenly among their own.
        asked: defaultdict[str, float] = defaultdict(float)
        for row in train:
            own = self.own(row)
            for word in own:
                asked[word] += 1 / len(own)
        # Rows without such keywords begin with their group; the others make up for it.
        share = sum(1 for row in train if self.own(row)) / max(len(train), 1)
        self._keyword_first = min(1.0, 0.5 / share) if share else 0.0
        self._mass = list(accumulate(asked[word] for word in self.frequent))

    def own(self, row: Row) -> list[str]:
        """The row's frequent keywords."""
        return [word for word in row.keywords if word in self._known]

    def ask(self, split: str, index_B: Index, rows: list[Row], per_image: int, mark: str = "") -> list[list[Question]]:
        """At most ``per_image`` questions a row: its group once, and keywords."""
        key_B = counter.keys(self.seed, f"{split}/questions{mark}", np.asarray(index_B))
        first_B = counter.uniform(key_B, _GROUP_FIRST).tolist()
        draws_BF = counter.uniforms(key_B, _ASK + np.arange(-(-max(per_image, 1) // 2) * _DRAWS)).tolist()
        result = []
        for index, row, first, draws in zip(np.asarray(index_B).tolist(), rows, first_B, draws_BF, strict=True):
            group = Question(f"{split}-{index}-group-{mark}0", "group", GROUP_QUESTION, row.group, (row.group,))
            keywords = self._keywords(f"{split}-{index}-keyword-{mark}", row, per_image, draws)
            asked = (
                [group, *keywords]
                if first >= self._keyword_first or not keywords
                else [keywords[0], group, *keywords[1:]]
            )
            result.append(asked[:per_image])
        return result

    def _keywords(self, prefix: str, row: Row, count: int, draws: list[float]) -> list[Question]:
        # Yes and no come in pairs, who leads is drawn. A row without a frequent keyword is not asked: it
        # could only be asked for what it is not.
        own, used = self.own(row), set(row.keywords)
        questions: list[Question] = []
        for pair in range(min(len(own), -(-count // 2))):
            draw = draws[pair * _DRAWS : (pair + 1) * _DRAWS]
            other = self._other(used, draw[2:])
            if other is None:
                break
            used.add(other)
            both = [(own.pop(int(draw[1] * len(own))), "yes"), (other, "no")]
            for word, answer in both if draw[0] < 0.5 else both[::-1]:
                name = f"{prefix}{len(questions)}"
                questions.append(Question(name, "keyword", keyword_question(word), answer, (answer,)))
        return questions[:count]

    def _other(self, used: set[str], draws: list[float]) -> str | None:
        for draw in draws:
            word = self.frequent[min(bisect_right(self._mass, draw * self._mass[-1]), len(self.frequent) - 1)]
            if word not in used:
                return word
        return None


def description(row: Row, questioner: Questioner) -> str:
    """Name, group and the keywords that may be asked for."""
    own = questioner.own(row)
    return f"{row.name}. kind: {row.group}." + (f" keywords: {', '.join(own)}." if own else "")


def document(row: Row, form: int, questioner: Questioner) -> str:
    """A line of text about the row, in one of four forms."""
    if form == 0:
        return row.name
    if form == 1:
        return f"{row.name}: {', '.join(row.keywords[:8])}" if row.keywords else row.name
    if form == 2:
        return f"{row.name} is one of {row.group}"
    return description(row, questioner)


def documents(split: str, index_B: Index, rows: list[Row], questioner: Questioner) -> list[str]:
    """One line for each row, its form drawn."""
    key_B = counter.keys(questioner.seed, f"{split}/documents", np.asarray(index_B))
    forms = counter.integer(key_B, _DOCUMENT, 4).tolist()
    return [document(row, form, questioner) for row, form in zip(rows, forms, strict=True)]
