"""The pixel tokenizer: its networks at the published size, its adversary, and that it learns images."""

from __future__ import annotations

import pytest
import torch

from lavit.data.world import World
from lavit.errors import LavitError
from lavit.stages.outputs import psnr
from lavit.tokenizer.euclidean import EuclideanQuantizer
from lavit.tokenizer.objective import mixed_vectors
from lavit.tokenizer.pixel import PixelTokenizer
from lavit.tokenizer.pixel.adversary import PatchDiscriminator, adaptive_weight, hinge_loss, judged
from lavit.tokenizer.pixel.networks import ConvDecoder, ConvEncoder
from lavit.vision.encoder import scale_pixels

SMALL = {"channels": 8, "multipliers": [1, 1, 2, 4], "blocks": 1, "attention": [4], "latent": 32}
TAMING = {"channels": 128, "multipliers": [1, 1, 2, 2, 4], "blocks": 2, "attention": [16], "latent": 256}

ENCODER_DECODER = (29_298_176, 42_449_795)  # at TAMING's size


def small(**quantizer: object) -> PixelTokenizer:
    torch.manual_seed(0)
    made = EuclideanQuantizer(32, 64, 8, l2_norm=True, **quantizer)  # type: ignore[arg-type]
    return PixelTokenizer(32, SMALL, made, vision_dim=16)


