"""Inception and CLIP from local files: names, shapes, preparation of images, and files that are something else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from t2i_files import write_clip, write_inception
from torch.nn import functional

from evals.errors import EvaluationError
from evals.features.clip import ClipFeatures
from evals.features.extractor import frechet_name, in_batches, kernel_name
from evals.features.inception import InceptionFeatures, resize_like_tensorflow
from evals.features.inception_network import FidInception


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_inception(tmp_path_factory.mktemp("inception") / "pt_inception-2015-12-05-6726825d.pth")


def test_the_network_has_the_published_parameters() -> None:
    with torch.device("meta"):
        network = FidInception()
    shapes = {name: tuple(value.shape) for name, value in network.named_parameters()}
    assert sum(value.numel() for value in network.parameters()) == 23_850_960  # torchvision's, with 1008 classes
    assert len([name for name in shapes if name.endswith("conv.weight")]) == 94
    for name, shape in {
        "Conv2d_1a_3x3.conv.weight": (32, 3, 3, 3),
        "Mixed_5b.branch_pool.conv.weight": (32, 192, 1, 1),
        "Mixed_6a.branch3x3dbl_3.conv.weight": (96, 96, 3, 3),
        "Mixed_6c.branch7x7dbl_4.conv.weight": (160, 160, 7, 1),
        "Mixed_7a.branch7x7x3_4.conv.weight": (192, 192, 3, 3),
        "Mixed_7c.branch3x3dbl_3b.conv.weight": (384, 384, 3, 1),
        "Mixed_7c.branch_pool.bn.bias": (192,),
        "fc.weight": (1008, 2048),
    }.items():
        assert shapes[name] == shape, name


def test_features_do_not_depend_on_the_batch_and_are_those_of_the_prepared_image(weights) -> None:
    pictures = [np.random.default_rng(n).integers(0, 255, (40 + 9 * n, 60, 3), np.uint8) for n in range(2)]
    extractor = InceptionFeatures(weights)
    both = in_batches(extractor, pictures, batch=2)
    assert both.shape == (2, 2048) and (both >= 0).all()
    alone = in_batches(extractor, pictures, batch=1)
    assert np.allclose(both, alone, rtol=1e-4, atol=1e-5 * np.abs(both).max())
    pixels = torch.tensor(pictures[1]).permute(2, 0, 1)[None] / 255
    prepared = 2 * functional.interpolate(pixels, (299, 299), mode="bilinear") - 1
    assert torch.allclose(extractor._prepare(pictures[1]), prepared)
    assert extractor.fingerprint != InceptionFeatures(weights, resize="tensorflow").fingerprint


def test_pools_leave_padding_out_of_the_count_and_the_last_one_takes_the_maximum(weights) -> None:
    """On constant maps both pools keep the constant everywhere; an average that counts padding sinks at the edges."""
    network = InceptionFeatures(weights)._network
    for name, kind in (("Mixed_5b", 192), ("Mixed_7b", 1280), ("Mixed_7c", 2048)):
        block = network.get_submodule(name)
        constant = torch.full((1, kind, 5, 5), 2.0)
        pooled = block._pooled(constant)
        assert torch.allclose(pooled, pooled[:, :, 2:3, 2:3].expand_as(pooled), atol=1e-5)
    spike = torch.zeros(1, 2048, 5, 5)
    spike[..., 2, 2] = 1
    seen = network.Mixed_7c._pooled(spike)
    assert torch.allclose(seen[..., 1, 1], seen[..., 2, 2], atol=1e-6)


def test_tensorflow_resizing_reads_at_whole_corners() -> None:
    row = torch.arange(4.0).view(1, 1, 1, 4)
    assert resize_like_tensorflow(row, 8)[0, 0, 0].tolist() == [0, 0.5, 1, 1.5, 2, 2.5, 3, 3]
    assert torch.equal(resize_like_tensorflow(torch.eye(5)[None, None], 5)[0, 0], torch.eye(5))


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (
            lambda s: {**s, "Mixed_5b.branch1x1.conv.weight": torch.ones(1)},
            r"Mixed_5b.branch1x1.conv.weight has shape \[1\]",
        ),
        (lambda s: {name: value for name, value in s.items() if name != "fc.bias"}, "fc.bias is missing"),
        (lambda s: {**s, "more": torch.ones(1)}, "parameter more is none"),
        (lambda s: [1, 2], "holds list"),
    ],
)
def test_other_weights_are_refused_by_the_first_parameter(weights, tmp_path, spoil, complaint) -> None:
    torch.save(spoil(torch.load(weights, weights_only=True)), tmp_path / "x.pth")
    with pytest.raises(EvaluationError, match=complaint):
        InceptionFeatures(tmp_path / "x.pth")


def test_a_file_that_would_run_code_or_is_cut_off_is_refused(weights, tmp_path) -> None:
    (tmp_path / "cut.pth").write_bytes(weights.read_bytes()[:5000])
    torch.save({"x": print}, tmp_path / "code.pth")
    for name in ("cut.pth", "code.pth"):
        with pytest.raises(EvaluationError, match="is not a PyTorch file of weights"):
            InceptionFeatures(tmp_path / name)


def test_clip_features_have_length_one_and_know_two_ways_to_prepare_images(tmp_path) -> None:
    folder = write_clip(tmp_path / "clip")
    plain, cropped = ClipFeatures(folder), ClipFeatures(folder, crop_first=True)
    pictures = [np.random.default_rng(n).integers(0, 255, (20, 40 + n, 3), np.uint8) for n in range(2)]
    for model in (plain, cropped):
        assert np.allclose(np.linalg.norm(model.images(pictures), axis=1), 1, atol=1e-5)
    middle = [picture[:, (picture.shape[1] - 20) // 2 :][:, :20] for picture in pictures]
    assert np.allclose(plain.images(middle), cropped.images(pictures), atol=1e-5)
    texts = plain.texts(["abc", "a much longer text than the model can read in one go"])
    assert texts.shape == (2, 8) and np.allclose(plain.texts(["abc"])[0], texts[0], atol=1e-5)
    (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(EvaluationError, match="holds no CLIP model that transformers can read"):
        ClipFeatures(folder)


def test_names_tell_the_extractor() -> None:
    assert (frechet_name("Inception"), frechet_name("own")) == ("FID", "FD_own")
    assert (kernel_name("Inception"), kernel_name("CLIP")) == ("KID", "KD_CLIP")
