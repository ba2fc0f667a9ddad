"""Text to ids and back: a byte-pair tokenizer trained on the corpus, with the control tokens that sequences need."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

PAD, BOS, EOS, UNK, QUESTION, ANSWER = "<pad>", "<bos>", "<eos>", "<unk>", "<question>", "<answer>"
CONTROL = [PAD, BOS, EOS, UNK, QUESTION, ANSWER]


class TextTokenizer:
    """Lower-cased byte-pair encoding; a word that the corpus repeats becomes one token.

    ``<question>`` and ``<answer>`` mark the parts of a question, so that a model knows by its prompt whether
    it is asked to answer or to describe.

    Attributes:
        question_ids, answer_ids: what stands before a question, and before its answer.
    """

    def __init__(self, backend: Tokenizer):
        self.backend = backend
        self.pad, self.bos, self.eos, self.unk, self.question, self.answer = range(len(CONTROL))
        self.question_ids, self.answer_ids = [self.question], [self.answer]
        self._cache: dict[str, list[int]] = {}

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int) -> TextTokenizer:
        """Learn at most ``vocab_size`` tokens (control tokens included) from ``texts``."""
        backend = Tokenizer(models.BPE(unk_token=UNK))
        backend.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
        backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Punctuation(), pre_tokenizers.Metaspace()])
        backend.decoder = decoders.Metaspace()
        trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=CONTROL, show_progress=False)
        backend.train_from_iterator(texts, trainer)
        return cls(backend)

    @classmethod
    def load(cls, path: Path) -> TextTokenizer:
        """Read a ``tokenizer.json``."""
        return cls(Tokenizer.from_file(str(path)))

    def save(self, path: Path) -> None:
        """Write ``tokenizer.json`` in the format of the tokenizers library."""
        self.backend.save(str(path))

    def __len__(self) -> int:
        """Number of ids."""
        return self.backend.get_vocab_size()

    def encode(self, text: str) -> list[int]:
        """Ids of ``text`` without control tokens; remembered, because corpora repeat themselves."""
        ids = self._cache.get(text)
        if ids is None:
            ids = self.backend.encode(text, add_special_tokens=False).ids
            if len(self._cache) < 200_000:
                self._cache[text] = ids
        return ids

    def follow(self, text: str) -> list[int]:
        """Ids of ``text`` behind other text: the same here, where every word carries its own beginning."""
        return self.encode(text)

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ``ids``; control tokens vanish, punctuation is closed up."""
        text = self.backend.decode([i for i in ids if i >= len(CONTROL)])
        for mark in (",", ".", "?", "!", ":", ";"):
            text = text.replace(f" {mark}", mark)
        return text.strip()