def size(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_official_sizes_on_the_meta_device() -> None:
    """The VQ-f4 of latent diffusion logs 22.3 M and 33.0 M parameters; pix2pix's PatchGAN has 2,765,633."""
    with torch.device("meta"):
        f4 = {"side": 256, "channels": 128, "multipliers": [1, 2, 4], "blocks": 2, "attention": [], "latent": 3}
        assert round(size(ConvEncoder(**f4)) / 1e6, 1) == 22.3  # type: ignore[arg-type]
        assert round(size(ConvDecoder(**f4)) / 1e6, 1) == 33.0  # type: ignore[arg-type]
        tokenizer = PixelTokenizer(256, TAMING, EuclideanQuantizer(256, 1024, 256), vision_dim=16)
        assert (size(tokenizer.encoder), size(tokenizer.decoder)) == ENCODER_DECODER
        images_BHWC = torch.empty(1, 256, 256, 3)
        latents_BME = tokenizer.latents(images_BHWC)
        assert latents_BME.shape == (1, 256, 256)
        assert tokenizer.raw(tokenizer.quantizer.vectors(latents_BME)).shape == images_BHWC.shape
        assert size(PatchDiscriminator()) == 2_765_633
        assert PatchDiscriminator()(torch.empty(2, 3, 256, 256)).shape == (2, 1, 30, 30)


@pytest.mark.slow
def test_it_learns_a_few_images(tiny_images: torch.Tensor) -> None:
    tokenizer = small(init="kmeans")
    pixels = scale_pixels(tiny_images)
    optimizer = torch.optim.AdamW(tokenizer.parameters(), lr=4e-3)
    generator = torch.Generator().manual_seed(0)
    quality = []
    for step in range(60):
        vectors = tokenizer.quantizer.vectors(tokenizer.latents(pixels))
        total = torch.zeros(())
        if step == 20:
            tokenizer.quantizer.initialise(vectors.detach().flatten(0, 1), generator)
        if step >= 20:
            codes = tokenizer.lookup(tokenizer.quantizer.codes(vectors))
            total, _ = tokenizer.quantizer.loss(vectors, codes, torch.ones(vectors.shape[:2]), 0.25)
            vectors = mixed_vectors(vectors, codes, torch.zeros(vectors.shape[:2], dtype=torch.bool))
        total = total + (tokenizer.raw(vectors) - pixels).abs().mean()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        if step % 20 == 19:
            tokens = tokenizer.encode(tiny_images)
            with torch.no_grad():
                painted = tokenizer.paint(tokens.vectors_BKD, tokens.places_BK, tokens.mask_BK)
                coded = tokenizer.paint(tokenizer.lookup(tokens.codes_BK), tokens.places_BK, tokens.mask_BK)
            quality.append((psnr(painted, tiny_images / 255), psnr(coded, tiny_images / 255)))
    blank = psnr(tiny_images.float().mean((0, 1, 2)).expand_as(tiny_images) / 255, tiny_images / 255)
    assert quality[0][0] < quality[2][0]
    assert quality[1][1] < quality[2][1]
    assert quality[2][1] > blank + 2
    assert len(tokens.codes_BK.unique()) > 16


@pytest.fixture(scope="module")
def tiny_images() -> torch.Tensor:
    import tiny_stages

    from lavit import data

    config = tiny_stages.whole()
    world: World = data.build(config.data)  # type: ignore[assignment]
    return torch.from_numpy(world.images("train", range(64)))  # type: ignore[arg-type]


def test_tokens_lie_on_a_grid_and_a_missing_one_is_no_error() -> None:
    tokenizer = small().eval()
    images = torch.randint(0, 256, (3, 32, 32, 3), dtype=torch.uint8)
    tokens = tokenizer.encode(images)
    assert tokens.codes_BK.shape == (3, 16)
    assert tokens.places_BK[0].tolist() == list(range(16))
    assert tokenizer.places_implied
    assert tokenizer.positions == "place"
    with torch.no_grad():
        whole = tokenizer.paint(tokens.vectors_BKD, tokens.places_BK, tokens.mask_BK)
        shuffled = torch.randperm(16)
        again = tokenizer.paint(tokens.vectors_BKD[:, shuffled], tokens.places_BK[:, shuffled], tokens.mask_BK)
        part = tokenizer.paint(tokens.vectors_BKD[:, :9], tokens.places_BK[:, :9], tokens.mask_BK[:, :9])
        alone = tokenizer.paint(tokens.vectors_BKD[:1], tokens.places_BK[:1], tokens.mask_BK[:1])
    assert torch.equal(whole, again)
    assert part.shape == whole.shape == images.shape
    assert torch.allclose(alone[0], whole[0], atol=1e-5)
    assert 0 <= whole.min() <= whole.max() <= 1
    with pytest.raises(ValueError, match="places must lie in 0 to 15"):
        tokenizer.paint(tokens.vectors_BKD, tokens.places_BK + 1, tokens.mask_BK)
    with pytest.raises(LavitError, match="reads images of 32 x 32"):
        tokenizer.encode(images[:, :16])
    with pytest.raises(ValueError, match="vision"):
        tokenizer.decode(tokens.vectors_BKD, tokens.places_BK, tokens.mask_BK)
    with pytest.raises(LavitError, match="does not divide its side of 36"):
        ConvEncoder(36, **SMALL)  # type: ignore[arg-type]


def test_the_adaptive_weight_is_the_ratio_of_gradient_norms() -> None:
    last = torch.nn.Linear(3, 2, bias=False)
    hidden = torch.randn(5, 3)
    out = last(hidden)
    reconstruction, adversarial = (out - 1).abs().mean(), -(out * torch.tensor([0.3, -0.2])).mean()
    found = adaptive_weight(reconstruction, adversarial, last.weight)
    of_recon = torch.einsum("ro,ri->oi", (out - 1).sign(), hidden) / out.numel()
    of_adversary = -torch.outer(torch.tensor([0.3, -0.2]), hidden.sum(0)) / out.numel()
    assert float(found) == pytest.approx((of_recon.norm() / (of_adversary.norm() + 1e-6)).item(), rel=1e-5)
    assert not found.requires_grad
    nothing = adaptive_weight(reconstruction, 0 * out.sum(), last.weight)
    assert float(nothing) == 1e4, "clamped"
    assert out.requires_grad, "and the graph is still there for the step itself"
    (reconstruction + found * adversarial).backward()


def test_one_step_trains_both_sides_as_two_would() -> None:
    torch.manual_seed(0)
    decoder = ConvDecoder(32, **SMALL)  # type: ignore[arg-type]
    discriminator = PatchDiscriminator(8, 2)
    latents, real = torch.randn(2, 32, 4, 4), torch.randn(2, 3, 32, 32)
    (judged(discriminator, decoder(latents)) + hinge_loss(discriminator, real, decoder(latents))).backward()
    together = [p.grad.clone() for p in (*decoder.parameters(), *discriminator.parameters()) if p.grad is not None]
    apart = [
        *torch.autograd.grad(-discriminator(decoder(latents)).mean(), list(decoder.parameters())),
        *torch.autograd.grad(hinge_loss(discriminator, real, decoder(latents)), list(discriminator.parameters())),
    ]
    assert len(together) == len(apart)
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(together, apart, strict=True))
