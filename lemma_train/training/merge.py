"""An adapter or a DeepSpeed checkpoint becomes a plain Hugging Face folder.

Enters: a checkpoint folder. Leaves: a new folder that `AutoModelForCausalLM.from_pretrained` and inference servers load
without PEFT or DeepSpeed, checked like a run's own result. It needs no GPU, and holds one shard of the result at a
time; `merge_stream` says what is held whole.
"""

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from safetensors import SafetensorError

from lemma_train.errors import InputError, first_line
from lemma_train.training import merge_stream
from lemma_train.training.checkpoints import flush, is_complete
from lemma_train.training.export import check_folder
from lemma_train.training.merge_stream import Unread
from lemma_train.training.model import agree_with_tokenizer, demand_every_tensor
from lemma_train.training.trainer import TEMPLATE_FILE

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def merge(checkpoint: Path, out: Path, dtype: str = "auto") -> None:
    """Write the model of `checkpoint` to the new folder `out`.

    Args:
        checkpoint: a LoRA adapter, a DeepSpeed ZeRO checkpoint, or a full model folder.
        dtype: `auto` (as the base model or the checkpoint's config says), `float32`, `bfloat16` or `float16`.

    Raises:
        InputError: the checkpoint is of no known kind or not whole, its base model cannot be read, or `out` exists.
    """
    if not checkpoint.is_dir():
        raise InputError(f"{checkpoint} is no folder; name a checkpoint-N or a final folder.")
    if out.exists():
        raise InputError(f"{out} exists already; name a new folder.")
    if checkpoint.name.startswith("checkpoint-") and not is_complete(checkpoint):
        raise InputError(f"{checkpoint} is incomplete (a run was cut off while saving it); merge another one.")
    try:
        _write(checkpoint, out, *_loaded(checkpoint, dtype))
    except InputError:
        raise
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        raise InputError(f"{checkpoint} cannot be merged into {out}: {first_line(error)}") from error


