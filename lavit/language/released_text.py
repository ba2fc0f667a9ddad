"""The tokenizer of a released LLM in the place of our own: nothing is added to it, marks of questions are words."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lavit.errors import LavitError
from lavit.language.text import TextTokenizer

QUESTION_TEXT, ANSWER_TEXT = "Question:", "Answer:"  # as in LaVIT's prompts


class ReleasedTokenizer(TextTokenizer):
    """A fast tokenizer of transformers behind the interface of :class:`TextTokenizer`.

    The vocabulary is as large as the LLM's table, padding rows included, so that what is new (image marks, codes)
    comes after every row that the LLM has. Rows without a text decode to nothing.

    Args:
        tokenizer: of transformers.
        rows: of the LLM's embedding.

    Raises:
        LavitError: it ends no text, or has ids beyond the LLM's table.
    """

    def __init__(self, tokenizer: Any, rows: int):
        self.tokenizer, self._rows = tokenizer, rows
        self._cache: dict[str, list[int]] = {}
        if tokenizer.eos_token_id is None:
            raise LavitError("the LLM's tokenizer has no token that ends a text", "set eos_token in its folder")
        self._ids = len(tokenizer)
        if (most := max(tokenizer.get_vocab().values())) >= rows:
            raise LavitError(
                f"the LLM's tokenizer has the id {most}, and the LLM's table {rows} rows",
                "tokenizer and LLM do not belong together, or tokens were added to one of them",
            )
        self.eos = int(tokenizer.eos_token_id)
        self.bos = self._else_eos(tokenizer.bos_token_id)
        self.pad = self._else_eos(tokenizer.pad_token_id)
        self.unk = self._else_eos(tokenizer.unk_token_id)
        plain = self._plain
        # Whether a word within a text is written with its space before it (byte pairs) or without (sentencepiece).
        self._lead = " " if plain("a a") == plain("a") + plain(" a") else ""
        self.question_ids, self.answer_ids = self.encode(QUESTION_TEXT), self.follow(ANSWER_TEXT)

    @classmethod
    def of_folder(cls, folder: Path, rows: int) -> ReleasedTokenizer:
        """The tokenizer of a checkpoint's folder.

        Raises:
            LavitError: there is none, or it has no fast form.
        """
        from transformers import AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except (OSError, ValueError, TypeError, KeyError, ImportError) as error:
            reason = str(error).strip().splitlines()[0]
            raise LavitError(
                f"language.path={folder}: its tokenizer cannot be read: {reason}",
                "the folder needs tokenizer.json and tokenizer_config.json, as tokenizer.save_pretrained writes them",
            ) from error
        if not getattr(tokenizer, "is_fast", False):
            raise LavitError(f"language.path={folder}: its tokenizer has no fast form (tokenizer.json)")
        return cls(tokenizer, rows)

    def save(self, path: Path) -> None:
        """Nothing is written: the tokenizer lies with its LLM, whose folder the stage names."""
        raise TypeError("a released tokenizer stays in its own folder")

    def __len__(self) -> int:
        """Number of ids, which is the number of the LLM's rows."""
        return self._rows

    def encode(self, text: str) -> list[int]:
        """Ids of ``text`` as the tokenizer has it at the beginning of one, without control tokens; remembered."""
        ids = self._cache.get(text)
        if ids is None:
            ids = self._plain(text)
            if len(self._cache) < 200_000:
                self._cache[text] = ids
        return ids

    def follow(self, text: str) -> list[int]:
        """Ids of ``text`` behind other text, from which a space parts it."""
        return self.encode(self._lead + text)

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ``ids``; control tokens and rows without a text vanish."""
        known = [i for i in ids if i < self._ids]
        return str(self.tokenizer.decode(known, skip_special_tokens=True)).strip()

    def _plain(self, text: str) -> list[int]:
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    def _else_eos(self, found: int | None) -> int:
        return self.eos if found is None else int(found)
