"""Which examples a step sees: a pure function of (seed, step), the same for every arm of a seed."""

from __future__ import annotations

import numpy as np

from lavit.stages.training import step_generator


class DataOrder:
    """Endless epochs over ``size`` examples, each epoch shuffled anew by (seed, purpose, epoch).

    Args:
        size: number of examples in the split.
        seed: the run's seed; arms of one seed share it, so that their comparison is paired.
        purpose: separates the streams of one stage (captions, questions, generation, text).
    """

    def __init__(self, size: int, seed: int, purpose: int):
        if size < 1:
            raise ValueError("a data order over no examples: the training split is empty")
        self.size, self.seed, self.purpose = size, seed, purpose
        self._epochs: dict[int, np.ndarray] = {}

    def _epoch(self, epoch: int) -> np.ndarray:
        if epoch not in self._epochs:
            import torch

            generator = step_generator(self.seed, epoch, 1000 + self.purpose)
            self._epochs = {e: o for e, o in self._epochs.items() if e >= epoch - 1}
            self._epochs[epoch] = torch.randperm(self.size, generator=generator).numpy()
        return self._epochs[epoch]

    def take(self, step: int, batch: int) -> np.ndarray:
        """The ``batch`` indices of ``step``, int64 [B]."""
        if batch == 0:
            return np.zeros(0, np.int64)
        positions = np.arange(step * batch, (step + 1) * batch)
        return np.array([self._epoch(int(p // self.size))[p % self.size] for p in positions], np.int64)
