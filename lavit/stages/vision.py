"""The vision stage: train the encoder that everything else looks through.

Where the data know what each patch shows (the embedded world), dense labels and a linear pixel head teach it;
labels alone throw the background and shapes smaller than a patch away. Where they do not, pixel reconstruction
and image-text contrast do. With ``vision.objective`` a masked objective teaches it instead, and the heads only probe:
no gradient of theirs reaches the encoder. A released encoder is not trained: it is checked, and the stage's folder
points to it.

Shapes: B images, N patches, C channels, L classes, P values of a patch's pixels, T words.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from torch import Tensor, nn

from lavit import data
from lavit.build import build, locate, plain
from lavit.data import Corpus
from lavit.errors import LavitError
from lavit.ledger import Ledger, count_parameters
from lavit.released_files import commit_of, find_checkpoint, inventory
from lavit.stages.context import StageContext
from lavit.stages.order import DataOrder
from lavit.stages.outputs import forward_flops, label_match, load_images, psnr, save_weights, write_json
from lavit.stages.training import OptimizerConfig, StageModule, fit, step_generator
from lavit.vision.encoder import VisionEncoder, patchify, scale_pixels
from lavit.vision.heads import TextTower, Vocabulary, label_loss
from lavit.vision.objectives import MaskedObjective
from lavit.vision.pretrained import KEY, PretrainedEncoder

EVALUATED = 1024  # images of the validation split that the stage's own metrics look at
LONGEST_TEXT = 48
MASKS = 1  # purpose of the draws of masks


class VisionTraining(StageModule):
    """Encoder, heads and losses of the vision stage."""

    def __init__(self, config: DictConfig, corpus: Corpus, seed: int):
        super().__init__()
        self.settings, self.corpus, self.seed = config, corpus, seed
        self.encoder: VisionEncoder = build(config.encoder, image_size=corpus.image_size)
        width, patch = self.encoder.feature_dim, self.encoder.patch
        self.images = load_images(corpus, "train")
        self.order = DataOrder(len(self.images), seed, purpose=0)
        first = corpus.patch_labels("train", np.arange(1), patch)
        self.labels = 0 if first is None else first.shape[-1]
        self.pixel_head = nn.Linear(width, patch * patch * 3)
        if self.labels:
            self.label_head = nn.Linear(width, self.labels)
        elif not config.get("objective"):
            self.texts = list(corpus.captions("train", np.arange(len(self.images))))
            self.vocabulary = Vocabulary((text for texts in self.texts for text in texts), config.words)
            self.tower = TextTower(len(self.vocabulary), width, config.joint_width)
        self.objective = build_objective(config, self.encoder)

    def batch(self, step: int) -> dict[str, Any]:
        index_B = self.order.take(step, self.settings.batch)
        batch: dict[str, Any] = {"images": self.images[index_B]}
        if self.labels:
            patch = self.encoder.patch
            batch["labels"] = torch.from_numpy(self.corpus.patch_labels("train", index_B, patch))
            batch["objects"] = torch.from_numpy(self.corpus.object_patches("train", index_B, patch))
        elif self.objective is None:
            # Each visit of an image takes its next text.
            visit = step * self.settings.batch // len(self.images)
            batch["texts"] = [self.texts[i][visit % len(self.texts[i])] for i in index_B]
        return batch

    def loss(self, batch: dict[str, Any], step: int) -> tuple[Tensor, dict[str, Any]]:
        pixels_BHWC = scale_pixels(batch["images"])
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.objective is None):
            features_BNC = self.encoder(batch["images"])
        features_BNC = self._disturbed(features_BNC, step)
        pixels_BNP = patchify(pixels_BHWC, self.encoder.patch)
        pixel = F.mse_loss(self.pixel_head(features_BNC), pixels_BNP)
        if self.labels:
            other = label_loss(
                self.label_head(features_BNC), batch["labels"], batch["objects"], self.settings.background_weight
            )
            name = "labels"
        elif self.objective is not None:
            name, other = "labels", pixel.new_zeros(())
        else:
            other = self.tower(features_BNC, self.vocabulary.encode(batch["texts"], LONGEST_TEXT))
            name = "contrast"
        total = self.settings.pixel_weight * pixel + other
        metrics = {"pixels": pixel.detach(), name: other.detach()}
        if self.objective is not None:
            own = self.objective(self.encoder, pixels_BHWC, step_generator(self.seed, step, MASKS))
            total, metrics["objective"] = total + own, own.detach()
        return total, metrics

    def _disturbed(self, features_BNC: Tensor, step: int) -> Tensor:
        """Features with noise in units of each channel's spread over the batch.

        What the heads must read through noise gets variance in the features, so that it survives in features that a
        tokenizer has reconstructed; without it, where in a patch an object lies hides in directions of no variance.
        """
        if not self.settings.feature_noise:
            return features_BNC
        spread_C = features_BNC.detach().flatten(0, 1).std(0)
        noise_BNC = torch.randn(features_BNC.shape, generator=step_generator(self.seed, step))
        return features_BNC + self.settings.feature_noise * spread_C * noise_BNC

    def ledger(self) -> Ledger:
        """Training costs three forward passes of the encoder an image, or of the objective with what it shows the
        encoder and one more for the probes; the heads are not counted."""
        steps = int(self.settings.steps)
        seen = steps * int(self.settings.batch)
        total, trainable = count_parameters(self)
        flops = forward_flops(self.encoder, self.images[:1])
        if self.objective is None:
            flops *= 3
        else:
            masks = step_generator(self.seed, 0, MASKS)
            flops += 3 * forward_flops(self.objective, self.encoder, scale_pixels(self.images[:1]), masks)
        return Ledger(
            positions=seen * self.encoder.num_patches,
            flops=seen * flops,
            params_total=total,
            params_trainable=trainable,
            steps=steps,
        )

    @torch.no_grad()
    def validate(self, step: int) -> dict[str, float]:
        """Probe accuracy (all labels of a patch right) on object patches, and PSNR of the linear pixel head."""
        images = load_images(self.corpus, "val", EVALUATED)
        index, patch = np.arange(len(images)), self.encoder.patch
        features_SNC = torch.cat([self.encoder(part) for part in images.split(128)])
        painted = (self.pixel_head(features_SNC).clamp(-1, 1) + 1) / 2
        metrics = {"vision/psnr": psnr(painted, patchify(images.float() / 255, patch))}
        if self.labels:
            labels = torch.from_numpy(self.corpus.patch_labels("val", index, patch))
            objects = torch.from_numpy(self.corpus.object_patches("val", index, patch))
            logits = self.label_head(features_SNC)
            metrics["vision/probe_objects"] = label_match(logits[objects], labels[objects])
            metrics["vision/probe"] = label_match(logits.flatten(0, 1), labels.flatten(0, 1))
        elif self.objective is None:
            texts = [texts[0] for texts in self.corpus.captions("val", index)]
            words = self.vocabulary.encode(texts, LONGEST_TEXT)
            parts = torch.arange(len(images)).split(self.settings.batch)
            losses = [float(self.tower(features_SNC[part], words[part])) for part in parts]
            metrics["vision/contrast"] = float(np.mean(losses))
        return metrics


def is_released(encoder: Any) -> bool:
    """Whether an ``encoder`` node names a released encoder, which nobody trains."""
    target = locate(str(encoder["_target_"]))
    return isinstance(target, type) and issubclass(target, PretrainedEncoder)


def released_encoder(config: Any, image_size: int) -> PretrainedEncoder:
    """The released encoder of a ``vision`` node, its weights not loaded.

    Raises:
        LavitError: the node asks for training.
    """
    if int(config.get("steps", 0)):
        raise LavitError(
            f"vision.steps={config['steps']}: the vision stage trains no released encoder", "set vision.steps=0"
        )
    encoder: PretrainedEncoder = build(config["encoder"], image_size=image_size)
    return encoder


def point_to(config: DictConfig, corpus: Corpus, context: StageContext) -> None:
    """Load a released encoder, look through it once, and write down where it lies and which files it is made of."""
    encoder = released_encoder(config, corpus.image_size)
    encoder.load()
    with torch.no_grad():
        features_BNC = encoder.eval()(load_images(corpus, "val", 2))
    if not bool(torch.isfinite(features_BNC).all()):
        raise LavitError(f"vision.path={config.encoder.path}: its features hold NaN or infinity")
    folder = find_checkpoint(KEY, config.encoder.path, config.encoder.revision)
    commit = commit_of(folder)
    place = {"path": str(config.encoder.path if commit else folder), "revision": commit}
    options = plain(config.encoder) | place | {"image_size": corpus.image_size}
    files = inventory(KEY, folder)
    write_json(context.out / "config.json", {"encoder": options, "labels": 0, "files": files})
    write_json(context.out / "metrics.json", {})
    Ledger(params_total=count_parameters(encoder)[0]).write(context.out)


def build_objective(config: DictConfig, encoder: VisionEncoder) -> MaskedObjective | None:
    """The masked objective of a ``vision`` node; None where labels or texts teach."""
    if not config.get("objective"):
        return None
    objective: MaskedObjective = build(config.objective, encoder=encoder)
    return objective


def run(context: StageContext) -> None:
    """Train the vision encoder; see the module's docstring. Writes encoder and label head.

    Of a released encoder ``config.json`` alone, which names its folder and the hash of every file.
    """
    config = context.config.vision
    corpus = data.build(context.config.data)
    if is_released(config.encoder):
        return point_to(config, corpus, context)
    torch.manual_seed(context.seed)
    module = VisionTraining(config, corpus, context.seed)
    steps = int(config.steps)
    fit(module, context, steps, OptimizerConfig(**plain(config.optimizer)), validate_at=plain(config.validate_at))
    encoder = module.encoder
    save_weights(context.out / "encoder.safetensors", encoder)
    if module.labels:
        save_weights(context.out / "labels.safetensors", module.label_head)
    options = plain(config.encoder) | {"image_size": corpus.image_size}
    write_json(context.out / "config.json", {"encoder": options, "labels": module.labels})
    write_json(context.out / "metrics.json", module.validate(steps))
    module.ledger().write(context.out)
