"""A released LLM of transformers, from a folder or the hub, where the language stage's own would stand.

It is not copied: the stage checks its files, writes down which they were, and ``llm.json`` points to them. Whoever
loads it later is told if they are others by then.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from lavit.build import build, locate, plain
from lavit.errors import LavitError
from lavit.language.access import NEW_ROWS, check_architecture, check_paths, embedding
from lavit.language.released_text import ReleasedTokenizer
from lavit.released_files import commit_of, find_checkpoint, inventory, read_config
from lavit.released_loading import load_released, refusal

KEY = "language.path"
DTYPES = ("float32", "bfloat16", "float16")


class PretrainedLLM:
    """See the module's docstring.

    Args:
        path: a folder (``config.json``, safetensors, tokenizer), or a repository of the hub.
        revision: branch, tag or commit of the repository.
        dtype: of the LLM's weights; new rows, connectors and heads are float32 whatever it is.
        attention: transformers' implementation: ``sdpa``, ``eager`` or ``flash_attention_2``.
        new_rows: see :data:`lavit.language.access.NEW_ROWS`.
        steps: 0; the language stage trains no released LLM.

    Raises:
        LavitError: a setting is none of the known ones.
    """

    def __init__(
        self,
        path: str | None,
        revision: str | None = None,
        dtype: str = "float32",
        attention: str = "sdpa",
        new_rows: str = "mean",
        steps: int = 0,
    ):
        if steps:
            raise LavitError(
                f"language.steps={steps}: the language stage trains no released LLM", "set language.steps=0"
            )
        for key, value, known in (("dtype", dtype, DTYPES), ("new_rows", new_rows, NEW_ROWS)):
            if value not in known:
                raise LavitError(f"language.{key}={value!r} is unknown", f"choose one of {', '.join(known)}")
        self.path, self.revision = path, revision
        self.dtype, self.attention, self.new_rows = dtype, attention, new_rows

    @cached_property
    def described(self) -> Path:
        """The folder with everything but, perhaps, the weights."""
        return find_checkpoint(KEY, self.path, self.revision, weights=False)

    @cached_property
    def config(self) -> Any:
        """The LLM's config.

        Raises:
            LavitError: there is none, or it is not that of a causal language model.
        """
        from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig

        where = f"{KEY}={self.path}"
        names = list(read_config(KEY, self.described).get("architectures") or [])
        try:
            config: Any = AutoConfig.from_pretrained(self.described, local_files_only=True, trust_remote_code=False)
        except (OSError, ValueError, KeyError) as error:
            reason = str(error).strip().splitlines()[0]
            raise LavitError(f"{where}: {reason}", "is this an LLM that the installed transformers knows?") from error
        causal = any(name.endswith(("ForCausalLM", "LMHeadModel")) for name in names)
        if not causal or type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING or config.is_encoder_decoder:
            raise LavitError(
                f"{where} is {', '.join(names) or config.model_type}, not a causal language model (…ForCausalLM)",
                "name a text LLM, as Llama, Qwen, Mistral or Gemma; vision encoders go to vision.path",
            )
        return config

    def untrained(self) -> PreTrainedModel:
        """The LLM with random weights, on the current default device: shapes alone on the meta device."""
        from transformers import AutoModelForCausalLM

        kind: Any = AutoModelForCausalLM
        dtype = getattr(torch, self.dtype)
        try:
            llm = kind.from_config(
                self.config, dtype=dtype, attn_implementation=self.attention, trust_remote_code=False
            )
        except (ValueError, ImportError) as error:
            raise refusal(KEY, self.described, error) from error
        return self._ready(llm)

    def load(self) -> PreTrainedModel:
        """The LLM with its weights.

        Raises:
            LavitError: weights are missing, left over or misshapen, or no safetensors.
        """
        from transformers import AutoModelForCausalLM

        folder = find_checkpoint(KEY, self.path, self.revision)
        llm = load_released(
            AutoModelForCausalLM,
            KEY,
            folder,
            self.config,
            dtype=getattr(torch, self.dtype),
            attn_implementation=self.attention,
        )
        return self._ready(llm)

    def text(self) -> ReleasedTokenizer:
        """Its tokenizer."""
        with torch.device("meta"):
            rows = embedding(self.untrained()).num_embeddings
        return ReleasedTokenizer.of_folder(self.described, rows)

    def inspect(self) -> dict[str, Any]:
        """Load it, compare its logits with ours, and say what it is and which files it was read from."""
        llm = self.load().eval()
        check_paths(llm, f"{KEY}={self.path}")
        folder = find_checkpoint(KEY, self.path, self.revision)
        return {
            "released": {
                "path": str(self.path if commit_of(folder) else folder),
                "revision": commit_of(folder),
                "dtype": self.dtype,
                "attention": self.attention,
                "new_rows": self.new_rows,
            },
            "architecture": type(llm).__name__,
            "vocab_size": embedding(llm).num_embeddings,
            "parameters": sum(parameter.numel() for parameter in llm.parameters()),
            "files": inventory(KEY, folder),
        }

    def _ready(self, llm: Any) -> PreTrainedModel:
        check_architecture(llm, f"{KEY}={self.path}")
        llm.new_rows = self.new_rows
        return llm


def pretrained_of(language: Any) -> PretrainedLLM | None:
    """The released LLM that a ``language`` node names; None where the stage trains its own."""
    node = plain(language)
    target = locate(str(node["_target_"]))
    if not (isinstance(target, type) and issubclass(target, PretrainedLLM)):
        return None
    found: PretrainedLLM = build(node)
    return found


def load_inspected(folder: Path, content: Mapping[str, Any], fresh: int | None) -> PreTrainedModel:
    """The LLM that a finished language stage points to.

    Args:
        folder: of the stage.
        content: of its ``llm.json``.
        fresh: a seed; the same architecture with the random weights that it gives.

    Raises:
        LavitError: its files are gone, or are others.
    """
    llm = PretrainedLLM(**content["released"])
    if fresh is not None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(fresh)
            return llm.untrained()
    found = inventory(KEY, find_checkpoint(KEY, llm.path, llm.revision))
    if found != content["files"]:
        names = sorted({*found, *content["files"]})
        wrong = [name for name in names if found.get(name) != content["files"].get(name)]
        raise LavitError(
            f"{llm.path}: {', '.join(wrong)} changed since the language stage checked it ({folder / 'llm.json'})",
            "put the files back, or plan again: other files are another stage",
        )
    return llm.load()


def load_text(folder: Path) -> Any:
    """The text tokenizer of a finished language stage: its own, or that of the LLM that it points to."""
    from lavit.language.text import TextTokenizer

    content = json.loads((folder / "llm.json").read_text())
    if "released" not in content:
        return TextTokenizer.load(folder / "tokenizer.json")
    llm = PretrainedLLM(**content["released"])
    return ReleasedTokenizer.of_folder(llm.described, content["vocab_size"])
