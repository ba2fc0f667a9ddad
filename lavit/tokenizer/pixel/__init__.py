"""A fixed-length tokenizer of pixels: convolutions to a grid of codes and back (VQGAN)."""

from lavit.tokenizer.pixel.tokenizer import PixelTokenizer, assemble

__all__ = ["PixelTokenizer", "assemble"]
