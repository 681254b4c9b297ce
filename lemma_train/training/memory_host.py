"""How much a run needs in a node's own memory and on disk.

Enters: a `Setting`. Leaves: bytes by part, for the fullest node: the first, whose first process loads and saves. What
stands on the GPUs is `memory`'s business.
"""

from dataclasses import dataclass

from lemma_train.training.memory import GIB, frozen_bytes, gradient_bytes, master_bytes, memory
from lemma_train.training.memory_activations import offloaded_input_bytes
from lemma_train.training.memory_setting import Setting

# A process with torch, CUDA's libraries and the data loader. Our estimate.
_PROCESS_BYTES, _CPU_PROCESS_BYTES = 3.0 * GIB, 1.0 * GIB
_NVME_BUFFERS = 4  # DeepSpeed's buffer_count: fp32 sub-groups on their way from or to the NVMe disk


@dataclass(frozen=True)
class Host:
    """Bytes on the fullest node.

    processes: the programs themselves. training: the process's own tensors on CPUs. offloaded: state that DeepSpeed
    holds here for the GPUs. activations: inputs of layers that wait here for the backward pass. loading, saving,
    resuming: what these take for a while. nvme: on the node's own disk, where something is offloaded to it.
    checkpoint, final: on the disk of the results, for each checkpoint and for the result.
    """

    processes: float
    training: float
    offloaded: float
    activations: float
    loading: float
    saving: float
    resuming: float
    nvme: float
    checkpoint: float
    final: float

    @property
    def total_bytes(self) -> float:
        """The most at one time: loading comes before the state exists."""
        lasting = self.offloaded + self.activations + self.training
        return self.processes + max(self.loading, lasting + self.saving, lasting + self.resuming)


def host(setting: Setting) -> Host:
    """Memory of the fullest node and sizes on disk."""
    ranks, sharding = setting.ranks_a_node, setting.sharding
    share = setting.trainable / (setting.gpus if sharding.stage >= 1 or sharding.fsdp else 1)
    whole = setting.shape.total * setting.weight_bytes
    optimizer = (master_bytes(setting) + setting.optimizer_bytes) * share
    if sharding.stage == 3 or sharding.fsdp:
        loading = float(whole)  # the first process reads the files and deals the weights out
    elif setting.bits:
        loading = ranks * 2.0 * setting.shape.embedding  # tensor by tensor, straight to the GPU
    else:
        loading = float(ranks * whole)
    gathered = whole if sharding.stage == 3 or sharding.fsdp else 0.0
    plain = _plain_folder(setting)
    saved = gathered if setting.adapter is None else plain
    # torch.save takes a GPU's tensors through host memory one by one: the largest is a moment of the whole share.
    staged = (
        0.0 if setting.cpu or sharding.offload_optimizer != "none" else ranks * 4.0 * min(share, sharding.sub_group)
    )
    return Host(
        processes=ranks * (_CPU_PROCESS_BYTES if setting.cpu else _PROCESS_BYTES),
        training=ranks * memory(setting).peak_bytes if setting.cpu else 0.0,
        offloaded=ranks * _offloaded(setting, share),
        activations=ranks * offloaded_input_bytes(setting),
        loading=loading,
        saving=saved + staged,
        resuming=0.0 if sharding.offload_optimizer == "nvme" else ranks * optimizer,  # there files are copied
        nvme=ranks * _on_nvme(setting, share),
        checkpoint=_checkpoint(setting, plain),
        final=plain,
    )


def _offloaded(setting: Setting, share: float) -> float:
    """Of one process: fp32 weights, moments and gradients, gradients in the model's type, and the weights."""
    sharding = setting.sharding
    found = 0.0
    each = master_bytes(setting) + setting.optimizer_bytes + 4
    if sharding.offload_optimizer == "cpu":
        found += (each + gradient_bytes(setting)) * share
    elif sharding.offload_optimizer == "nvme":
        found += gradient_bytes(setting) * share + 4.0 * min(share, sharding.sub_group) * _NVME_BUFFERS
    if sharding.offload_params == "cpu":
        found += frozen_bytes(setting) / setting.gpus
    return found


def _on_nvme(setting: Setting, share: float) -> float:
    """Of one process: fp32 weights, moments and gradients, and the weights."""
    sharding = setting.sharding
    optimizer = (master_bytes(setting) + setting.optimizer_bytes + 4) * share
    found = optimizer if sharding.offload_optimizer == "nvme" else 0.0
    if sharding.offload_params == "nvme":
        found += frozen_bytes(setting) / setting.gpus
    return found


def _checkpoint(setting: Setting, plain: float) -> float:
    """Optimizer state, the weights as a plain folder, and below ZeRO-3 DeepSpeed's own copy of them."""
    optimizer = (master_bytes(setting) + setting.optimizer_bytes) * setting.trainable
    own = setting.trainable * gradient_bytes(setting) if setting.sharding.engine and setting.sharding.stage < 3 else 0
    return optimizer + plain + own


def _plain_folder(setting: Setting) -> float:
    """The weights, or the adapter, as save_pretrained writes them."""
    shape, sharding = setting.shape, setting.sharding
    if setting.adapter is not None:
        return setting.trainable * (2.0 if sharding.engine and setting.half else 4.0)
    # DeepSpeed's stages 1 and 2 hand the weights over as copies: a tied head is written a second time.
    twice = shape.embedding if shape.tied and sharding.engine and sharding.stage < 3 else 0
    return float((shape.total + twice) * setting.weight_bytes)
