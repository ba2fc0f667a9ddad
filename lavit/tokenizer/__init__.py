"""Visual tokenizers: LaVIT's dynamic one (selector, merger, quantizer, decoder), and two of fixed length."""

from lavit.tokenizer.base import VisualTokenizer
from lavit.tokenizer.loading import assemble, load
from lavit.tokenizer.tokenizer import Tokenizer
from lavit.tokenizer.tokens import PackedTokens, VisualTokens, pack

__all__ = ["PackedTokens", "Tokenizer", "VisualTokenizer", "VisualTokens", "assemble", "load", "pack"]
