"""Features for FID: the 2048 channels of the published Inception network, with the resizing of the two usual codes.

Suffixes: B images, H height, W width, C channels, D features.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from evals.errors import EvaluationError
from evals.features.device import choose_device
from evals.features.extractor import Floats, Picture
from evals.features.inception_network import FidInception
from evals.features.weights import INCEPTION_PAGE as PAGE
from evals.features.weights import content_hash

SIDE = 299
RESIZES = ("pytorch-fid", "tensorflow")


class InceptionFeatures:
    """FID's Inception network with weights from a local file.

    Args:
        weights: ``pt_inception-2015-12-05-6726825d.pth``, a plain state dict; pickled code in it is not run.
        resize: ``pytorch-fid``: bilinear, pixel centres aligned, without antialiasing, pixels to -1 … 1 by 2x - 1;
            ``tensorflow``: as torch-fidelity and the first graph do, corners aligned and (x - 128) / 128. The two
            differ by some tenths of FID.
        device: where to compute; a GPU where there is one, unless named.

    Raises:
        EvaluationError: no such file, or it holds something else; names the first parameter that does not fit.
    """

    label = "Inception"

    def __init__(self, weights: Path, resize: str = "pytorch-fid", device: str | None = None):
        if resize not in RESIZES:
            raise EvaluationError(f"resize is {resize!r}", f"Known: {', '.join(RESIZES)}.")
        self._path, self.resize, self.device = Path(weights).expanduser(), resize, choose_device(device)
        self._sha256 = content_hash(self._path)
        self._network = _load(self._path).to(self.device).eval()

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        """Network, resizing and a hash of the weights."""
        return {"extractor": "inception-2015-12-05 pool3", "resize": self.resize, "weights_sha256": self._sha256}

    @torch.no_grad()
    def images(self, pictures: Sequence[Picture]) -> Floats:
        """Features [B, 2048] of uint8 pictures [H, W, 3]."""
        inputs_BCHW = torch.cat([self._prepare(picture) for picture in pictures]).to(self.device)
        features: Floats = self._network(inputs_BCHW).float().cpu().numpy()
        return features

    def _prepare(self, picture: Picture) -> Tensor:
        pixels_1CHW = torch.tensor(picture).permute(2, 0, 1)[None].float()
        if self.resize == "tensorflow":
            return (resize_like_tensorflow(pixels_1CHW, SIDE) - 128) / 128
        scaled = functional.interpolate(pixels_1CHW / 255, (SIDE, SIDE), mode="bilinear", align_corners=False)
        return 2 * scaled - 1


def resize_like_tensorflow(pixels_BCHW: Tensor, side: int) -> Tensor:
    """Bilinear as in TensorFlow 1: output pixel i reads at i · in / out, without the later shift by half a pixel."""
    for axis in (2, 3):
        length = pixels_BCHW.shape[axis]
        at = torch.arange(side, dtype=torch.float32) * (length / side)
        low = at.floor().long().clamp(max=length - 1)
        high = (low + 1).clamp(max=length - 1)
        shape = [side if place == axis else 1 for place in range(4)]
        weight = (at - low).view(shape)
        lower, upper = pixels_BCHW.index_select(axis, low), pixels_BCHW.index_select(axis, high)
        pixels_BCHW = lower + (upper - lower) * weight
    return pixels_BCHW


def _load(path: Path) -> FidInception:
    """The network with the file's parameters."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise EvaluationError(
            f"{path} is not a PyTorch file of weights: {first}", f"Download it again from {PAGE}."
        ) from error
    with torch.device("meta"):
        network = FidInception()
    wanted = network.state_dict()
    counters = {name for name in wanted if name.endswith("num_batches_tracked")}  # older files have none
    if not isinstance(state, Mapping):
        raise EvaluationError(f"{path} holds {type(state).__name__}, not a state dict.", f"It is from {PAGE}.")
    for name, tensor in wanted.items():
        found = state.get(name)
        if name in counters:
            continue
        if not isinstance(found, Tensor) or found.shape != tensor.shape:
            has = f"has shape {list(found.shape)}" if isinstance(found, Tensor) else "is missing"
            raise EvaluationError(
                f"{path}: parameter {name} {has}, not {list(tensor.shape)}: these are not FID's Inception weights.",
                f"They are on {PAGE}.",
            )
    unknown = sorted(set(state) - set(wanted) - {name for name in state if name.startswith("AuxLogits.")})
    if unknown:
        raise EvaluationError(f"{path}: parameter {unknown[0]} is none of FID's Inception network.", f"See {PAGE}.")
    filled = {name: torch.zeros((), dtype=torch.long) if name in counters else state[name].float() for name in wanted}
    network.load_state_dict(filled, assign=True)
    return network
