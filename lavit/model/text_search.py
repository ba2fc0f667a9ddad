"""What is written next: the likeliest id, a drawn one, or the beams of a search. No model in here, only its scores.

The beam search is that of transformers' ``generate`` (version 5), decision for decision, except that each row stops by
itself: a row's beams depend on no other row.

Shapes: B rows, K beams, V ids, T ids that are written.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from lavit.model.sampling import forbid, top_k, top_p
from lavit.model.text_settings import TextSettings

IMPOSSIBLE = -1.0e9  # below every sum of log-probabilities, yet finite: what a beam scores that must not be chosen


class Search(ABC):
    """Rows that are being written. Every tensor that it holds has the rows in front.

    Args:
        rows: how many.
        settings: beams, lengths, sampling.
        eos: the end mark.
        forbidden: ids that are never written.
        device: of the scores.

    Attributes:
        done_B: rows that have said all.
    """

    def __init__(
        self, rows: int, settings: TextSettings, eos: int, forbidden: tuple[slice | int, ...], device: torch.device
    ):
        self.settings, self.eos, self.forbidden, self.step = settings, eos, forbidden, 0
        self.done_B = torch.zeros(rows, dtype=torch.bool, device=device)
        self.place_B = torch.arange(rows, device=device)
        self.said: list[list[int]] = [[] for _ in range(rows)]

    @abstractmethod
    def advance(self, scores_BKV: Tensor) -> tuple[Tensor, Tensor | None]:
        """Ids [B, K] to be fed next, and the beams [B, K] that each of them continues (None: its own)."""

    @abstractmethod
    def best_BT(self) -> Tensor:
        """What each row says, filled up with the end mark."""

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows alone; what the others say is noted."""
        self._note()
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, value[rows])

    def written(self) -> list[list[int]]:
        """What each row says, also those that have left, filled up with the end mark."""
        self._note()
        return self.said

    def _note(self) -> None:
        for place, ids in zip(self.place_B.tolist(), self.best_BT().tolist(), strict=True):
            self.said[place] = ids

    def _forbid(self, scores_BKV: Tensor) -> None:
        forbid(scores_BKV, *self.forbidden)
        if self.step < self.settings.min_new:
            forbid(scores_BKV, self.eos)


class Greedy(Search):
    """One id after the other: the likeliest, or one drawn from scores at a temperature.

    Args:
        chance_BT: numbers in [0, 1) that decide the draws; needed at temperatures above 0. A row's draws depend on its
            own numbers, not on which rows are written beside it.
        common: see :class:`Search`.
    """

    def __init__(self, chance_BT: Tensor | None, *common: Any):
        super().__init__(*common)
        self.chance_BT = chance_BT
        rows, device = len(self.done_B), self.done_B.device
        self.ids_BT = torch.full((rows, self.settings.max_new), self.eos, device=device)

    def advance(self, scores_BKV: Tensor) -> tuple[Tensor, Tensor | None]:
        """See :class:`Search`."""
        self._forbid(scores_BKV)
        scores_BV = scores_BKV[:, 0]
        if self.settings.temperature == 0:
            ids_B = scores_BV.argmax(-1)
        else:
            assert self.chance_BT is not None, "sampling needs numbers to draw by"
            ids_B = drawn(scores_BV, self.settings, self.chance_BT[:, self.step])
        ids_B = ids_B.masked_fill(self.done_B, self.eos)
        self.ids_BT[:, self.step] = ids_B
        self.step += 1
        self.done_B = self.done_B | (ids_B == self.eos) | (self.step == self.settings.max_new)
        return ids_B[:, None], None

    def best_BT(self) -> Tensor:
        """See :class:`Search`."""
        return self.ids_BT


def drawn(scores_BV: Tensor, settings: TextSettings, chance_B: Tensor) -> Tensor:
    """The id of each row at which the cumulative probability passes its number."""
    scores_BV = scores_BV / settings.temperature
    if settings.top_k is not None:
        scores_BV = top_k(scores_BV, settings.top_k)
    mass_BV = top_p(scores_BV, settings.top_p).double().softmax(-1).cumsum(-1)
    return (mass_BV <= chance_B[:, None] * mass_BV[:, -1:]).sum(-1)


