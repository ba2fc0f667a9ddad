"""How a denoising network is taught and asked: rectified flow, or noise prediction as LaVIT published it.

Both take a clean picture, mix it with Gaussian noise at a random time, and name what the network should say of the
mixture; both turn pure noise into a picture by asking it at falling times. Nothing here is random but what is drawn
from the given generator: sampling is deterministic once the first noise is given.

Shapes: B pictures, c h w channels, rows and columns of what is denoised, T training times.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from lavit.errors import LavitError

TIMES = 1000  # the scale on which U-Nets take the time: 0 … 1000 (exclusive where it is a whole number)
Predict = Callable[[Tensor, Tensor], Tensor]  # (noisy_Bchw, time_B) -> what the network says


@dataclass(frozen=True)
class Lesson:
    """A noisy picture, the time [B] at which it stands, and what the network should say of it."""

    noisy_Bchw: Tensor
    time_B: Tensor
    target_Bchw: Tensor


class Objective(Protocol):
    """What a network predicts, and how pictures come out of its predictions."""

    def lesson(self, clean_Bchw: Tensor, generator: torch.Generator) -> Lesson:
        """Mix clean pictures with noise from a CPU generator."""
        ...

    def sample(self, predict: Predict, noise_Bchw: Tensor, steps: int) -> Tensor:
        """Clean pictures out of pure noise, in ``steps`` calls of the network."""
        ...


def _normal_like(x: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(x.shape, generator=generator).to(x)


def _over(values_B: Tensor, x_Bchw: Tensor) -> Tensor:
    return values_B.to(x_Bchw).reshape(-1, 1, 1, 1)


class Flow:
    """Rectified flow (arXiv 2209.03003): a straight line from picture to noise, walked back by Euler's method.

    x_t = (1 - t) x + t e with t uniform in 0 … 1; the line's direction is e - x = (x_t - x) / t.

    Args:
        predict: what the network says of x_t: the ``direction``, or the ``clean`` picture x. Where what is denoised
            has many channels (folded pixels) and the network few, only the latter is learned well: pictures have few
            dimensions, noise has all of them (arXiv 2511.13720).

    Raises:
        LavitError: an unknown ``predict``.
    """

    def __init__(self, predict: str = "direction"):
        if predict not in ("direction", "clean"):
            raise LavitError(f"pixels.decoder.objective.predict={predict!r} is unknown; choose direction or clean")
        self.clean = predict == "clean"

    def lesson(self, clean_Bchw: Tensor, generator: torch.Generator) -> Lesson:
        """See :class:`Objective`."""
        time_B = torch.rand(len(clean_Bchw), generator=generator)
        noise_Bchw = _normal_like(clean_Bchw, generator)
        share = _over(time_B, clean_Bchw)
        noisy_Bchw = (1 - share) * clean_Bchw + share * noise_Bchw
        target_Bchw = clean_Bchw if self.clean else noise_Bchw - clean_Bchw
        return Lesson(noisy_Bchw, (time_B * TIMES).to(clean_Bchw), target_Bchw)

    def sample(self, predict: Predict, noise_Bchw: Tensor, steps: int) -> Tensor:
        """See :class:`Objective`."""
        x_Bchw = noise_Bchw
        for step in range(steps):
            time = 1 - step / steps
            said_Bchw = predict(x_Bchw, x_Bchw.new_full((len(x_Bchw),), TIMES * time))
            direction_Bchw = (x_Bchw - said_Bchw) / time if self.clean else said_Bchw
            x_Bchw = x_Bchw - direction_Bchw / steps
        return x_Bchw


class Epsilon:
    """Noise prediction (DDPM, arXiv 2006.11239; LaVIT, arXiv 2309.04669, Eq. 5), sampled by DDIM (arXiv 2010.02502).

    x_t = sqrt(a_t) x + sqrt(1 - a_t) e, target e, with t uniform over T whole times and a_t the running product of
    1 - b_t; the square roots of b_t lie in equal steps between those of ``first`` and ``last``. Sampling visits
    every (T / steps)-th time, from time 1 upwards, as Stable Diffusion does.

    Args:
        first, last: b of the first and the last time; the defaults are Stable Diffusion's.

    Raises:
        LavitError: more sampling steps than training times.
    """

    def __init__(self, first: float = 0.00085, last: float = 0.012):
        betas_T = torch.linspace(first**0.5, last**0.5, TIMES, dtype=torch.float32) ** 2
        self.kept_T = torch.cumprod(1 - betas_T, 0)

    def lesson(self, clean_Bchw: Tensor, generator: torch.Generator) -> Lesson:
        """See :class:`Objective`."""
        time_B = torch.randint(0, TIMES, (len(clean_Bchw),), generator=generator)
        noise_Bchw = _normal_like(clean_Bchw, generator)
        kept = _over(self.kept_T[time_B], clean_Bchw)
        noisy_Bchw = kept.sqrt() * clean_Bchw + (1 - kept).sqrt() * noise_Bchw
        return Lesson(noisy_Bchw, time_B.to(clean_Bchw.device), noise_Bchw)

    def sample(self, predict: Predict, noise_Bchw: Tensor, steps: int) -> Tensor:
        """See :class:`Objective`."""
        if not 1 <= steps < TIMES:
            raise LavitError(f"pixels.decoder.steps={steps}: noise prediction samples in 1 to {TIMES - 1} steps")
        stride = TIMES // steps
        x_Bchw = noise_Bchw
        for time in range((steps - 1) * stride + 1, 0, -stride):
            kept, kept_next = float(self.kept_T[time]), float(self.kept_T[max(time - stride, 0)])
            time_B = torch.full((len(x_Bchw),), time, device=x_Bchw.device)
            noise_Bchw = predict(x_Bchw, time_B)
            clean_Bchw = (x_Bchw - (1 - kept) ** 0.5 * noise_Bchw) / kept**0.5
            x_Bchw = kept_next**0.5 * clean_Bchw + (1 - kept_next) ** 0.5 * noise_Bchw
        return x_Bchw
