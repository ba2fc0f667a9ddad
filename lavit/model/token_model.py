"""A model at the level of tokens: what scoring text and continuing prompts need to know of it, whatever it is made of.

Shapes: B rows, T positions, N scored positions of a row, V text ids, W width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from lavit.errors import LavitError
from lavit.language import TextTokenizer, access
from lavit.model.gated import looking
from lavit.model.padding import pad_left
from lavit.sequences import Sequence as Row
from lavit.sequences import collate

if TYPE_CHECKING:
    from lavit.model.vision_language import Arm


class TokenModel(ABC):
    """Base of models that read rows of text ids, with images between them where they can see.

    Attributes:
        llm: a causal language model of transformers.
        max_length: positions that it reads at once.
        prefix: id that stands before a text, so that its first id is predicted from something.
        eos: id that ends a text.
        image_size: side in pixels of the images that it reads; None for one that reads none.
        text_size: ids from here on are no text and are never written; None where all are text.
    """

    llm: Any
    max_length: int
    prefix: int
    eos: int
    image_size: int | None = None
    text_size: int | None = None

    @abstractmethod
    def encode(self, text: str, special: bool = True) -> list[int]:
        """Ids of a text; with ``special`` those that start a prompt as the tokenizer has it, e.g. ``<bos>``."""

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, without control tokens."""

    @abstractmethod
    def logits(self, rows: list[Row], counts: list[int], visual: Any) -> list[Tensor]:
        """Unnormalised scores [N, V] of what follows each row's last ``count`` positions, row by row."""

    @abstractmethod
    def generation_inputs(self, rows: list[Row], visual: Any) -> dict[str, Tensor]:
        """Rows padded on the left, as arguments of the language model's ``generate``."""

    def beside(self, rows: list[Row], visual: Any) -> AbstractContextManager[None]:
        """What the language model's ``generate`` is to run in: there it sees images that stand beside the rows."""
        return nullcontext()

    def document(self, text: str) -> list[int]:
        """Ids of a text of its own, all of which are predicted after :attr:`prefix`."""
        return self.encode(text, special=False)

    def look(self, images: list[np.ndarray]) -> Any:
        """Take in uint8 images [H, W, 3], for :meth:`show` and the ``visual`` of the other methods.

        Raises:
            LavitError: the model reads no images.
        """
        if images:
            raise LavitError(
                f"a prompt shows an image, but {type(self.llm).__name__} reads text alone",
                "give a checkpoint that sees, or tasks without images",
            )
        return None

    def show(self, row: Row, index: int, visual: Any) -> None:
        """Append image ``index`` of ``visual`` to a row; below 0 the marks alone, for vision off."""
        raise LavitError(f"{type(self.llm).__name__} reads text alone")


class TextModel(TokenModel):
    """A text LLM of this suite, as its language stage left it."""

    def __init__(self, llm: PreTrainedModel, text: TextTokenizer):
        self.llm, self.text = llm, text
        self.max_length = access.positions(llm)
        self.prefix, self.eos = text.bos, text.eos

    def encode(self, text: str, special: bool = True) -> list[int]:
        """See the base class."""
        ids = self.text.encode(text)
        return [self.text.bos, *ids] if special else ids

    def decode(self, ids: Sequence[int]) -> str:
        """See the base class."""
        return self.text.decode(ids)

    def logits(self, rows: list[Row], counts: list[int], visual: Any) -> list[Tensor]:
        """See the base class; the head is applied where it is asked for alone."""
        batch = collate(rows).to(self.llm.device)
        hidden_BTW = self._hidden(batch, visual)
        last = [len(row.ids) for row in rows]
        at = [hidden_BTW[b, end - count : end] for b, (end, count) in enumerate(zip(last, counts, strict=True))]
        return list(access.text_logits(self.llm, torch.cat(at)).split(counts))

    def _hidden(self, batch: Any, visual: Any) -> Tensor:
        return access.body(self.llm)(input_ids=batch.ids_BT, use_cache=False).last_hidden_state

    def generation_inputs(self, rows: list[Row], visual: Any) -> dict[str, Tensor]:
        """See the base class."""
        ids_BT, real_BT = pad_left([torch.tensor(row.ids) for row in rows])
        return {"input_ids": ids_BT.to(self.llm.device), "attention_mask": real_BT.long().to(self.llm.device)}


class ArmModel(TextModel):
    """A trained arm: images enter as the continuous features that it was trained on, between their two marks."""

    def __init__(self, arm: Arm):
        super().__init__(arm.model.llm, arm.builder.text)
        self.arm, self.image_size = arm, arm.image_size

    def look(self, images: list[np.ndarray]) -> Any:
        """See the base class."""
        return self.arm.encode(np.stack(images)) if images else None

    def show(self, row: Row, index: int, visual: Any) -> None:
        """See the base class."""
        shown = self.arm.builder.caption(visual.entering()[index] if index >= 0 else None, None)  # <bos> and the image
        row.enters += [(len(row.ids) + position - 1, first, count) for position, first, count in shown.enters]
        row.text(shown.ids[1:])

    def _hidden(self, batch: Any, visual: Any) -> Tensor:
        store: Any = visual.store if visual is not None else None  # rows without images need none
        return self.arm.model.hidden(batch, store).view(*batch.ids_BT.shape, -1)

    def generation_inputs(self, rows: list[Row], visual: Any) -> dict[str, Tensor]:
        """See the base class."""
        from lavit.model.decoding import embed_prompts

        store = visual.store if visual is not None else None
        embeds_BTW, real_BT = pad_left(embed_prompts(self.arm.model, rows, store))
        return {"inputs_embeds": embeds_BTW, "attention_mask": real_BT.long()}

    def beside(self, rows: list[Row], visual: Any) -> AbstractContextManager[None]:
        """See the base class."""
        from lavit.model.decoding import see_prompts

        media, seen = see_prompts(self.arm.model, rows, visual.store if visual is not None else None)
        return looking(media, pad_left([image_T + 1 for image_T in seen])[0] - 1)
