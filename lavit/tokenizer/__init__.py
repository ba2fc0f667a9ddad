"""The dynamic visual tokenizer: selector, merger, quantizer, decoder."""

from lavit.tokenizer.loading import assemble, load
from lavit.tokenizer.tokenizer import Tokenizer
from lavit.tokenizer.tokens import PackedTokens, VisualTokens, pack

__all__ = ["PackedTokens", "Tokenizer", "VisualTokens", "assemble", "load", "pack"]
