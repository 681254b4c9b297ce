"""What decides the memory of a training, taken from a recipe once, as plain values.

Enters: a recipe, a model's shape, the launcher's variables and the number of processes. Leaves: a `Setting`, from
which `memory` computes and which a search may vary. It computes no byte of memory itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lemma_train.errors import InputError
from lemma_train.training.checkpointing import checkpointing_of
from lemma_train.training.model_shape import LINEAR, ModelShape
from lemma_train.training.recipe import Recipe
from lemma_train.training.sharding import deepspeed_config, uses_cpu, uses_fsdp, zero_section, zero_stage

# Bytes of state a parameter in each family of optimizers, by the beginning of the `optim` value.
_OPTIMIZER_BYTES = (
    (("adamw_bnb_8bit", "paged_adamw_8bit", "adamw_torch_8bit", "ademamix_8bit", "adamw_8bit"), 2.0),
    (("adamw_torch_4bit",), 1.0),
    (("lion_8bit", "paged_lion_8bit"), 1.0),
    (("lion_32bit", "paged_lion_32bit", "rmsprop", "adagrad"), 4.0),
    (("adafactor", "sgd"), 0.0),
)
_PEFT_DEFAULT_TARGETS = ("q_proj", "v_proj")  # PEFT's own for these models
_DEEPSPEED_DEFAULTS = {
    "reduce_bucket_size": 5e8,
    "stage3_prefetch_bucket_size": 5e7,
    "stage3_param_persistence_threshold": 1e5,
    "stage3_max_live_parameters": 1e9,
    "stage3_max_reuse_distance": 1e9,
    "sub_group_size": 1e9,
}


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter. targets: names of linear layers. saved: modules trained whole beside it."""

    rank: int
    targets: tuple[str, ...]
    dropout: bool
    dora: bool = False
    saved: tuple[str, ...] = ()

    def parameters(self, shape: ModelShape) -> int:
        """Trainable parameters: rank x (inputs + outputs) for each target in each layer, and whole modules."""
        widths = [shape.linear(name) for name in self.targets]
        lora = shape.layers * sum(self.rank * (inputs + outputs) + outputs * self.dora for inputs, outputs in widths)
        return lora + self.whole(shape)

    def whole(self, shape: ModelShape) -> int:
        """Parameters of the copies of whole modules."""
        return sum({**shape.parameters(), "lm_head": shape.embedding}[name] for name in self.saved)


@dataclass(frozen=True)
class Sharding:
    """How weights, gradients and optimizer states are split.

    stage: DeepSpeed's ZeRO stage; 0 is none (plain or data parallel). fsdp: PyTorch's own, which splits everything.
    engine: DeepSpeed is in charge, also at stage 0. offload_optimizer, offload_params: "none", "cpu" or "nvme".
    The sizes are in elements, as in DeepSpeed's configuration.
    """

    stage: int = 0
    fsdp: bool = False
    engine: bool = False
    offload_optimizer: str = "none"
    offload_params: str = "none"
    overlap: bool = True
    reduce_bucket: float = 0
    prefetch_bucket: float = 0
    persistence: float = 0
    max_reuse: float = 1e9
    max_live: float = 1e9
    sub_group: float = 1e9


