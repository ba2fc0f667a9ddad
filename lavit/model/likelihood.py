"""Log-likelihoods of text after prompts of text and images: in batches by length, and each different input read once.

A prompt and its continuation become ids as lm-evaluation-harness has it for causal models: spaces at the prompt's end
belong to the continuation, both are encoded as one text, and what lies behind the prompt's own ids is the
continuation. Rows that are too long lose their left end; a continuation that alone is too long is predicted in
windows, each id once. Requests that share an input (the same ids and images, all but the last) share its pass, each
with its own split: how many of the last ids count is a request's business, never the pass's.

Shapes: N scored positions of a row, V text ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from lavit.model.protocol import Part, Prompt
from lavit.model.token_model import TokenModel
from lavit.sequences import Sequence as Row

POSITIONS = 16384
"""Positions of a batch, padding included."""
NOTHING = -1
"""In the place of an image: none enters, only the marks that would enclose it. How a model is asked with vision off."""


@dataclass
class Request:
    """A row of ids and how many at its end are to be predicted from what stands before them."""

    row: Row
    count: int


def loglikelihood(
    model: TokenModel, prompts: Sequence[Prompt], continuations: Sequence[str], positions: int = POSITIONS
) -> list[tuple[float, bool]]:
    """Log-probability in nats of each continuation after its prompt, and whether it is the likeliest, id for id.

    Args:
        model: what reads.
        prompts: texts, or texts and images; "" is a prompt of nothing but the model's prefix.
        continuations: one a prompt.
        positions: size of a batch; results do not depend on it beyond rounding.

    Raises:
        LavitError: an image for a model that reads none.
    """
    visual, parts = take_in(model, prompts)
    requests = [_request(model, p, c, visual) for p, c in zip(parts, continuations, strict=True)]
    return score(model, requests, visual, positions)


def nll(
    model: TokenModel, prompts: Sequence[Prompt], texts: Sequence[str], positions: int = POSITIONS
) -> list[tuple[float, int]]:
    """Negative log-likelihood in nats of each text after its prompt, and the number of ids that it has.

    With the prompt "" a text stands for itself: all of it is predicted, the first id from the model's prefix. Divide
    by its UTF-8 bytes to compare models whose tokenizers differ. The end mark is not predicted.
    """
    visual, parts = take_in(model, prompts)
    return nll_of_parts(model, parts, texts, visual, positions)


def nll_of_parts(
    model: TokenModel, parts: Sequence[list[str | int]], texts: Sequence[str], visual: Any, positions: int = POSITIONS
) -> list[tuple[float, int]]:
    """:func:`nll` after prompts in which images are numbers: places in ``visual``, or :data:`NOTHING`."""
    requests = []
    for prompt, text in zip(parts, texts, strict=True):
        if prompt == [""]:
            ids = model.document(text)
            requests.append(Request(Row().text([model.prefix, *ids]), len(ids)))
        else:
            requests.append(_request(model, prompt, text, visual))
    results = score(model, requests, visual, positions)
    return [(-total, request.count) for (total, _), request in zip(results, requests, strict=True)]


def take_in(model: TokenModel, prompts: Sequence[Prompt]) -> tuple[Any, list[list[str | int]]]:
    """Let the model look at each different image once; in the prompts, images become numbers."""
    known: dict[bytes, int] = {}
    images: list[np.ndarray] = []

    def number(part: Part) -> str | int:
        if isinstance(part, str):
            return part
        key = repr(part.shape).encode() + part.tobytes()
        if key not in known:
            known[key] = len(images)
            images.append(part)
        return known[key]

    parts: list[list[str | int]] = [
        [prompt] if isinstance(prompt, str) else [number(part) for part in prompt] or [""] for prompt in prompts
    ]
    with torch.no_grad():
        return model.look(images), parts


def prompt_row(model: TokenModel, parts: Sequence[str | int], visual: Any) -> Row:
    """A prompt as a row: what the model starts prompts with, then texts and images in their order."""
    if len(parts) == 1 and isinstance(parts[0], str):
        return Row().text(model.encode(parts[0]) or [model.prefix])
    row = Row().text(model.encode(""))
    for part in parts:
        if isinstance(part, str):
            row.text(model.encode(part, special=False))
        else:
            model.show(row, part, visual)
    return row if row.ids else row.text([model.prefix])


def _request(model: TokenModel, parts: Sequence[str | int], continuation: str, visual: Any) -> Request:
    """Ids of a prompt and its continuation, split where the harness splits them."""
    *before, context = parts if isinstance(parts[-1], str) else [*parts, ""]
    assert isinstance(context, str)
    if before:
        row = prompt_row(model, [*before, ""], visual)
        own, rest = encode_pair(model, context, continuation, special=False)
        return Request(row.text(own + rest), len(rest))
    if context:
        own, rest = encode_pair(model, context, continuation, special=True)
        own = own or [model.prefix]  # a context of nothing but spaces
    else:
        own, rest = [model.prefix], model.encode(continuation, special=False)
        if rest[:1] == own:
            rest = rest[1:]
    return Request(Row().text(own + rest), len(rest))


def encode_pair(model: TokenModel, context: str, continuation: str, special: bool) -> tuple[list[int], list[int]]:
    """Ids of a context and of what follows it, encoded as one text.

    Where the two melt together so that nothing is left behind the context's ids ("a b" and "ird", if "bird" is one
    id), the continuation is encoded by itself.
    """
    kept = context.rstrip()
    continuation = context[len(kept) :] + continuation
    own = model.encode(kept, special)
    rest = model.encode(kept + continuation, special)[len(own) :]
    return own, rest or model.encode(continuation, special=False)


def score(
    model: TokenModel, requests: Sequence[Request], visual: Any, positions: int = POSITIONS
) -> list[tuple[float, bool]]:
    """Log-probability of each request's last ids, in single precision as the harness has it, and whether all of them
    are the likeliest."""
    pieces = [(number, piece) for number, request in enumerate(requests) for piece in _windows(request, model)]
    inputs: dict[tuple[Any, ...], list[tuple[int, list[int]]]] = {}
    rows: dict[tuple[Any, ...], Row] = {}
    for number, piece in pieces:
        targets = piece.row.ids[-piece.count :]
        row = Row(piece.row.ids[:-1], [0.0] * (len(piece.row.ids) - 1), piece.row.enters)
        key = (tuple(row.ids), tuple(row.enters))
        rows[key] = row
        inputs.setdefault(key, []).append((number, targets))
    totals, greedy = [0.0] * len(requests), [True] * len(requests)
    for keys in _batches(rows, positions):
        counts = [max(len(targets) for _, targets in inputs[key]) for key in keys]
        with torch.no_grad():
            scored = model.logits([rows[key] for key in keys], counts, visual)
        for key, logits_NV in zip(keys, scored, strict=True):
            logs_NV = logits_NV.float().log_softmax(-1)
            likeliest_N = logits_NV.argmax(-1)
            for number, targets in inputs[key]:
                ids_N = torch.tensor(targets, device=logs_NV.device)
                own_NV = logs_NV[-len(targets) :]
                totals[number] += float(own_NV.gather(1, ids_N[:, None]).sum())
                greedy[number] &= bool((likeliest_N[-len(targets) :] == ids_N).all())
    return list(zip(totals, greedy, strict=True))


def _batches(rows: dict[tuple[Any, ...], Row], positions: int) -> Iterable[list[tuple[Any, ...]]]:
    """Inputs by falling length, so that a batch hardly pads and the largest comes first."""
    batch: list[tuple[Any, ...]] = []
    for key in sorted(rows, key=lambda key: -len(rows[key].ids)):
        if batch and (len(batch) + 1) * len(rows[batch[0]].ids) > positions:
            yield batch
            batch = []
        batch.append(key)
    if batch:
        yield batch


def _windows(request: Request, model: TokenModel) -> list[Request]:
    """The request, cut to what the model reads at once; in several where what is to be predicted is longer than that.

    The windows are those of lm-evaluation-harness: disjoint in what they predict, the last one with a full context.
    """
    row, count, most = request.row, request.count, model.max_length
    if count == 0:
        return []
    if count <= most:
        return [Request(cut_left(row, len(row.ids), most + 1), count)]
    done = len(row.ids) - count
    end = max(done + 1, most + 1)
    windows = []
    while done < len(row.ids):
        end = min(end, len(row.ids))
        windows.append(Request(cut_left(row, end, most + 1), end - done))
        done, end = end, end + most
    return windows


def cut_left(row: Row, end: int, length: int) -> Row:
    """The last ``length`` positions before ``end``; of an image that would be cut in two its end mark alone stays.

    So a row may become shorter than it had to, but never shows a model a part of an image.
    """
    start = max(0, end - length)
    for position, _, count in sorted(row.enters):
        if position - 1 < start:
            start = max(start, position + count)
    kept = [(position - start, first, count) for position, first, count in row.enters if start < position < end]
    return Row(row.ids[start:end], [0.0] * (end - start), kept)