class BeamSearch(Search):
    """The likeliest sequences, several at a time. Arguments: see :class:`Search`."""

    def __init__(self, *common: Any):
        super().__init__(*common)
        shape, device = (len(self.done_B), self.settings.beams), self.done_B.device
        self.running_BKT = torch.full((*shape, self.settings.max_new), self.eos, device=device)
        self.finished_BKT = self.running_BKT.clone()
        # All beams start equal, so the first step continues only the first of them.
        self.running_BK = torch.full(shape, IMPOSSIBLE, device=device)
        self.running_BK[:, 0] = 0
        self.finished_BK = torch.full(shape, IMPOSSIBLE, device=device)
        self.is_finished_BK = torch.zeros(shape, dtype=torch.bool, device=device)
        self.hopeful_B1 = torch.ones(shape[0], 1, dtype=torch.bool, device=device)

    def advance(self, scores_BKV: Tensor) -> tuple[Tensor, Tensor | None]:
        """See :class:`Search`."""
        settings, vocabulary = self.settings, scores_BKV.shape[-1]
        log_BKV = scores_BKV.log_softmax(-1)
        self._forbid(log_BKV)  # after normalising, as transformers does: what is left is not made likelier
        log_BKV = log_BKV + self.running_BK[:, :, None]
        # Twice as many candidates as beams: even if half of them end, all beams go on.
        score_BC, index_BC = log_BKV.flatten(1).topk(2 * settings.beams)
        parent_BC, id_BC = index_BC // vocabulary, index_BC % vocabulary
        candidate_BCT = _pick(self.running_BKT, parent_BC)
        candidate_BCT[:, :, self.step] = id_BC
        self.step += 1
        ends_BC = id_BC == self.eos
        if self.step == settings.max_new:
            ends_BC = torch.ones_like(ends_BC)
        goes_on_BC = score_BC + ends_BC.float() * IMPOSSIBLE
        self.running_BK, chosen_BK = goes_on_BC.topk(settings.beams)
        self._finish(candidate_BCT, score_BC, ends_BC)
        self.running_BKT = _pick(candidate_BCT, chosen_BK)
        self._judge(ends_BC)
        return id_BC.gather(1, chosen_BK), parent_BC.gather(1, chosen_BK)

    def _finish(self, candidate_BCT: Tensor, score_BC: Tensor, ends_BC: Tensor) -> None:
        """Take candidates that end, if they are among the best and better than what has ended before."""
        settings = self.settings
        ends_now_BC = ends_BC.clone()
        ends_now_BC[:, settings.beams :] = False
        full_B1 = self.is_finished_BK.all(1, keepdim=True) & (settings.early_stopping is True)
        score_BC = score_BC / self.step**settings.length_penalty
        for barred in (full_B1, ~self.hopeful_B1, ~ends_now_BC):
            score_BC = score_BC + barred.float() * IMPOSSIBLE
        scores = torch.cat([self.finished_BK, score_BC], 1)
        self.finished_BK, best_BK = scores.topk(settings.beams)
        self.finished_BKT = _pick(torch.cat([self.finished_BKT, candidate_BCT], 1), best_BK)
        self.is_finished_BK = torch.cat([self.is_finished_BK, ends_now_BC], 1).gather(1, best_BK)

    def _judge(self, ends_BC: Tensor) -> None:
        """Whether anything that still runs could become better than what has ended."""
        settings = self.settings
        reach = self.step
        if settings.early_stopping == "never" and settings.length_penalty > 0:
            reach = settings.max_new
        best_B1 = self.running_BK[:, :1] / reach**settings.length_penalty
        worst_B1 = self.finished_BK.min(1, keepdim=True).values
        worst_BK = worst_B1.where(self.is_finished_BK, IMPOSSIBLE)
        self.hopeful_B1 = self.hopeful_B1 & (best_B1 > worst_BK).any(1, keepdim=True)
        over_B = ~self.hopeful_B1[:, 0] | ends_BC.all(1)
        if settings.early_stopping is True:
            over_B = over_B | self.is_finished_BK.all(1)
        self.done_B = self.done_B | over_B

    def best_BT(self) -> Tensor:
        """See :class:`Search`."""
        return self.finished_BKT[:, 0]


def _pick(sequences_BXT: Tensor, index_BY: Tensor) -> Tensor:
    return sequences_BXT.gather(1, index_BY[:, :, None].expand(-1, -1, sequences_BXT.shape[-1]))
