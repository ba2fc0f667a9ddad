"""Token selectors: which patches of an image become visual tokens.

A selector answers with straight-through decisions (exactly 0 or 1 forward, the probability's gradient backward).
The learned one is LaVIT's (after DynamicViT); the others are the null rules that it has to beat.

Shapes: B images, M places, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lavit.errors import LavitError
from lavit.vision.blocks import init_transformer

KEEP, DROP = 0, 1  # channels of the decision, in LaVIT's order


@dataclass
class Selection:
    """Decisions of a selector.

    Attributes:
        keep_BM: 1.0 where the place becomes a token, else 0.0; carries the gradient of the keep probability.
        log_probs_BM2: log-probabilities of keeping and dropping, None where nothing was decided by a model.
    """

    keep_BM: Tensor
    log_probs_BM2: Tensor | None = None


def at_least_one(keep_BM: Tensor, score_BM: Tensor) -> Tensor:
    """Keep the best-scored place of an image that kept nothing: an image of no tokens cannot be decoded."""
    empty_B1 = keep_BM.sum(1, keepdim=True) == 0
    best_BM = F.one_hot(score_BM.argmax(1), keep_BM.shape[1]).to(keep_BM.dtype)
    return torch.where(empty_B1, best_BM, keep_BM)


MODES = ("argmax", "sample", "top_k")


class TokenSelector(nn.Module):
    """LaVIT's selector: a small MLP on each feature beside the image's mean feature decides to keep or to drop.

    LayerNorm, Linear, GELU; the first half of the channels stays local and the second half is averaged over the
    image; then an MLP that halves its width twice, two logits, log-softmax. In training the decision is a hard
    Gumbel-softmax sample, so that the selector sees both sides of what it is unsure about.

    Args:
        width: channels of the features.
        places: number of places of an image.
        mode: how evaluation decides. ``argmax`` keeps a place where keeping is at least as probable as dropping;
            ``sample`` draws, as the official code does in evaluation too (here from each image's own key, so that an
            image has the same tokens in every run; from a generator where one is given); ``top_k`` keeps the ``budget``
            most probable places, in training those of a noisy ranking.
        budget: tokens an image with ``top_k``.
        temperature: of the Gumbel-softmax.
        at_least_one: keep the most probable place of an image that would keep none; False is the official behaviour.
    """

    learned = True
    tokens_per_image: int | None = None  # even with an exact budget, which places are kept is not implied

    def __init__(
        self,
        width: int,
        places: int,
        mode: str = "argmax",
        budget: int | None = None,
        temperature: float = 1.0,
        at_least_one: bool = True,
    ):
        super().__init__()
        if width % 4:
            raise LavitError(f"the selector halves its width twice; {width} channels are not a multiple of 4")
        if mode not in MODES:
            raise LavitError(f"tokens.selector.mode={mode!r} is unknown", f"choose one of {', '.join(MODES)}")
        if (mode == "top_k") != (budget is not None):
            raise LavitError(
                f"tokens.selector.budget={budget} with mode={mode}", "top_k needs a budget, the others none"
            )
        if budget is not None and not 1 <= budget <= places:
            raise LavitError(f"tokens.selector.budget={budget} is impossible: an image has {places} places")
        self.mode, self.budget, self.temperature, self.guarded = mode, budget, temperature, at_least_one
        self.enter = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU())
        self.decide = nn.Sequential(
            nn.Linear(width, width // 2),
            nn.GELU(),
            nn.Linear(width // 2, width // 4),
            nn.GELU(),
            nn.Linear(width // 4, 2),
        )
        init_transformer(self)

    def log_probs(self, features_BMC: Tensor) -> Tensor:
        """Log-probabilities [B, M, 2] of keeping and of dropping."""
        x_BMC = self.enter(features_BMC.float())
        local, whole = x_BMC.chunk(2, dim=-1)
        x_BMC = torch.cat([local, whole.mean(1, keepdim=True).expand_as(whole)], dim=-1)
        return F.log_softmax(self.decide(x_BMC), dim=-1)

    def forward(
        self, features_BMC: Tensor, generator: torch.Generator | None = None, keys_B: Tensor | None = None
    ) -> Selection:
        """Decide. With a ``generator`` the decision is sampled, without one it follows ``mode``.

        Raises:
            LavitError: ``mode`` is ``sample`` and neither a generator nor the images' keys are given.
        """
        log_probs_BM2 = self.log_probs(features_BMC)
        score_BM = log_probs_BM2[..., KEEP] - log_probs_BM2[..., DROP]
        noise_BM2 = self._noise(log_probs_BM2, generator, keys_B)
        if noise_BM2 is not None:
            score_BM = score_BM + noise_BM2[..., KEEP] - noise_BM2[..., DROP]
        hard_BM = self._harden(score_BM)
        if generator is None:
            return Selection(hard_BM, log_probs_BM2)
        soft_BM = (score_BM / self.temperature).sigmoid()  # the softmax over two logits
        return Selection(hard_BM + (soft_BM - soft_BM.detach()), log_probs_BM2)

    def _noise(self, like_BM2: Tensor, generator: torch.Generator | None, keys_B: Tensor | None) -> Tensor | None:
        """Gumbel noise where the decision is drawn."""
        if generator is not None:
            uniform = torch.rand(like_BM2.shape, generator=generator)
        elif self.mode == "sample":
            if keys_B is None:
                raise LavitError("tokens.selector.mode=sample needs a generator or the images' keys")
            uniform = uniform_from_keys(keys_B, like_BM2[0].numel()).view(like_BM2.shape)
        else:
            return None
        return -(-uniform.clamp(1e-9, 1 - 1e-7).log()).log().to(like_BM2)

    def _harden(self, score_BM: Tensor) -> Tensor:
        if self.budget is not None:
            kept_BK = score_BM.detach().topk(self.budget, dim=1).indices
            return torch.zeros_like(score_BM).scatter(1, kept_BK, 1.0)
        hard_BM = (score_BM >= 0).to(score_BM.dtype)
        return at_least_one(hard_BM, score_BM) if self.guarded else hard_BM


class KeepAll(nn.Module):
    """Every place becomes a token: the fixed arm, and what follows a pooling."""

    learned = False

    def __init__(self, width: int, places: int):
        super().__init__()
        self.tokens_per_image: int | None = places

    def forward(
        self, features_BMC: Tensor, generator: torch.Generator | None = None, keys_B: Tensor | None = None
    ) -> Selection:
        """Keep everything."""
        return Selection(features_BMC.new_ones(features_BMC.shape[:2]))


class KeepRandom(nn.Module):
    """A random subset of a declared mean size: what dynamic selection has to beat at the same number of tokens.

    In evaluation the subset of an image is drawn from the image's own key, so that it is random over images and
    the same whenever the same image is encoded.

    Args:
        mean: mean number of kept places; a fraction is met by keeping one more in that share of the images.
    """

    learned = False
    tokens_per_image: int | None = None

    def __init__(self, width: int, places: int, mean: float):
        super().__init__()
        if not 1 <= mean <= places:
            raise LavitError(f"tokens.mean={mean} is impossible: an image has {places} places, and keeps at least 1")
        self.mean = float(mean)
        if self.mean.is_integer():
            self.tokens_per_image = None  # the number is known, yet which places are kept is not: nothing is implied

    def forward(
        self, features_BMC: Tensor, generator: torch.Generator | None = None, keys_B: Tensor | None = None
    ) -> Selection:
        """Keep a random subset, drawn from the generator (training) or from the images' keys (evaluation)."""
        batch, places, _ = features_BMC.shape
        if generator is not None:
            draw_BM1 = torch.rand(batch, places + 1, generator=generator)
        elif keys_B is not None:
            draw_BM1 = uniform_from_keys(keys_B, places + 1)
        else:
            raise LavitError("KeepRandom needs a generator or the images' keys")
        whole, part = divmod(self.mean, 1.0)
        count_B1 = whole + (draw_BM1[:, -1:] < part).float()
        rank_BM = draw_BM1[:, :-1].argsort(1).argsort(1)
        return Selection((rank_BM < count_B1).to(features_BMC))


def image_keys(images_BHWC: Tensor) -> Tensor:
    """A 64-bit number for each uint8 image that depends on every pixel: the seed of what is random about it."""
    flat = images_BHWC.reshape(len(images_BHWC), -1).long()
    place = torch.arange(flat.shape[1], device=flat.device) * 2654435761 + 40503
    return ((flat + 1) * (place | 1) * 0x5851F42D4C957F2D).sum(1)  # wraps around, as a hash should


def uniform_from_keys(keys_B: Tensor, count: int) -> Tensor:
    """``count`` numbers in [0, 1) for each key (the integer mixing of splitmix64, wrapping as int64)."""
    x = keys_B[:, None] + torch.arange(1, count + 1, device=keys_B.device) * -0x61C8864680B583EB
    x = (x ^ ((x >> 30) & 0x3FFFFFFFF)) * -0x40A7B892E31B1A47
    x = (x ^ ((x >> 27) & 0x1FFFFFFFFF)) * -0x6B2FB644ECCEEE15
    x = x ^ ((x >> 31) & 0x1FFFFFFFF)
    return ((x >> 11) & 0x1FFFFFFFFFFFFF).double().div(2**53).float()
