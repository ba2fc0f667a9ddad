"""The text side: a small tokenizer and LLM trained on the corpus' text, or a released LLM with its own tokenizer."""

from lavit.language.llm import build_llm, load_llm
from lavit.language.pretrained import PretrainedLLM, load_text, pretrained_of
from lavit.language.text import TextTokenizer

__all__ = ["PretrainedLLM", "TextTokenizer", "build_llm", "load_llm", "load_text", "pretrained_of"]
