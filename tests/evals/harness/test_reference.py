"""lm-eval's own numbers for a small Llama, where they are at hand."""

from __future__ import annotations

import gzip
import json
from types import SimpleNamespace

import pytest

pytest.importorskip("lm_eval")


@pytest.fixture(scope="module")
def reference(reference_file):
    path = reference_file("lm_eval/expected.json.gz")
    from evals.harness.model import LavitLM

    lm = LavitLM(pretrained=str(path.parent / "tiny_llama"), max_length=128, batch_size=8)
    return lm, json.loads(gzip.decompress(path.read_bytes()))


def ask(*arguments) -> SimpleNamespace:
    return SimpleNamespace(args=arguments)


def test_loglikelihoods_and_greedy_flags_are_the_harness_s(reference) -> None:
    lm, expected = reference
    rows = expected["loglikelihood"]
    assert len({row["kind"] for row in rows}) == 10
    said = lm.loglikelihood([ask(row["context"], row["continuation"]) for row in rows])
    for row, (value, greedy) in zip(rows, said, strict=True):
        assert value == pytest.approx(row["loglikelihood"], abs=1e-4, rel=0), row["kind"]
        assert greedy == row["is_greedy"]


def test_ids_of_context_and_continuation_are_the_harness_s(reference) -> None:
    from lavit.model.likelihood import encode_pair

    lm, expected = reference
    for row in expected["loglikelihood"]:
        if row["context"] and "truncated" not in row["kind"]:
            own, rest = encode_pair(lm.tokens, row["context"], row["continuation"], special=True)
            assert own == row["context_tokens"], row["kind"]
            assert rest == row["continuation_tokens"], row["kind"]


def test_rolling_loglikelihoods_are_the_harness_s(reference) -> None:
    lm, expected = reference
    said = lm.loglikelihood_rolling([ask(row["text"]) for row in expected["rolling"]])
    assert said == pytest.approx([row["loglikelihood"] for row in expected["rolling"]], abs=1e-4, rel=0)


def test_greedy_text_is_the_harness_s(reference) -> None:
    lm, expected = reference
    rows = expected["greedy_generation"]
    settings = [{"until": row["until"], "max_gen_toks": row["max_gen_toks"]} for row in rows]
    said = lm.generate_until([ask(row["prompt"], s) for row, s in zip(rows, settings, strict=True)])
    assert said == [row["output"] for row in rows]


@pytest.mark.parametrize("name", ["mc", "mc_2shot"])
def test_choices_are_the_harness_s_but_for_what_its_cache_confuses(reference, name: str) -> None:
    """Three of 480 requests per set share their ids with another that is split elsewhere; there lm-eval's own cache
    answers for the other. Each of these is compared with the model itself, asked about nothing else."""
    lm, expected = reference
    asked = [
        (sample["context"], choice, value)
        for sample in expected["harness"][name]["samples"]
        for choice, value in zip(sample["continuations"], sample["loglikelihoods"], strict=True)
    ]
    together = lm.loglikelihood([ask(context, choice) for context, choice, _ in asked])
    inputs: dict[tuple[int, ...], set[int]] = {}
    splits = []
    for context, choice, _ in asked:
        from lavit.model.likelihood import encode_pair

        own, rest = encode_pair(lm.tokens, context, choice, special=True)
        splits.append((tuple(own + rest)[:-1], len(own)))
        inputs.setdefault(splits[-1][0], set()).add(len(own))
    confused = 0
    for (context, choice, value), (mine, _), (key, _) in zip(asked, together, splits, strict=True):
        if len(inputs[key]) == 1:
            assert mine == pytest.approx(value, abs=1e-4, rel=0)
        else:
            confused += abs(mine - value) > 1e-2
            assert mine == pytest.approx(direct(lm, context, choice), abs=1e-4, rel=0)
    assert confused == 3


def direct(lm, context: str, choice: str) -> float:
    """The sum of log-probabilities by transformers alone."""
    import torch

    encode = lm.tokens.tokenizer.encode
    ids, start = encode(context + choice), len(encode(context))
    with torch.no_grad():
        logs = lm.tokens.llm(torch.tensor([ids])).logits[0].double().log_softmax(-1)
    return float(sum(logs[at - 1, ids[at]] for at in range(start, len(ids))))
