"""The adversary of VQGAN: a discriminator of patches, its hinge loss, and the weight that keeps the balance.

Generator and discriminator share no parameter. So one optimizer step trains both: the generator's loss goes through a
discriminator whose weights stand still (:func:`judged`), the discriminator's looks at images that are cut off from the
generator. Only the clipping of gradients (``optimizer.clip``) sees both together.

Shapes: B images, H W pixels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STEADY = 1e-6  # added to the norm that is divided by
LARGEST = 1e4  # adaptive weight
SLOPE = 0.2  # of the leaky ReLUs
SPREAD = 0.02  # of the initial weights


class PatchDiscriminator(nn.Module):
    """Pix2pix's PatchGAN (Isola et al. 2017): 4 x 4 convolutions to one logit for each overlapping patch.

    Args:
        channels: after the first convolution; they double with each further one, up to eight times.
        layers: halving convolutions (3 in VQGAN, whose patches are 70 pixels wide).
    """

    def __init__(self, channels: int = 64, layers: int = 3):
        super().__init__()
        now = channels
        parts: list[nn.Module] = [nn.Conv2d(3, now, 4, stride=2, padding=1), nn.LeakyReLU(SLOPE)]
        for layer in range(1, layers + 1):
            out = channels * min(2**layer, 8)
            stride = 2 if layer < layers else 1
            parts += [nn.Conv2d(now, out, 4, stride, 1, bias=False), nn.BatchNorm2d(out), nn.LeakyReLU(SLOPE)]
            now = out
        self.body = nn.Sequential(*parts, nn.Conv2d(now, 1, 4, padding=1))
        for part in self.body:
            if isinstance(part, nn.Conv2d):
                nn.init.normal_(part.weight, std=SPREAD)
            elif isinstance(part, nn.BatchNorm2d):
                nn.init.normal_(part.weight, 1.0, SPREAD)

    def forward(self, images_B3HW: Tensor) -> Tensor:
        """Logits [B, 1, h, w] of images in -1 … 1; high where a patch looks real."""
        return self.body(images_B3HW)


def judged(discriminator: nn.Module, painted_B3HW: Tensor) -> Tensor:
    """The generator's loss, minus the mean logit of what it painted; moves the generator alone."""
    learning = [parameter for parameter in discriminator.parameters() if parameter.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(False)
    loss = -discriminator(painted_B3HW).mean()
    for parameter in learning:
        parameter.requires_grad_(True)
    return loss


def hinge_loss(discriminator: nn.Module, real_B3HW: Tensor, painted_B3HW: Tensor) -> Tensor:
    """The discriminator's loss: real patches above 1, painted ones below -1; moves the discriminator alone."""
    real, painted = discriminator(real_B3HW), discriminator(painted_B3HW.detach())
    return (F.relu(1 - real).mean() + F.relu(1 + painted).mean()) / 2


def adaptive_weight(reconstruction: Tensor, adversarial: Tensor, last_weight: Tensor) -> Tensor:
    """How much the adversarial loss weighs: by it, it moves the decoder's last layer as the reconstruction loss does.

    |d reconstruction / d w| / (|d adversarial / d w| + 1e-6), clamped (Esser et al. 2021, equation 7).
    """
    ours, theirs = (
        torch.autograd.grad(loss, last_weight, retain_graph=True)[0].norm() for loss in (reconstruction, adversarial)
    )
    return (ours / (theirs + STEADY)).clamp(0, LARGEST).detach()
