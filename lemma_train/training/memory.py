"""How much memory one process of a training needs on its GPU, by part and by moment.

Enters: a `Setting`. Leaves: a `Memory`. The model follows what the libraries do, read in their sources: transformers'
decoder layers and checkpointing, TRL's chunked head, DeepSpeed's ZeRO stages, torch's autocast and data parallelism.
benchmarks/memory_model.py holds it against measurement. Host memory and disk are `memory_host`'s business.
"""

from dataclasses import dataclass

from lemma_train.training.memory_activations import (
    head_bytes,
    layer_input_bytes,
    layer_saved_bytes,
    layer_working_bytes,
    masks_bytes,
)
from lemma_train.training.memory_setting import Setting

GIB = 2**30
# What the CUDA context, cuBLAS's workspaces and NCCL's channels take beside torch's own allocations. Our estimate.
CONTEXT_BYTES = 1.5 * GIB
# The caching allocator's loss to blocks of unlike sizes: state lies in few large blocks that stay, what comes and goes
# does not. Our estimate.
FRAGMENTATION = 0.1


@dataclass(frozen=True)
class Memory:
    """Bytes of one process.

    state: what stays from step to step. moments: for each moment at which memory peaks, what comes on top of the
    state. context, margin: beside torch's allocations, and lost to fragmentation.
    """

    state: dict[str, float]
    moments: dict[str, dict[str, float]]
    context: float
    margin: float

    @property
    def state_bytes(self) -> float:
        return sum(self.state.values())

    @property
    def worst(self) -> str:
        """The moment that needs most."""
        return max(self.moments, key=lambda name: sum(self.moments[name].values()))

    @property
    def peak_bytes(self) -> float:
        """The most that torch allocates."""
        return self.state_bytes + sum(self.moments[self.worst].values())

    @property
    def total_bytes(self) -> float:
        return self.peak_bytes + self.context + self.margin


def memory(setting: Setting) -> Memory:
    """The memory of one process, the fullest one where they differ.

    Example: LLaMA-3-8B in bf16 on 8 GPUs under ZeRO-3 holds 16 bytes a parameter / 8 of state, 15 GiB.
    """
    state = _state(setting)
    moments = _moments(setting)
    coming_and_going = max(sum(parts.values()) for parts in moments.values())
    on_gpu = not setting.cpu
    return Memory(state, moments, CONTEXT_BYTES * on_gpu, FRAGMENTATION * coming_and_going * on_gpu)


def frozen_bytes(setting: Setting) -> float:
    """All weights of the model as one process would hold them whole, quantised where they are."""
    shape = setting.shape
    if not setting.bits:
        return float(shape.total * setting.weight_bytes)
    # bitsandbytes: one scale for 64 weights in fp32; nested, scales take a byte and 4 for each 256 of them. The head,
    # the embedding and the norms stay as they are.
    scales = 1 / 64 + 4 / (64 * 256) if setting.nested_quantisation else 4 / 64
    each = 0.5 + scales if setting.bits == 4 else 1.0
    return shape.in_linear_layers * each + (shape.total - shape.in_linear_layers) * setting.weight_bytes


def master_bytes(setting: Setting) -> int:
    """Bytes of an fp32 master weight beside the weight itself, a trainable parameter: DeepSpeed's business alone."""
    sharding = setting.sharding
    if not sharding.engine or sharding.stage == 0:
        return 0
    return 4 if setting.half or sharding.stage < 3 else 0


def gradient_bytes(setting: Setting) -> int:
    """Bytes of a gradient, a trainable parameter: DeepSpeed keeps them in the model's type, others in fp32."""
    return 2 if setting.sharding.engine and setting.half else 4


def persistent(setting: Setting) -> int:
    """Parameters that ZeRO-3 keeps whole on every process because they are small: the norms and biases."""
    parameters = setting.shape.parameters()
    small = parameters["norms"] if setting.shape.hidden < setting.sharding.persistence else 0
    if setting.shape.qkv_bias:
        small += setting.shape.layers * (setting.shape.query + 2 * setting.shape.key)
    return small


def _state(setting: Setting) -> dict[str, float]:
    sharding, split = setting.sharding, setting.gpus
    weights, trained = frozen_bytes(setting), float(setting.trainable)
    if setting.adapter is not None:
        weights += trained * (2 if sharding.engine and setting.half else 4)  # held in fp32 without DeepSpeed
    master, moments = master_bytes(setting) * trained, setting.optimizer_bytes * trained
    gradients = gradient_bytes(setting) * trained
    if sharding.fsdp:
        return {
            "weights": weights / split,
            "gradients": gradients / split,
            "master weights": 0.0,
            "optimizer states": moments / split,
        }
    if sharding.stage >= 1:
        master, moments = master / split, moments / split
    if sharding.stage >= 2:
        gradients /= split
    if sharding.stage == 3:
        weights = weights / split + (persistent(setting) * setting.weight_bytes if split > 1 else 0)
    if sharding.offload_optimizer != "none":
        master = moments = gradients = 0.0
    if sharding.offload_params != "none":
        weights = float(persistent(setting) * setting.weight_bytes)
    return {"weights": weights, "gradients": gradients, "master weights": master, "optimizer states": moments}


