"""The model: loaded whole or not at all, in a precision that learns, with an attention that exists here.

Enters: a recipe and its tokenizer. Leaves: a causal language model that agrees with the tokenizer about pad and EOS,
and the PEFT configuration where the recipe asks for an adapter. Under ZeRO-3 the SFTConfig must exist before, so that
transformers partitions the weights while it loads them.
"""

import importlib.util
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from lemma_train.errors import InputError
from lemma_train.training import launcher
from lemma_train.training.recipe import Recipe
from lemma_train.training.tokenizer import unreadable

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

logger = logging.getLogger(__name__)


def usable_attention(wanted: str | None) -> str | None:
    """`wanted`, or sdpa with one warning where FlashAttention is asked for and cannot run here.

    Example:
        >>> usable_attention("eager"), usable_attention(None)
        ('eager', None)
    """
    if wanted is None or not wanted.startswith("flash_attention"):
        return wanted
    import torch

    package = {"flash_attention_2": "flash_attn", "flash_attention_3": "flash_attn_3"}.get(wanted, "flash_attn")
    missing = importlib.util.find_spec(package) is None
    if not missing and torch.cuda.is_available():
        return wanted
    reason = f"the package {package} is not installed" if missing else "there is no CUDA GPU"
    logger.warning("attn_implementation: %s is not available (%s); sdpa is used instead.", wanted, reason)
    return "sdpa"


def load_model(recipe: Recipe, tokenizer: "PreTrainedTokenizerBase") -> "PreTrainedModel":
    """Load the base model of a recipe and bring it into line with the tokenizer.

    Raises:
        InputError: the model cannot be read, lacks weights, or `model_init_kwargs` does not fit it.
    """
    from accelerate import PartialState
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM
    from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled
    from trl import get_quantization_config

    name, model_config = recipe["model_name_or_path"], recipe.model_config()
    quantization = get_quantization_config(model_config)
    options: dict[str, Any] = {
        "revision": recipe["model_revision"],
        "dtype": recipe["dtype"],
        "attn_implementation": usable_attention(recipe["attn_implementation"]),
        "trust_remote_code": recipe["trust_remote_code"],
        "quantization_config": quantization,
        **recipe.model_init_kwargs,
    }
    if quantization is not None and not is_deepspeed_zero3_enabled():  # ZeRO-3 places the weights itself
        state = PartialState()
        options.setdefault(
            "device_map", {"": state.device if state.device.type == "cpu" else state.local_process_index}
        )
    try:
        model, loaded = cast(tuple, AutoModelForCausalLM.from_pretrained(name, output_loading_info=True, **options))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError, SafetensorError) as error:
        if launcher.lost_a_rank(error):  # ZeRO-3 splits the weights among all ranks while they load
            raise
        raise InputError(unreadable(name, "model", error)) from error
    demand_every_tensor(name, loaded)
    demand_plain_logits(name, model)
    agree_with_tokenizer(model, tokenizer)
    return model


def demand_every_tensor(name: str, loaded: Mapping[str, Any]) -> None:
    """Refuse a model of which transformers found tensors missing or misshapen: it would have made them up.

    loaded: what `from_pretrained(..., output_loading_info=True)` tells.

    Raises:
        InputError: counts them and names one.

    Example:
        >>> demand_every_tensor("models/tiny", {"missing_keys": []})
    """
    lacking = sorted({*loaded["missing_keys"], *(key for key, *_ in loaded.get("mismatched_keys", ()))})
    if lacking:
        raise InputError(
            f"model_name_or_path: {name} lacks {len(lacking)} of the model's tensors, {lacking[0]} among them; "
            "its download may be incomplete."
        )


def demand_plain_logits(name: str, model: "PreTrainedModel") -> None:
    """Refuse a model that changes its logits in a way that the fused heads (TRL's and `head`'s) leave out.

    Its training would minimise the loss of another function than the saved model's own.

    Raises:
        InputError: names the model.
    """
    config, own = model.config.get_text_config(), getattr(model, "lm_head", None)
    capped = any(getattr(config, key, None) for key in ("logits_soft_cap", "output_logit_soft_cap"))
    if capped or (own is not None and own is not model.get_output_embeddings()):
        raise InputError(
            f"model_name_or_path: {name} ({type(model).__name__}) does not take its logits straight from its "
            "vocabulary head, as the loss here does; train another model."
        )


def agree_with_tokenizer(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> None:
    """Give the model room for every token, and the tokenizer's pad, EOS and BOS in both of its configurations."""
    rows = model.config.get_text_config().vocab_size
    if len(tokenizer) > rows:
        model.resize_token_embeddings(len(tokenizer))
    for config in (model.config.get_text_config(), model.generation_config):
        config.pad_token_id = tokenizer.pad_token_id
        config.bos_token_id = tokenizer.bos_token_id
    model.config.get_text_config().eos_token_id = tokenizer.eos_token_id
    ends = model.generation_config.eos_token_id
    others = [token for token in (ends if isinstance(ends, list) else [ends]) if token is not None]
    # Every end token that the model already knew still ends an answer, but never the pad.
    ends = [tokenizer.eos_token_id, *(t for t in others if t not in (tokenizer.eos_token_id, tokenizer.pad_token_id))]
    model.generation_config.eos_token_id = ends if len(ends) > 1 else ends[0]


def adapters_in_fp32(model: "torch.nn.Module") -> None:
    """Hold trainable adapter weights in fp32, so that small updates are not rounded away.

    TRL casts the adapters of quantised models to bf16; without DeepSpeed's fp32 masters AdamW would then lose updates
    below one part in 256.
    """
    import torch

    for parameter in model.parameters():
        if parameter.requires_grad and parameter.dtype in (torch.bfloat16, torch.float16):
            parameter.data = parameter.data.float()
