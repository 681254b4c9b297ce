"""What a decoder layer keeps is counted as autograd really keeps it in transformers' layers, and the head as TRL's."""

from dataclasses import replace

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM, modeling_utils

from lemma_train.training.memory_activations import head_bytes, layer_input_bytes, layer_saved_bytes, masks_bytes
from lemma_train.training.memory_setting import Adapter, Setting, Sharding
from lemma_train.training.model_shape import LINEAR, ModelShape

ROWS, LENGTH = 2, 96
SHAPE = ModelShape("test", 128, 352, 4, 8, 2, 16, 600)
SETTING = Setting(
    shape=SHAPE,
    gpus=1,
    gpus_per_node=8,
    micro_batch=ROWS,
    accumulation=1,
    length=LENGTH,
    padded=False,
    flattened=False,
    checkpointing=False,
    attention="sdpa",
    sharding=Sharding(stage=2, engine=True),
    adapter=None,
    weight_bytes=2,
    half=True,
    bits=0,
    nested_quantisation=False,
    optimizer="adamw_torch_fused",
    full_logits=False,
    cpu=True,
    own_head=False,
)
AUTOCAST = replace(SETTING, weight_bytes=4, sharding=Sharding())
FP32 = replace(AUTOCAST, half=False)
LORA = replace(SETTING, adapter=Adapter(8, LINEAR, dropout=True))


def model_of(setting: Setting, layers: int) -> torch.nn.Module:
    shape = setting.shape
    config = LlamaConfig(
        vocab_size=shape.vocab,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        attn_implementation=setting.attention,
    )
    model = LlamaForCausalLM(config).to(torch.bfloat16 if setting.weight_bytes == 2 else torch.float32)
    if setting.adapter is not None:
        lora = LoraConfig(r=setting.adapter.rank, target_modules=list(setting.adapter.targets), lora_dropout=0.1)
        model = get_peft_model(model, lora, autocast_adapter_dtype=False)
        model.enable_input_require_grads()
    return model.train()


def kept_bytes(setting: Setting, layers: int) -> int:
    """Bytes that autograd keeps of a forward pass, parameters and their 16-bit copies left out."""
    model = model_of(setting, layers)
    ids = torch.randint(0, setting.shape.vocab, (ROWS, LENGTH))
    mask = torch.ones_like(ids)
    if setting.padded:
        mask[0, LENGTH // 2 :] = 0
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    sizes = {p.numel() for p in model.parameters() if p.dim() == 2}  # and of the copies that autocast makes of them
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        copy = setting.half and setting.weight_bytes == 4 and tensor.numel() in sizes
        if tensor.untyped_storage().data_ptr() not in weights and not copy:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    autocast = torch.autocast("cpu", torch.bfloat16, enabled=setting.half and setting.weight_bytes == 4)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), autocast:
        model(input_ids=ids, attention_mask=mask, use_cache=False, logits_to_keep=1)
    return sum(storage.nbytes() for storage in kept.values())


@pytest.mark.parametrize(
    "setting",
    [
        pytest.param(SETTING, id="bf16"),
        pytest.param(replace(SETTING, padded=True), id="bf16 with padding"),
        pytest.param(replace(SETTING, attention="eager"), id="bf16, eager"),
        pytest.param(FP32, id="fp32"),
        pytest.param(AUTOCAST, id="fp32 under bf16 autocast"),
        pytest.param(replace(AUTOCAST, padded=True), id="fp32 under bf16 autocast, with padding"),
        pytest.param(LORA, id="LoRA on every linear layer"),
        pytest.param(replace(LORA, adapter=Adapter(8, ("q_proj", "v_proj"), dropout=True)), id="LoRA on q and v"),
    ],
)
def test_a_layer_keeps_what_is_counted(setting):
    measured = (kept_bytes(setting, 4) - kept_bytes(setting, 2)) / 2
    assert layer_saved_bytes(setting) * ROWS * LENGTH == pytest.approx(measured, rel=0.04)


@pytest.mark.parametrize(
    ("setting", "reentrant"),
    [
        pytest.param(SETTING, False, id="bf16"),
        pytest.param(AUTOCAST, False, id="fp32 under bf16 autocast"),
        pytest.param(LORA, True, id="LoRA, torch's older way"),
    ],
)
def test_what_waits_on_the_host_is_the_input_of_each_recomputed_layer(setting, reentrant, monkeypatch):
    moved: list[torch.Tensor] = []

    class Moved(torch.autograd.graph.saved_tensors_hooks):
        """torch's save_on_cpu without a GPU: notes what would be moved."""

        def __init__(self, pin_memory: bool, device_type: str):
            super().__init__(lambda tensor: moved.append(tensor) or tensor, lambda tensor: tensor)

    monkeypatch.setattr(modeling_utils, "save_on_cpu", Moved)
    counts = []
    for layers in (2, 4):
        model = model_of(setting, layers)
        model.activation_checkpointing_enable({"use_reentrant": reentrant}, offload=True)
        moved.clear()
        with torch.autocast("cpu", torch.bfloat16, enabled=setting.half and setting.weight_bytes == 4):
            model(input_ids=torch.randint(0, setting.shape.vocab, (ROWS, LENGTH)), use_cache=False)
        counts.append(sum(tensor.nbytes for tensor in moved))
    assert (counts[1] - counts[0]) / 2 == layer_input_bytes(setting)


def test_the_mask_of_padded_rows_is_quadratic_in_their_length():
    assert masks_bytes(SETTING) == 0
    padded = replace(SETTING, padded=True)
    assert masks_bytes(replace(padded, length=2 * LENGTH)) == 4 * masks_bytes(padded) > 0
    assert masks_bytes(replace(padded, attention="flash")) == masks_bytes(replace(padded, flattened=True)) == 0


def test_the_head_never_needs_all_logits_unless_labels_are_smoothed():
    shape = replace(SHAPE, vocab=128_256, hidden=4096)
    long = replace(SETTING, shape=shape, length=4096, micro_batch=4, cpu=False)
    logits = 4 * 4095 * 128_256 * 2
    assert head_bytes(long) < 2 * logits and head_bytes(replace(long, full_logits=True)) > 4 * logits
    # Besides the gradient of the head's weight, which does not grow with the rows, twice the rows need little more.
    assert head_bytes(replace(long, micro_batch=8)) < 1.2 * head_bytes(long)
    frozen = replace(long, adapter=Adapter(8, LINEAR, dropout=False))
    assert head_bytes(long) - head_bytes(frozen) == shape.embedding * 6
