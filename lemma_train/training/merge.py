"""An adapter or a DeepSpeed checkpoint becomes a plain Hugging Face folder.

Enters: a checkpoint folder. Leaves: a new folder that `AutoModelForCausalLM.from_pretrained` and inference servers load
without PEFT or DeepSpeed, checked like a run's own result. It needs no GPU; joining DeepSpeed
partitions holds the model twice in fp32 in RAM, everything else once.
"""

import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, cast

from safetensors import SafetensorError

from lemma_train.errors import InputError, first_line
from lemma_train.training.checkpoints import is_complete
from lemma_train.training.export import check_folder
from lemma_train.training.model import agree_with_tokenizer, demand_every_tensor
from lemma_train.training.trainer import TEMPLATE_FILE

if TYPE_CHECKING:
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
        model, tokenizer = _loaded(checkpoint, dtype)
    except InputError:
        raise
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        raise InputError(f"{checkpoint} cannot be read: {first_line(error)}") from error
    staging = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    try:
        model.save_pretrained(staging)
        tokenizer.save_pretrained(staging)
        if (checkpoint / TEMPLATE_FILE).exists():
            shutil.copy(checkpoint / TEMPLATE_FILE, staging / TEMPLATE_FILE)
        faults = check_folder(staging)
        if faults:
            raise InputError(f"The model of {checkpoint} is not whole: {'; '.join(faults[:5])}.")
        staging.chmod(0o755)
        staging.rename(out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _loaded(checkpoint: Path, dtype: str) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    tokenizer = _tokenizer(checkpoint)
    if (checkpoint / "adapter_config.json").exists():
        model = _merged_adapter(checkpoint, tokenizer, dtype)
    elif (checkpoint / "latest").exists():
        model = _from_zero(checkpoint, dtype)
    elif (checkpoint / "config.json").exists():
        model = _load(str(checkpoint), dtype)
    else:
        raise InputError(f"{checkpoint} holds neither an adapter, a DeepSpeed checkpoint nor a model.")
    return model, tokenizer


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


def _merged_adapter(checkpoint: Path, tokenizer: "PreTrainedTokenizerBase", dtype: str) -> "PreTrainedModel":
    from peft import PeftModel, get_peft_model_state_dict
    from peft.utils import load_peft_weights

    adapter = json.loads((checkpoint / "adapter_config.json").read_text(encoding="utf-8"))
    model = _load(adapter["base_model_name_or_path"], dtype, adapter.get("revision"))
    agree_with_tokenizer(model, tokenizer)
    adapted = PeftModel.from_pretrained(model, str(checkpoint))
    lacking = sorted(get_peft_model_state_dict(adapted).keys() - load_peft_weights(str(checkpoint)).keys())
    if lacking:
        raise InputError(f"{checkpoint} lacks {len(lacking)} of the adapter's tensors, {lacking[0]} among them.")
    return adapted.merge_and_unload(safe_merge=True)


def _from_zero(checkpoint: Path, dtype: str) -> "PreTrainedModel":
    """Join DeepSpeed's partitions: the fp32 master weights, not the bf16 copies."""
    import torch
    from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint
    from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

    config = AutoConfig.from_pretrained(checkpoint)
    state = get_fp32_state_dict_from_zero_checkpoint(str(checkpoint))
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    result = model.load_state_dict(state, strict=False)
    model.tie_weights()
    tied = set(getattr(model, "_tied_weights_keys", None) or ())
    missing = [name for name in result.missing_keys if name not in tied]
    if missing or result.unexpected_keys:
        raise InputError(
            f"{checkpoint}: its partitions do not make up the model: {(missing or result.unexpected_keys)[0]}"
        )
    model.generation_config = GenerationConfig.from_pretrained(checkpoint)
    wanted = config.dtype if dtype == "auto" else getattr(torch, dtype)
    return model.to(wanted or torch.float32)
