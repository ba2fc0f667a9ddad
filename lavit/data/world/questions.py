"""Questions about a scene, each with one right word, the answers of every kind balanced.

A question is asked only where the picture answers it beyond doubt: of an object that its name singles out, of
a place that is not on the middle line, of a relation between different thirds. Which answer is asked for is
drawn first, by weights that make all answers of a kind equally frequent over many scenes (iterative
proportional fitting, Deming and Stephan 1940); then one of the questions that have that answer. Kinds that
few scenes allow come first where they can.

Shapes: B scenes, K kinds, J questions of a kind, A answers of a kind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lavit.data.protocol import Index, Question
from lavit.data.world import counter
from lavit.data.world.captions import HORIZONTAL, NUMBERS, VERTICAL, Item, article, plural
from lavit.data.world.palette import Palette
from lavit.data.world.scenes import HELD_OUT

KINDS = ("colour", "shape", "size", "count", "existence", "position", "relation")

# A candidate is a finished text, or (subject, relation, object) still to be put into words.
Candidate = str | tuple[str, str, str]
Candidates = dict[str, list[Candidate]]

_ORDER, _ASK, _SAME_KIND = 0, 64, 64
_FITTING_ROUNDS = 60


def ask_colour(items: list[Item]) -> Candidates:
    """``what colour is the circle?`` where there is one circle, or one large one."""
    found: Candidates = {}
    shapes = Counter(item.shape for item in items)
    sized = Counter((item.size, item.shape) for item in items)
    for item in items:
        if shapes[item.shape] == 1:
            found.setdefault(item.colour, []).append(f"what colour is the {item.shape}?")
        elif item.size and sized[item.size, item.shape] == 1:
            found.setdefault(item.colour, []).append(f"what colour is the {item.size} {item.shape}?")
    return found


def ask_shape(items: list[Item]) -> Candidates:
    """``what shape is the red object?`` where there is one red object, or one large one."""
    found: Candidates = {}
    colours = Counter(item.colour for item in items)
    sized = Counter((item.size, item.colour) for item in items)
    for item in items:
        if colours[item.colour] == 1:
            found.setdefault(item.shape, []).append(f"what shape is the {item.colour} object?")
        elif item.size and sized[item.size, item.colour] == 1:
            found.setdefault(item.shape, []).append(f"what shape is the {item.size} {item.colour} object?")
    return found


def ask_position(items: list[Item]) -> Candidates:
    """``is the red circle left or right?``, ``… top or bottom?``, off the middle lines only."""
    found: Candidates = {}
    for item in singled_out(items):
        name = f"{item.colour} {item.shape}"
        if item.column:
            found.setdefault(HORIZONTAL[item.column + 1], []).append(f"is the {name} left or right?")
        if item.row:
            found.setdefault(VERTICAL[item.row + 1], []).append(f"is the {name} top or bottom?")
    return found


def ask_relation(items: list[Item], close: bool) -> Candidates:
    """``is the red circle left of the blue square?``; ``close``: also where both lie in the same third."""
    yes: list[Candidate] = []
    no: list[Candidate] = []
    named = [(f"{item.colour} {item.shape}", item) for item in singled_out(items)]
    for position, (first, a) in enumerate(named):
        for second, b in named[position + 1 :]:
            across = a.x - b.x if close else a.column - b.column
            down = a.y - b.y if close else a.row - b.row
            if across:
                near, far = (first, second) if across < 0 else (second, first)
                yes += [(near, "left of", far), (far, "right of", near)]
                no += [(far, "left of", near), (near, "right of", far)]
            if down:
                near, far = (first, second) if down < 0 else (second, first)
                yes += [(near, "above", far), (far, "below", near)]
                no += [(far, "above", near), (near, "below", far)]
    return {"yes": yes, "no": no} if yes else {}


def singled_out(items: list[Item]) -> list[Item]:
    """The objects that share their colour and shape with no other."""
    count = Counter((item.colour, item.shape) for item in items)
    return [item for item in items if count[item.colour, item.shape] == 1]


class Examiner:
    """Asks questions about scenes.

    Args:
        palette: which colours, shapes and sizes there are.
        objects: fewest and most objects of a scene.
        name_sizes: whether sizes are told apart in texts (otherwise there are no questions of size).
        close_relations: whether relations are asked of objects in the same third too (never where the
            question must be answered from a description).
        seed: the world's seed.
        calibration: scenes of the usual splits (False) or with held-out combinations (True), to balance
            answers on.
    """

    def __init__(
        self,
        palette: Palette,
        objects: tuple[int, int],
        name_sizes: bool,
        close_relations: bool,
        seed: int,
        calibration: Callable[[bool], list[list[Item]]],
    ):
        self.palette, self.close_relations, self.seed, self.calibration = (
            palette,
            close_relations,
            seed,
            calibration,
        )
        sized = name_sizes and len(palette.sizes) > 1
        self.kinds = [kind for kind in KINDS if kind != "size" or sized]
        most = objects[1]
        self.answers: dict[str, list[str]] = {
            "colour": list(palette.colours),
            "shape": list(palette.shapes),
            "size": list(palette.sizes),
            "count": list(NUMBERS[: most + 1]),
            "existence": ["yes", "no"],
            "position": ["left", "right", "top", "bottom"],
            "relation": ["yes", "no"],
        }
        usual = [(palette.colours[c], palette.shapes[s]) for c, s in palette.allowed]
        held_out = [(palette.colours[c], palette.shapes[s]) for c, s in palette.held_out]
        self._combinations = {False: usual, True: usual + held_out}
        self._fitted: dict[bool, tuple[dict[str, dict[str, float]], NDArray[np.float64]]] = {}

    def candidates(self, kind: str, items: list[Item], held_out: bool, grounded: bool) -> Candidates:
        """Every question of ``kind`` that the scene answers, by answer."""
        if kind == "colour":
            return ask_colour(items)
        if kind == "shape":
            return ask_shape(items)
        if kind == "size":
            return self._ask_size(items)
        if kind == "count":
            return self._ask_count(items)
        if kind == "existence":
            return self._ask_existence(items, held_out)
        if kind == "position":
            return ask_position(items)
        return ask_relation(items, self.close_relations and not grounded)

    def _ask_size(self, items: list[Item]) -> Candidates:
        found: Candidates = {}
        for item in singled_out(items):
            size = item.size or self.palette.sizes[0]
            found.setdefault(size, []).append(f"what size is the {item.colour} {item.shape}?")
        return found

    def _ask_count(self, items: list[Item]) -> Candidates:
        found: Candidates = {NUMBERS[len(items)]: ["how many objects are there?"]}
        colours = Counter(item.colour for item in items)
        shapes = Counter(item.shape for item in items)
        for colour in self.palette.colours:
            found.setdefault(NUMBERS[colours[colour]], []).append(f"how many {colour} objects are there?")
        for shape in self.palette.shapes:
            found.setdefault(NUMBERS[shapes[shape]], []).append(f"how many {plural(shape)} are there?")
        return found

    def _ask_existence(self, items: list[Item], held_out: bool) -> Candidates:
        # Combinations that training never shows are not asked for there either: the answer would always be
        # no.
        present = {(item.colour, item.shape) for item in items}
        yes: list[Candidate] = []
        no: list[Candidate] = []
        for pair in self._combinations[held_out]:
            (yes if pair in present else no).append(f"is there {article(f'{pair[0]} {pair[1]}')}?")
        return {"yes": yes, "no": no} if no else {"yes": yes}

    def ask(
        self, split: str, index_B: Index, items_B: list[list[Item]], per_image: int, grounded: bool = False
    ) -> list[list[Question]]:
        """At most ``per_image`` questions a scene, no two alike; the first of more are those of fewer."""
        held_out = split == HELD_OUT
        weights, available_K = self._fit(held_out)
        key_B = counter.keys(self.seed, f"{split}/{'grounded' if grounded else 'questions'}", index_B)
        order_BK = self._order(key_B, available_K)
        rounds = min(_SAME_KIND, per_image)
        fields = [
            _ASK + (kind * _SAME_KIND + j) * 2 + which
            for kind in range(len(self.kinds))
            for j in range(rounds)
            for which in (0, 1)
        ]
        draws = counter.uniforms(key_B, np.array(fields)).reshape(len(key_B), len(self.kinds), rounds, 2)
        mark = "g" if grounded else ""
        result = []
        for index, items, order_K, draw in zip(
            np.asarray(index_B).tolist(), items_B, order_BK.tolist(), draws.tolist(), strict=True
        ):
            asked: list[Question] = []
            pools = {k: self.candidates(self.kinds[k], items, held_out, grounded) for k in order_K[:per_image]}
            for j in range(rounds):
                for k in order_K:
                    if len(asked) == per_image:
                        break
                    if k not in pools:
                        pools[k] = self.candidates(self.kinds[k], items, held_out, grounded)
                    pool = pools[k]
                    if not pool:
                        continue
                    kind = self.kinds[k]
                    answer, text = _pick(pool, weights[kind], *draw[k][j])
                    asked.append(Question(f"{split}-{index}-{kind}-{mark}{j}", kind, text, answer, (answer,)))
                if len(asked) == per_image:
                    break
            result.append(asked)
        return result

    def _order(self, key_B: counter.Keys, available_K: NDArray[np.float64]) -> NDArray[np.int64]:
        """Kinds in the order of asking [B, K]: weighted sampling without replacement (Efraimidis and Spirakis
        2006).

        The weight of a kind is one over the share of scenes that allow it, so that kinds come out even.
        """
        draw_BK = counter.uniforms(key_B, _ORDER + np.arange(len(self.kinds)))
        return np.argsort(-np.log(draw_BK + 1e-300) * available_K, axis=1, kind="stable")

    def _fit(self, held_out: bool) -> tuple[dict[str, dict[str, float]], NDArray[np.float64]]:
        if held_out not in self._fitted:
            scenes = self.calibration(held_out)
            weights: dict[str, dict[str, float]] = {}
            available = []
            for kind in self.kinds:
                answers = self.answers[kind]
                can_SA = np.zeros((len(scenes), len(answers)))
                for row, items in enumerate(scenes):
                    for answer in self.candidates(kind, items, held_out, grounded=False):
                        can_SA[row, answers.index(answer)] = 1.0
                available.append(max(can_SA.any(1).mean(), 1e-3))
                weights[kind] = dict(zip(answers, _balance(can_SA).tolist(), strict=True))
            self._fitted[held_out] = weights, np.array(available)
        return self._fitted[held_out]


def _pick(pool: Candidates, weight: dict[str, float], which: float, what: float) -> tuple[str, str]:
    """Draw an answer by its weight and a question that has it, and take the question out of ``pool``."""
    total = sum(weight[answer] for answer in pool)
    mark = which * total
    for answer in pool:
        mark -= weight[answer]
        if mark < 0:
            break
    texts = pool[answer]
    text = texts.pop(int(what * len(texts)))
    if not texts:
        del pool[answer]
    return answer, text if isinstance(text, str) else f"is the {text[0]} {text[1]} the {text[2]}?"


def _balance(can_SA: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights [A] under which all answers are drawn equally often from the scenes that allow them."""
    can_SA = can_SA[can_SA.any(1)]
    weight = np.ones(can_SA.shape[1])
    possible = can_SA.any(0)
    for _ in range(_FITTING_ROUNDS if len(can_SA) else 0):
        share = (can_SA * weight / (can_SA * weight).sum(1, keepdims=True)).mean(0)
        weight[possible] *= 1.0 / (possible.sum() * share[possible])
        weight /= weight.max()
    # An answer so rare that no scene of the calibration has it keeps a weight, or it could never be drawn.
    return np.maximum(weight, 1e-6)
