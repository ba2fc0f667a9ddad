"""The text side: a small tokenizer of our own and a Llama-architecture LLM trained on the corpus' text."""

from lavit.language.llm import build_llm, load_llm
from lavit.language.text import TextTokenizer

__all__ = ["TextTokenizer", "build_llm", "load_llm"]
