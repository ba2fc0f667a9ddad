"""LoRA: low-rank updates of the LLM's matrices learn, the matrices keep every bit (Hu et al., 2021, section 4).

Adapters by peft stand inside the LLM, so whoever calls the LLM gets it adapted: training, decoding, text benchmarks.
Names stay those of the LLM without adapters: peft moves each matrix into a ``base_layer``, which no file and no hash
shows, so that the LLM of an adapted arm can be compared with any other's tensor by tensor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from lavit.build import plain
from lavit.errors import LavitError
from lavit.model.blocks import ADAPTER, stable_name

OPTIONS = ("r", "alpha", "dropout", "targets")


def add_lora(llm: nn.Module, options: Mapping[str, Any]) -> None:
    """Put adapters into an LLM, in place, and freeze all else of it. They begin as no change: B is zero.

    Args:
        llm: any of transformers' causal language models.
        options: ``r`` (rank), ``alpha`` (the update is scaled by alpha / r), ``dropout`` of the adapters' input and
            ``targets``: endings of the names of modules, or ``all-linear``, which is every matrix of attention and MLP
            whatever an architecture calls it, and never the output rows.

    Raises:
        LavitError: peft is not installed, or an option that it refuses.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise LavitError("llm=lora needs peft, which is not installed", "pip install 'lavit-lab[lora]'") from error
    given = dict(plain(options))
    if set(given) != set(OPTIONS):
        raise LavitError(
            f"llm.lora has the keys {', '.join(sorted(given)) or 'none'}", f"it takes exactly {', '.join(OPTIONS)}"
        )
    targets = given["targets"]
    try:
        config = LoraConfig(
            r=int(given["r"]),
            lora_alpha=given["alpha"],
            lora_dropout=float(given["dropout"]),
            target_modules=targets if isinstance(targets, str) else list(targets),
            task_type="CAUSAL_LM",
        )
        inject_adapter_in_model(config, llm)
    except ValueError as error:
        first = str(error).splitlines()[0]
        raise LavitError(f"llm.lora: {first}", "llm.lora.targets=all-linear fits every architecture") from error
    llm.register_state_dict_post_hook(_without_base_layer)
    llm.register_load_state_dict_pre_hook(_with_base_layer)


def _without_base_layer(llm: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    for name in [name for name in state if name.startswith(prefix) and stable_name(name) != name]:
        state[stable_name(name)] = state.pop(name)


def _with_base_layer(llm: nn.Module, state: dict[str, Any], prefix: str, *rest: Any) -> None:
    for own, _ in llm.named_parameters():
        if ADAPTER not in own and prefix + stable_name(own) in state:
            state[prefix + own] = state.pop(prefix + stable_name(own))