def _moments(setting: Setting) -> dict[str, dict[str, float]]:
    """What comes on top of the state at the three moments that can be the worst."""
    shape = setting.shape
    layer = setting.tokens * layer_saved_bytes(setting)
    recomputed, entered = setting.recomputed_layers, layer_input_bytes(setting)
    attended = setting.tokens * shape.query * setting.width if setting.keeps_attention else 0
    kept = attended + (0 if setting.offloads_inputs else entered)
    saved = recomputed * kept + (shape.layers - recomputed) * layer + masks_bytes(setting)
    buffers = _buffers(setting)
    head = {
        "activations": saved + setting.tokens * shape.hidden * 8,  # and those of the last norm
        "head and loss": head_bytes(setting),
        "working buffers": buffers,
        "copies of the weights": _autocast_copies(setting),
    }
    if setting.sharding.stage == 3 and setting.gpus > 1:
        head["copies of the weights"] += _gathered(setting) + shape.embedding * setting.weight_bytes
    twice = _second_gradients(setting)
    backward = {
        # One layer is computed again; an input that waited on the host has been fetched for it.
        "activations": saved + (layer + entered * setting.offloads_inputs if setting.checkpointing else 0),
        "one layer's backward pass": layer_working_bytes(setting),
        "working buffers": buffers + twice,
        "copies of the weights": _autocast_copies(setting) + _gathered(setting) + _dequantised(setting),
    }
    step = {
        "fp32 gradients and temporaries": _step_bytes(setting),
        "working buffers": _lasting_buffers(setting) + twice,
    }
    return {"at the loss": head, "in the backward pass": backward, "in the optimizer step": step}


def _autocast_copies(setting: Setting) -> float:
    """16-bit copies of fp32 weights: kept for the backward pass, or one layer's where layers are computed again."""
    if not (setting.half and setting.fp32_stream) or setting.bits:
        return 0.0
    if setting.sharding.fsdp:
        return 2.0 * (2 * setting.shape.layer + 2 * setting.shape.embedding)  # two layers, and the root's own
    return 2.0 * setting.shape.in_linear_layers


def _dequantised(setting: Setting) -> float:
    return 2.0 * setting.shape.largest_linear if setting.bits else 0.0


def _gathered(setting: Setting) -> float:
    """Weights that ZeRO-3 holds whole at the turn from the forward to the backward pass.

    Those that are needed again within max_reuse_distance stay: the trace counts the layers after them once forward
    and once backward, twice where they are computed again.
    """
    sharding, shape = setting.sharding, setting.shape
    if sharding.stage != 3 or setting.gpus == 1:
        return 0.0
    passes = 3 if setting.checkpointing else 2
    body = shape.total - persistent(setting) - (0 if shape.tied else shape.embedding)
    kept = min(body, sharding.max_reuse / passes + min(sharding.prefetch_bucket, sharding.max_live))
    return setting.weight_bytes * (max(kept, shape.layer) + shape.largest_linear)


def _lasting_buffers(setting: Setting) -> float:
    """DeepSpeed's buckets, and DistributedDataParallel's, which are as large as the gradients."""
    sharding = setting.sharding
    if not sharding.engine:
        return gradient_bytes(setting) * setting.trainable if setting.gpus > 1 and not sharding.fsdp else 0.0
    if sharding.stage == 0:
        return 0.0
    buckets = 2 if sharding.overlap and sharding.stage < 3 else 1
    return min(sharding.reduce_bucket, 2**31) * gradient_bytes(setting) * buckets


def _second_gradients(setting: Setting) -> float:
    """ZeRO-2 gathers a micro-batch's gradients beside those of the micro-batches before it."""
    if setting.sharding.stage != 2 or setting.accumulation == 1 or setting.sharding.offload_optimizer != "none":
        return 0.0
    return gradient_bytes(setting) * setting.trainable / setting.gpus


def _buffers(setting: Setting) -> float:
    """The lasting buffers, and the full gradient of the largest weight while it is reduced."""
    sharding, shape = setting.sharding, setting.shape
    gradient = shape.largest_linear if setting.adapter is None else 0
    reduced = gradient_bytes(setting) * gradient * (1 if sharding.engine or sharding.fsdp else 0)
    return _lasting_buffers(setting) + reduced


def _step_bytes(setting: Setting) -> float:
    """What the optimizer step allocates: fp32 gradients under ZeRO, and temporaries where AdamW is not fused."""
    sharding = setting.sharding
    if sharding.offload_optimizer != "none":
        return 0.0
    share = setting.trainable / (setting.gpus if sharding.stage >= 1 or sharding.fsdp else 1)
    if sharding.stage == 3:
        share = min(share, sharding.sub_group)
    # The bucket is flattened in the model's type and then converted; both are alive at that moment.
    converted = (4 + gradient_bytes(setting)) * share if master_bytes(setting) else 0.0
    temporaries = 0.0 if "fused" in setting.optimizer or "paged" in setting.optimizer else 4 * share
    return max(converted, 4 * share * bool(master_bytes(setting)) + temporaries)
