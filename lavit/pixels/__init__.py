"""Pixel decoders: vision features, real or reconstructed, to images."""

from lavit.pixels.decoder import PatchPixelDecoder
from lavit.pixels.loading import load
from lavit.pixels.protocol import PixelDecoder

__all__ = ["PatchPixelDecoder", "PixelDecoder", "load"]