@dataclass(frozen=True)
class Setting:
    """Everything that memory depends on.

    gpus: processes, one a GPU (or one a CPU process where `cpu`). length: tokens of the longest row. padded: rows of
    a micro-batch differ in length. weight_bytes: of one frozen or trained 16-bit or fp32 weight as held. bits: 4 or 8
    where the frozen linear layers are quantised. half: computing happens in 16 bits. optimizer_bytes: of state a
    trainable parameter. every_n_layers, keeps_attention, offloads_inputs: where `checkpointing`, only every n-th layer
    is recomputed, and that but for its attention; and its input waits in host memory.
    """

    shape: ModelShape
    gpus: int
    gpus_per_node: int
    micro_batch: int
    accumulation: int
    length: int
    padded: bool
    flattened: bool
    checkpointing: bool
    attention: str
    sharding: Sharding
    adapter: Adapter | None
    weight_bytes: int
    half: bool
    bits: int
    nested_quantisation: bool
    optimizer: str
    full_logits: bool
    cpu: bool
    own_head: bool
    every_n_layers: int = 1
    keeps_attention: bool = False
    offloads_inputs: bool = False

    @property
    def trainable(self) -> int:
        return self.shape.total if self.adapter is None else self.adapter.parameters(self.shape)

    @property
    def tokens(self) -> int:
        """Positions of the largest micro-batch."""
        return self.micro_batch * self.length

    @property
    def recomputed_layers(self) -> int:
        return -(-self.shape.layers // self.every_n_layers) if self.checkpointing else 0

    @property
    def width(self) -> int:
        """Bytes of a number in which is computed."""
        return 2 if self.half else 4

    @property
    def fp32_stream(self) -> bool:
        """Whether what flows between the layers is fp32: autocast computes in 16 bits on fp32 weights."""
        return self.weight_bytes == 4 and not self.sharding.engine

    @property
    def optimizer_bytes(self) -> float:
        return optimizer_bytes(self.optimizer)

    @property
    def nodes(self) -> int:
        return -(-self.gpus // self.gpus_per_node)

    @property
    def ranks_a_node(self) -> int:
        return min(self.gpus, self.gpus_per_node)


def optimizer_bytes(name: str) -> float:
    """Bytes of optimizer state a trainable parameter: two fp32 moments unless the name says otherwise.

    Example:
        >>> optimizer_bytes("adamw_torch_fused"), optimizer_bytes("adamw_bnb_8bit")
        (8.0, 2.0)
    """
    return next((size for names, size in _OPTIMIZER_BYTES if name.startswith(names)), 8.0)


def setting_of(
    recipe: Recipe,
    shape: ModelShape,
    environ: Mapping[str, str],
    gpus: int,
    gpus_per_node: int,
    length: int,
    padded: bool,
) -> Setting:
    """The setting of a recipe on so many processes.

    Raises:
        InputError: the DeepSpeed configuration is at fault, or adapters target modules that the model lacks.
    """
    sharding = _sharding(recipe, environ, shape)
    half = bool(recipe["bf16"] or recipe["fp16"] or (recipe["bf16"] is None and not recipe["fp16"]))
    cpu = uses_cpu(recipe, environ)
    weight_bytes = 2 if recipe["dtype"] in ("bfloat16", "float16", "auto", None) else 4
    if sharding.engine:
        weight_bytes = 2 if half else 4  # DeepSpeed casts the parameters to what it computes in
    chosen = checkpointing_of(recipe)
    plain_loss = recipe["loss_type"] == "nll" and not recipe["label_smoothing_factor"]
    return Setting(
        shape=shape,
        gpus=gpus,
        gpus_per_node=gpus_per_node,
        micro_batch=recipe["per_device_train_batch_size"],
        accumulation=recipe["gradient_accumulation_steps"],
        length=length,
        padded=padded and recipe["per_device_train_batch_size"] > 1,
        flattened=bool(recipe["packing"] or recipe["padding_free"]),
        checkpointing=chosen.on,
        attention=_attention(recipe["attn_implementation"], cpu),
        sharding=sharding,
        adapter=_adapter(recipe, shape) if recipe["use_peft"] else None,
        weight_bytes=weight_bytes,
        half=half,
        bits=4 if recipe["load_in_4bit"] else 8 if recipe["load_in_8bit"] else 0,
        nested_quantisation=bool(recipe["use_bnb_nested_quant"]),
        optimizer=str(recipe["optim"]),
        full_logits=bool(recipe["label_smoothing_factor"]),
        cpu=cpu,
        own_head=cpu and recipe["supervised_head"] and plain_loss,
        every_n_layers=chosen.every_n_layers,
        keeps_attention=chosen.selective,
        offloads_inputs=chosen.offload,
    )


def _attention(name: str | None, cpu: bool) -> str:
    """eager, sdpa or flash; what is not known is taken for sdpa, which the trainer falls back to."""
    if name == "eager":
        return "eager"
    return "flash" if name is not None and "flash" in name and not cpu else "sdpa"


def _adapter(recipe: Recipe, shape: ModelShape) -> Adapter:
    targets = recipe["lora_target_modules"] or list(_PEFT_DEFAULT_TARGETS)
    targets = [targets] if isinstance(targets, str) else list(targets)
    names = LINEAR if targets == ["all-linear"] else tuple(dict.fromkeys(targets))
    saved = tuple(dict.fromkeys(recipe["lora_modules_to_save"] or ()))
    for key, given, known in (
        ("lora_target_modules", names, LINEAR),
        ("lora_modules_to_save", saved, ("embed_tokens", "lm_head")),
    ):
        unknown = [name for name in given if name not in known]
        if unknown:
            raise InputError(
                f"{recipe.path}: {key}: `lemma plan` cannot count {unknown[0]!r}; it knows {', '.join(known)}."
            )
    return Adapter(recipe["lora_r"], names, recipe["lora_dropout"] > 0, bool(recipe["use_dora"]), saved)


def _sharding(recipe: Recipe, environ: Mapping[str, str], shape: ModelShape) -> Sharding:
    stage, config = zero_stage(recipe, environ), deepspeed_config(recipe, environ)
    if config is None and not stage:
        return Sharding(fsdp=uses_fsdp(recipe, environ))
    given = zero_section(config)
    square = shape.hidden * shape.hidden
    auto = {
        "reduce_bucket_size": square,
        "stage3_prefetch_bucket_size": int(0.9 * square),
        "stage3_param_persistence_threshold": 10 * shape.hidden,
    }
    sizes = {}
    for key, default in _DEEPSPEED_DEFAULTS.items():
        value = given.get(key, default)
        value = auto.get(key, default) if value == "auto" else value
        if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
            raise InputError(f"{recipe.path}: deepspeed: {key} must be a number not below 0; it is {value!r}.")
        sizes[key] = float(value)
    return Sharding(
        stage=stage,
        engine=True,
        offload_optimizer=_device(recipe, given, "offload_optimizer"),
        offload_params=_device(recipe, given, "offload_param") if stage == 3 else "none",
        overlap=bool(given.get("overlap_comm", stage == 3)),
        reduce_bucket=sizes["reduce_bucket_size"],
        prefetch_bucket=sizes["stage3_prefetch_bucket_size"],
        persistence=sizes["stage3_param_persistence_threshold"],
        max_reuse=sizes["stage3_max_reuse_distance"],
        max_live=sizes["stage3_max_live_parameters"],
        sub_group=max(1.0, sizes["sub_group_size"]),
    )


def _device(recipe: Recipe, given: Mapping[str, Any], key: str) -> str:
    block = given.get(key) or {}
    device = block.get("device", "none") if isinstance(block, dict) else block
    if device not in ("none", "cpu", "nvme"):
        raise InputError(f"{recipe.path}: deepspeed: {key}: the device must be none, cpu or nvme; it is {device!r}.")
    return device
