"""vLLM's own arguments as a recipe gives them: checked by name, joined with what the recipe's other keys say.

Enters: `engine_args` and the values of the keys `model`, `tokenizer`, `dtype` and `adapter`. Leaves: the arguments of
vLLM's engine, and the part of them that replies depend on. It imports no vLLM; what the values mean is vLLM's business.
"""

import difflib
import json
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from lemma_train.errors import InputError, first_line
from lemma_train.llm.loaded_model import AUTO_DTYPE

_KEYS_OF_THEIR_OWN = ("model", "tokenizer", "dtype")
_ADAPTER_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM makes room for
# Where and how fast the model runs; everything else may change what it says.
_NO_NEW_REPLY = (
    *("tensor_parallel_size", "pipeline_parallel_size", "distributed_executor_backend", "enable_expert_parallel"),
    *("gpu_memory_utilization", "kv_cache_memory_bytes", "cpu_offload_gb", "block_size"),
    *("max_num_seqs", "max_num_batched_tokens", "enable_chunked_prefill", "enable_prefix_caching", "async_scheduling"),
    *("enforce_eager", "compilation_config", "optimization_level", "attention_backend", "disable_custom_all_reduce"),
    *("download_dir", "max_parallel_loading_workers", "use_tqdm_on_load", "disable_log_stats"),
    *("nnodes", "node_rank", "master_addr", "master_port"),
)


def misplaced(given: Mapping[str, Any], key: str) -> list[str]:
    """The faults of `engine_args` that show without vLLM: what has another place in a recipe, or none.

    Args:
        key: the recipe's block, for messages.

    Example:
        >>> misplaced({"dtype": "float16"}, "student")
        ['student.engine_args.dtype: it has a key of its own; set student.dtype.']
    """
    faults = [
        f"{key}.engine_args.{name}: it has a key of its own; set {key}.{name}."
        for name in _KEYS_OF_THEIR_OWN
        if name in given
    ]
    if "hf_token" in given:
        faults.append(f"{key}.engine_args.hf_token: secrets belong into the environment; set HF_TOKEN there.")
    return faults


def engine_arguments(
    given: Mapping[str, Any],
    known: Collection[str],
    *,
    model: str,
    tokenizer: str | None = None,
    dtype: str = "auto",
    rank: int | None = None,
    key: str = "model",
) -> dict[str, Any]:
    """The arguments of vLLM's engine.

    Args:
        given: `engine_args` of the recipe, without what is `misplaced`; they win over what follows from other keys.
        known: the names that the installed vLLM has.
        rank: of the LoRA adapter, or None where there is none.
        key: the recipe's block, for messages.

    Raises:
        InputError: a name is unknown; the nearest known one is named.

    Example:
        >>> engine_arguments({"tensor_parallel_size": 2}, ["tensor_parallel_size"], model="m")["tensor_parallel_size"]
        2
    """
    for name in given:
        if name not in known or name.startswith("_"):
            near = difflib.get_close_matches(name.replace("-", "_"), known, n=1, cutoff=0.5)
            mend = f"did you mean {near[0]}?" if near else "its documentation lists them under engine arguments."
            raise InputError(f"{key}.engine_args: vLLM has no argument {name!r}; {mend}")
    arguments: dict[str, Any] = {
        "model": model,
        "tokenizer": tokenizer or model,
        "dtype": AUTO_DTYPE if dtype == "auto" else dtype,
        "disable_log_stats": True,
        "use_tqdm_on_load": sys.stderr.isatty(),  # a log has no use for a bar of the weights
    }
    if rank is not None:
        room = next((size for size in _ADAPTER_RANKS if size >= rank), rank)
        arguments |= {"enable_lora": True, "max_loras": 1, "max_lora_rank": room}
    return arguments | dict(given)


def adapter_rank(adapter: str, key: str) -> int:
    """The largest rank of a LoRA adapter's matrices.

    Raises:
        InputError: its folder does not tell.
    """
    config = Path(adapter) / "adapter_config.json"
    try:
        told = json.loads(config.read_text(encoding="utf-8"))
        return max([int(told["r"]), *map(int, (told.get("rank_pattern") or {}).values())])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{key}.adapter: {adapter} holds no adapter_config.json of a LoRA adapter ({first_line(error)}); name a "
            "run's final folder."
        ) from error


def reply_arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `engine_args` that may change what the model says, such as `quantization`; in the order of their names.

    Example:
        >>> reply_arguments({"tensor_parallel_size": 8, "quantization": "fp8", "data_parallel_size": 2})
        {'quantization': 'fp8'}
    """
    return {
        name: given[name]
        for name in sorted(given)
        if name not in _NO_NEW_REPLY and not name.startswith("data_parallel_")
    }
