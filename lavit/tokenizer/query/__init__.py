"""A fixed-length tokenizer of meaning: learned queries, causal among themselves, read an image's features (SEED)."""

from lavit.tokenizer.query.tokenizer import QueryTokenizer, assemble

__all__ = ["QueryTokenizer", "assemble"]
