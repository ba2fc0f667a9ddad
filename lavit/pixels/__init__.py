"""Pixel decoders: vision features, real or reconstructed, to images."""

from lavit.pixels.decoder import PatchPixelDecoder
from lavit.pixels.loading import load

__all__ = ["PatchPixelDecoder", "load"]
