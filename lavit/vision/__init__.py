"""The vision encoder: images to one feature row a patch."""

from lavit.vision.encoder import VisionEncoder, patchify, unpatchify
from lavit.vision.loading import load, load_label_head
from lavit.vision.pretrained import PretrainedEncoder

__all__ = ["PretrainedEncoder", "VisionEncoder", "load", "load_label_head", "patchify", "unpatchify"]
