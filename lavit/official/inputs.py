"""What enters LaVIT's LLM for understanding: images as continuous rows between two embeddings, text around them.

Generation continues at the right end, so everything is padded on the left, with the embedding of the end-of-text id.
Images and texts of a batch are placed by one gather each, whatever their lengths.

Shapes: B examples, R visual rows of all images, L longest image block, T longest text, S = L + T, D width of the LLM.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lavit.errors import LavitError


@dataclass
class Inputs:
    """A batch of embeddings that the LLM takes in place of ids.

    Attributes:
        embeds_BSD: input embeddings; padding holds that of the padding id.
        mask_BS: 1 where there is something to attend to, 0 at padding.
    """

    embeds_BSD: Tensor
    mask_BS: Tensor

    @property
    def position_ids_BS(self) -> Tensor:
        """See :func:`position_ids`."""
        return position_ids(self.mask_BS)


def image_block(
    features_RD: Tensor, lengths_B: Tensor, image_start_D: Tensor, image_end_D: Tensor, padding_D: Tensor
) -> Inputs:
    """Each image as its start embedding, its rows, its end embedding, left-padded to the longest block.

    Gradients reach the features and the three embeddings. An image of no rows is start and end alone.

    Args:
        features_RD: rows of all images, one image after the other (projected to the LLM's width).
        lengths_B: rows of each image.
        image_start_D: the LLM's embedding of the image-start id.
        image_end_D: the LLM's embedding of the image-end id.
        padding_D: the LLM's embedding of the padding id (2, end of text, in LaVIT).

    Raises:
        LavitError: the lengths do not add up to the rows.
    """
    rows, images = len(features_RD), len(lengths_B)
    ends_B = lengths_B.cumsum(0)
    if rows != (int(ends_B[-1]) if images else 0):
        raise LavitError(f"lengths {lengths_B.tolist()} do not add up to the {rows} rows of features")
    longest = int(lengths_B.max()) + 2 if images else 0
    table_XD = torch.cat([features_RD, torch.stack([image_start_D, image_end_D, padding_D]).to(features_RD)])
    column_L = torch.arange(longest, device=features_RD.device)
    blank_B1 = longest - 2 - lengths_B[:, None]
    source_BL = ends_B[:, None] + column_L - (longest - 1)  # the last row of an image lies left of the last column
    source_BL = source_BL.masked_fill(column_L == blank_B1, rows)
    source_BL = source_BL.masked_fill(column_L == longest - 1, rows + 1)
    source_BL = source_BL.masked_fill(column_L < blank_B1, rows + 2)
    return Inputs(table_XD[source_BL], (column_L >= blank_B1).long())


def caption_inputs(image: Inputs, text_BTD: Tensor, text_mask_BT: Tensor) -> Inputs:
    """Image, then text, as they are: a shorter text's padding stays between the two."""
    return Inputs(torch.cat([image.embeds_BSD, text_BTD], 1), torch.cat([image.mask_BS, text_mask_BT.long()], 1))


def vqa_inputs(image: Inputs, text_BTD: Tensor, text_mask_BT: Tensor) -> Inputs:
    """The text's own padding, then the image with its padding, then the text's words: no gap before the question.

    Raises:
        LavitError: a text is not padded on the left.
    """
    if bool((text_mask_BT.diff(dim=1) < 0).any()):
        raise LavitError("the texts of a batch must be padded on the left", "tokenizer.padding_side = 'left'")
    block, length = image.mask_BS.shape[1], text_mask_BT.shape[1]
    blank_B1 = length - text_mask_BT.long().sum(1, keepdim=True)
    column_S = torch.arange(block + length, device=text_mask_BT.device)
    # Columns of [image, text]: text padding first, then the image, then the rest of the text where it is anyway.
    source_BS = torch.where(column_S < blank_B1, block + column_S, column_S - blank_B1)
    source_BS = torch.where(column_S >= block + blank_B1, column_S, source_BS)
    joined = caption_inputs(image, text_BTD, text_mask_BT)
    embeds_BSD = joined.embeds_BSD.gather(1, source_BS[..., None].expand(-1, -1, joined.embeds_BSD.shape[-1]))
    return Inputs(embeds_BSD, joined.mask_BS.gather(1, source_BS))


def position_ids(mask_BS: Tensor) -> Tensor:
    """Places among what is attended to, from 0; 1 at padding (as transformers counts them)."""
    return (mask_BS.long().cumsum(1) - 1).masked_fill(mask_BS == 0, 1)
