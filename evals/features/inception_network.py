"""The Inception network that FID is defined on: InceptionV3 as TensorFlow's 2015-12-05 graph has it, ported to PyTorch.

Szegedy et al. 2016, "Rethinking the Inception Architecture", section 6. It differs from the usual PyTorch InceptionV3
where the graph does: average pools leave padding out of the count, the last block pools by maximum, and there are 1008
classes. Parameters are named as in the published file ``pt_inception-2015-12-05-6726825d.pth``.

Suffixes: B images, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

Size = int | tuple[int, int]
Step = Sequence[tuple[Size, int]]
"""(kernel, channels out) of the one convolution of a step, or of the two that read the same maps."""
CLASSES = 1008


class ConvNorm(nn.Module):
    """Convolution without bias, batch normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: Size, stride: int = 1, padding: Size = 0):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, maps_BCHW: Tensor) -> Tensor:
        """Maps of ``outputs`` channels."""
        return functional.relu(self.bn(self.conv(maps_BCHW)))


def _same(kernel: Size) -> Size:
    """Padding that keeps height and width."""
    return kernel // 2 if isinstance(kernel, int) else (kernel[0] // 2, kernel[1] // 2)


class Branches(nn.Module):
    """Chains of convolutions side by side, and a pool; their outputs are put after one another.

    Args:
        inputs: channels that come in.
        chains: name → steps, one after the other. The convolutions of a chain of several steps are called ``name_1``,
            ``name_2`` and so on, those of a double step ``name_2a`` and ``name_2b``.
        pool: ``average`` (without the padding in the count), ``max``, or ``stride``: maximum with stride 2, where the
            last convolution of each chain has stride 2 too and no convolution follows the pool.
        pooled: channels out of the convolution behind the pool.
    """

    def __init__(self, inputs: int, chains: Mapping[str, Sequence[Step]], pool: str, pooled: int = 0):
        super().__init__()
        self.pool = pool
        self._chains: list[list[list[str]]] = []
        for name, steps in chains.items():
            width, chain = inputs, []
            for number, step in enumerate(steps, 1):
                base = name if len(steps) == 1 else f"{name}_{number}"
                layers = [base] if len(step) == 1 else [f"{base}a", f"{base}b"]
                shrinks = pool == "stride" and number == len(steps)
                for layer, (kernel, outputs) in zip(layers, step, strict=True):
                    padding = 0 if shrinks else _same(kernel)
                    self.add_module(layer, ConvNorm(width, outputs, kernel, 2 if shrinks else 1, padding))
                width = sum(outputs for _, outputs in step)
                chain.append(layers)
            self._chains.append(chain)
        if pooled:
            self.branch_pool = ConvNorm(inputs, pooled, 1)

    def forward(self, maps_BCHW: Tensor) -> Tensor:
        """The channels of all branches."""
        outputs = []
        for chain in self._chains:
            maps = maps_BCHW
            for names in chain:
                results = [self.get_submodule(name)(maps) for name in names]
                maps = torch.cat(results, dim=1)
            outputs.append(maps)
        return torch.cat([*outputs, self._pooled(maps_BCHW)], dim=1)

    def _pooled(self, maps_BCHW: Tensor) -> Tensor:
        if self.pool == "stride":
            return functional.max_pool2d(maps_BCHW, 3, stride=2)
        if self.pool == "max":
            return self.branch_pool(functional.max_pool2d(maps_BCHW, 3, stride=1, padding=1))
        return self.branch_pool(functional.avg_pool2d(maps_BCHW, 3, stride=1, padding=1, count_include_pad=False))


def _chain(*convolutions: tuple[Size, int]) -> list[Step]:
    """Steps of one convolution each."""
    return [[convolution] for convolution in convolutions]


def _grid35(inputs: int, pooled: int) -> Branches:
    chains = {
        "branch1x1": _chain((1, 64)),
        "branch5x5": _chain((1, 48), (5, 64)),
        "branch3x3dbl": _chain((1, 64), (3, 96), (3, 96)),
    }
    return Branches(inputs, chains, "average", pooled)


def _grid17(narrow: int) -> Branches:
    wide, tall = (1, 7), (7, 1)
    chains = {
        "branch1x1": _chain((1, 192)),
        "branch7x7": _chain((1, narrow), (wide, narrow), (tall, 192)),
        "branch7x7dbl": _chain((1, narrow), (tall, narrow), (wide, narrow), (tall, narrow), (wide, 192)),
    }
    return Branches(768, chains, "average", 192)


def _grid8(inputs: int, pool: str) -> Branches:
    both: Step = [((1, 3), 384), ((3, 1), 384)]
    chains = {
        "branch1x1": _chain((1, 320)),
        "branch3x3": [*_chain((1, 384)), both],
        "branch3x3dbl": [*_chain((1, 448), (3, 384)), both],
    }
    return Branches(inputs, chains, pool, 192)


def _to_grid17() -> Branches:
    chains = {"branch3x3": _chain((3, 384)), "branch3x3dbl": _chain((1, 64), (3, 96), (3, 96))}
    return Branches(288, chains, "stride")


def _to_grid8() -> Branches:
    chains = {
        "branch3x3": _chain((1, 192), (3, 320)),
        "branch7x7x3": _chain((1, 192), ((1, 7), 192), ((7, 1), 192), (3, 192)),
    }
    return Branches(768, chains, "stride")


class FidInception(nn.Module):
    """From images to the 2048 channels of the last pool."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = ConvNorm(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = ConvNorm(32, 32, 3)
        self.Conv2d_2b_3x3 = ConvNorm(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = ConvNorm(64, 80, 1)
        self.Conv2d_4a_3x3 = ConvNorm(80, 192, 3)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = _grid35(192, 32), _grid35(256, 64), _grid35(288, 64)
        self.Mixed_6a = _to_grid17()
        self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e = (_grid17(n) for n in (128, 160, 160, 192))
        self.Mixed_7a = _to_grid8()
        self.Mixed_7b, self.Mixed_7c = _grid8(1280, "average"), _grid8(2048, "max")
        self.fc = nn.Linear(2048, CLASSES)  # in the file; FID does not use it

    def forward(self, images_B3HW: Tensor) -> Tensor:
        """[B, 2048] of images [B, 3, 299, 299] in -1 … 1."""
        maps = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(images_B3HW)))
        maps = functional.max_pool2d(maps, 3, stride=2)
        maps = functional.max_pool2d(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(maps)), 3, stride=2)
        maps = self.Mixed_6a(self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(maps))))
        maps = self.Mixed_7a(self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(maps)))))
        return self.Mixed_7c(self.Mixed_7b(maps)).mean(dim=(2, 3))