def _write(
    checkpoint: Path,
    out: Path,
    model: "PreTrainedModel",
    state: "dict[str, torch.Tensor] | None",
    tokenizer: "PreTrainedTokenizerBase",
) -> None:
    """Write the folder under another name, and give it its own when it has been checked and has reached the disk."""
    staging = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        model.save_pretrained(staging, state_dict=state, max_shard_size=merge_stream.SHARD_SIZE)
        tokenizer.save_pretrained(staging)
        if (checkpoint / TEMPLATE_FILE).exists():
            shutil.copy(checkpoint / TEMPLATE_FILE, staging / TEMPLATE_FILE)
        faults = check_folder(staging)
        if faults:
            raise InputError(f"The model of {checkpoint} is not whole: {'; '.join(faults[:5])}.")
        flush(staging)
        staging.chmod(0o755)
        staging.rename(out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _loaded(
    checkpoint: Path, dtype: str
) -> "tuple[PreTrainedModel, dict[str, torch.Tensor] | None, PreTrainedTokenizerBase]":
    """The model, its tensors where it does not hold them itself, and the tokenizer."""
    if not any((checkpoint / name).exists() for name in ("adapter_config.json", "latest", "config.json")):
        raise InputError(
            f"{checkpoint} holds neither an adapter, a DeepSpeed checkpoint nor a model; name a checkpoint-N or a "
            "final folder."
        )
    tokenizer = _tokenizer(checkpoint)
    if (checkpoint / "adapter_config.json").exists():
        return *_merged_adapter(checkpoint, tokenizer, dtype), tokenizer
    if (checkpoint / "latest").exists() and not any(checkpoint.glob("*/offloaded_tensors")):
        return *_from_zero(checkpoint, dtype), tokenizer
    found = merge_stream.of_folder(str(checkpoint), dtype)
    return (found[0], Unread(*found), tokenizer) if found else (_load(str(checkpoint), dtype), None, tokenizer)


def _tokenizer(checkpoint: Path) -> "PreTrainedTokenizerBase":
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(checkpoint)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{checkpoint} holds no usable tokenizer: {first_line(error)}") from error


def _load(name: str, dtype: str, revision: str | None = None) -> "PreTrainedModel":
    from transformers import AutoModelForCausalLM

    options = {"dtype": dtype, "revision": revision or "main"}
    try:
        model, loaded = cast(tuple, AutoModelForCausalLM.from_pretrained(name, output_loading_info=True, **options))
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise InputError(f"The model {name} cannot be read: {first_line(error)}") from error
    demand_every_tensor(name, loaded)
    return model


def _merged_adapter(
    checkpoint: Path, tokenizer: "PreTrainedTokenizerBase", dtype: str
) -> "tuple[PreTrainedModel, Unread | None]":
    from peft import PeftModel

    adapter = json.loads((checkpoint / "adapter_config.json").read_text(encoding="utf-8"))
    name, revision = adapter["base_model_name_or_path"], adapter.get("revision")
    found = merge_stream.of_folder(name, dtype, revision or "main") if _is_plain_lora(adapter) else None
    if found is not None and len(tokenizer) <= found[0].config.get_text_config().vocab_size:
        model, read = found
        agree_with_tokenizer(model, tokenizer)
        scaffold = merge_stream.scaffold(model)
        adapted = PeftModel.from_pretrained(scaffold, str(checkpoint), low_cpu_mem_usage=True)
        _demand_whole_adapter(checkpoint, adapted)
        merged = merge_stream.of_adapter(adapted, read, model.dtype)
        if merged is not None:
            return model, Unread(model, merged)
    model = _load(name, dtype, revision)
    agree_with_tokenizer(model, tokenizer)
    adapted = PeftModel.from_pretrained(model, str(checkpoint))
    _demand_whole_adapter(checkpoint, adapted)
    return adapted.merge_and_unload(safe_merge=True), None


def _is_plain_lora(adapter: Mapping[str, Any]) -> bool:
    """Whether an adapter leaves its base model as it is: some hold its biases, or change its weights at the start."""
    return (
        adapter.get("peft_type") == "LORA"
        and adapter.get("bias", "none") == "none"
        and adapter.get("init_lora_weights", True) in (True, False, "gaussian")
        and not adapter.get("layer_replication")
    )


def _demand_whole_adapter(checkpoint: Path, adapted: "PeftModel") -> None:
    from peft import get_peft_model_state_dict
    from peft.utils import load_peft_weights

    stored = load_peft_weights(str(checkpoint), device="cpu")
    lacking = sorted(get_peft_model_state_dict(adapted).keys() - stored.keys())
    if lacking:
        raise InputError(f"{checkpoint} lacks {len(lacking)} of the adapter's tensors, {lacking[0]} among them.")


def _from_zero(checkpoint: Path, dtype: str) -> "tuple[PreTrainedModel, dict[str, torch.Tensor]]":
    """Join DeepSpeed's partitions: the fp32 master weights, not the bf16 copies."""
    import torch
    from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint
    from transformers import AutoConfig, GenerationConfig

    config = AutoConfig.from_pretrained(checkpoint)
    model = merge_stream.without_weights(config, getattr(torch, dtype) if dtype != "auto" else config.dtype)
    # ZeRO-3's partitions stay on disk, mapped, until a tensor is joined; those of the stages below are joined here.
    partitions = get_fp32_state_dict_from_zero_checkpoint(str(checkpoint), lazy_mode=True)
    tied = model.all_tied_weights_keys
    names = merge_stream.names_of(model)
    apart = {name for name in tied if name in partitions and partitions[name] is not partitions.get(tied[name])}
    wrong = names ^ (partitions.keys() - tied.keys()) | apart
    if wrong:
        raise InputError(f"{checkpoint}: its partitions do not make up the model: {min(wrong)}")
    model.generation_config = GenerationConfig.from_pretrained(checkpoint)

    def join(name: str) -> "torch.Tensor":
        return partitions[name].contiguous().to(model.dtype)

    if merge_stream.stored_otherwise(model):
        return model, {name: join(name) for name in names}
    return model, Unread(model, join)
