"""A plan: what a run will be, and whether it fits, before a GPU is asked for.

Enters: a recipe and the hardware. Leaves: a `Plan` with steps, tokens, time, memory of a GPU and of a node, and, where
it does not fit, the changes that would. It loads no model, needs no GPU and asks no network; `plan_text` prints it.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

from lemma_train.errors import InputError
from lemma_train.training.compatibility import check_recipe
from lemma_train.training.memory import GIB, Memory, memory
from lemma_train.training.memory_host import Host, host
from lemma_train.training.memory_setting import Setting, setting_of
from lemma_train.training.model_shape import ModelShape, shape_of
from lemma_train.training.plan_launch import Launch
from lemma_train.training.plan_search import Change, changes_that_fit
from lemma_train.training.plan_steps import MOST_ROWS, Rows, Steps, count_steps, find_rows
from lemma_train.training.recipe import Recipe

# What nodes with eight 80 GB GPUs have at most among the larger clouds' offers.
USUAL_HOST_MEMORY = 2048.0
# The authors' LLaMA-3-8B took about 5 hours on 8 A100 (312 TFLOP/s in bf16): 166 million tokens of 46 GFLOP each come
# to this share of the peak, padding and saving included.
USUAL_MFU, USUAL_TFLOPS = 0.17, 312.0


@dataclass(frozen=True)
class Hardware:
    """gpu_memory, host_memory: GiB of a GPU and of a node. mfu: share of peak_tflops (of one GPU, in the precision of
    the run) that the model's own arithmetic reaches."""

    gpu_memory: float = 80.0
    gpus_per_node: int = 8
    host_memory: float = USUAL_HOST_MEMORY
    mfu: float = USUAL_MFU
    peak_tflops: float = USUAL_TFLOPS


@dataclass(frozen=True)
class Plan:
    """What `lemma plan` tells. hours: None on CPUs and where the number of steps is not known. misfits: why it does not
    fit, none where it does. changes: what would fit, the nearest first. notes: what the reader should know besides."""

    recipe: str
    setting: Setting
    launch: Launch
    hardware: Hardware
    rows: Rows
    steps: Steps
    memory: Memory
    host: Host
    hours: float | None
    misfits: list[str]
    changes: list[Change]
    notes: list[str]

    @property
    def fits(self) -> bool:
        return not self.misfits


def make_plan(
    recipe: Recipe, launch: Launch, hardware: Hardware, rows: int | None = None, mean_tokens: float | None = None
) -> Plan:
    """Plan a run.

    Raises:
        InputError: the recipe contradicts itself, the model's shape or the rows are not known, or a number is absurd.
    """
    _check(hardware, rows, mean_tokens)
    gpus, per_node = launch.processes, hardware.gpus_per_node
    if gpus > per_node and gpus % per_node:
        raise InputError(
            f"--gpus: {gpus} GPUs do not fill whole nodes of {per_node}; give a multiple, or --gpus-per-node."
        )
    check_recipe(recipe, launch.environ)
    shape = shape_of(recipe["model_name_or_path"], recipe["model_revision"])
    found = find_rows(recipe, rows, mean_tokens)
    setting = setting_of(recipe, shape, launch.environ, gpus, per_node, found.longest, found.padded)
    steps = count_steps(recipe, found, gpus, setting.micro_batch, setting.accumulation)
    on_gpu, on_host = memory(setting), host(setting)
    misfits = _misfits(setting, on_gpu, on_host, hardware)
    return Plan(
        recipe=str(recipe.path),
        setting=setting,
        launch=launch,
        hardware=hardware,
        rows=found,
        steps=steps,
        memory=on_gpu,
        host=on_host,
        hours=_hours(setting, steps, found, hardware),
        misfits=misfits,
        changes=changes_that_fit(setting, lambda s: not _misfits(s, memory(s), host(s), hardware)) if misfits else [],
        notes=_notes(recipe, setting, launch, found),
    )


def as_dict(plan: Plan) -> dict[str, Any]:
    """The plan as plain JSON values, GiB rounded to two places."""
    steps, setting = plan.steps, plan.setting
    return {
        "recipe": plan.recipe,
        "model": setting.shape.name,
        "parameters": {"total": setting.shape.total, "trainable": setting.trainable, **setting.shape.parameters()},
        "gpus": setting.gpus,
        "nodes": setting.nodes,
        "global_batch_size": steps.global_batch_size,
        "steps_per_epoch": steps.steps_per_epoch,
        "total_steps": steps.total_steps,
        "rows": plan.rows.count,
        "mean_tokens": plan.rows.mean,
        "tokens": steps.tokens,
        "memory_per_gpu_gib": _gib(plan.memory.total_bytes),
        "memory": {
            "state": {name: _gib(size) for name, size in plan.memory.state.items()},
            "moments": {
                moment: {name: _gib(size) for name, size in parts.items()}
                for moment, parts in plan.memory.moments.items()
            },
            "worst_moment": plan.memory.worst,
            "context": _gib(plan.memory.context),
            "margin": _gib(plan.memory.margin),
        },
        "host_memory_gib": _gib(plan.host.total_bytes),
        "host": {name: _gib(size) for name, size in asdict(plan.host).items()},
        "checkpoint_gib": _gib(plan.host.checkpoint),
        "hours": None if plan.hours is None else round(plan.hours, 2),
        "gpu_hours": None if plan.hours is None else round(plan.hours * setting.gpus, 1),
        "mfu": plan.hardware.mfu,
        "peak_tflops": plan.hardware.peak_tflops,
        "fits": plan.fits,
        "misfits": plan.misfits,
        "changes": [
            {
                "words": change.words,
                "options": change.options,
                "memory_per_gpu_gib": _gib(memory(change.setting).total_bytes),
                "host_memory_gib": _gib(host(change.setting).total_bytes),
                "gpus": change.setting.gpus,
            }
            for change in plan.changes
        ],
        "notes": plan.notes,
    }


def _gib(size: float) -> float:
    return round(size / GIB, 2)


def _check(hardware: Hardware, rows: int | None, mean_tokens: float | None) -> None:
    faults = [
        f"{flag}: it must be {words}; it is {value}."
        for flag, value, holds, words in (
            ("--gpu-memory", hardware.gpu_memory, 0 < hardware.gpu_memory <= 1e6, "above 0 and at most 10^6 GiB"),
            ("--gpus-per-node", hardware.gpus_per_node, 1 <= hardware.gpus_per_node <= 1e6, "from 1 to 10^6"),
            (
                "--host-memory",
                hardware.host_memory,
                0 < hardware.host_memory <= 1e9,
                "above 0 and at most 10^9 GiB",
            ),
            ("--mfu", hardware.mfu, 1e-6 <= hardware.mfu <= 1, "a share from 0.000001 to 1"),
            ("--peak-tflops", hardware.peak_tflops, 1e-3 <= hardware.peak_tflops <= 1e6, "from 0.001 to 10^6"),
            ("--rows", rows, rows is None or 1 <= rows <= MOST_ROWS, "from 1 to 10^12"),
            ("--mean-tokens", mean_tokens, mean_tokens is None or 1 <= mean_tokens <= 10**7, "from 1 to 10^7"),
        )
        if not holds
    ]
    if faults:
        raise InputError("\n".join(faults))


def _misfits(setting: Setting, on_gpu: Memory, on_host: Host, hardware: Hardware) -> list[str]:
    found = []
    if not setting.cpu and on_gpu.total_bytes > hardware.gpu_memory * GIB:
        parts = sorted({**on_gpu.state, **on_gpu.moments[on_gpu.worst]}.items(), key=lambda part: -part[1])
        largest = ", ".join(f"{name} {size / GIB:.1f}" for name, size in parts[:3])
        found.append(
            f"a GPU needs {on_gpu.total_bytes / GIB:.1f} GiB of its {hardware.gpu_memory:g} {on_gpu.worst}; "
            f"the largest parts are {largest} GiB"
        )
    if on_host.total_bytes > hardware.host_memory * GIB:
        found.append(f"a node needs {on_host.total_bytes / GIB:.0f} GiB of its {hardware.host_memory:g}")
    return found


def flops_per_token(shape: ModelShape, mean_tokens: float, adapter: bool) -> float:
    """Arithmetic of the forward and backward pass a token, as the trainer counts it for its MFU: two operations a
    parameter and 4 x width x tokens for attention, forward once and backward twice; frozen weights, which get no
    gradient of their own, save one of the three."""
    forward = 2.0 * shape.multiplied + 4.0 * shape.layers * shape.query * mean_tokens
    return forward * (2 if adapter else 3)


def _hours(setting: Setting, steps: Steps, rows: Rows, hardware: Hardware) -> float | None:
    if steps.tokens is None or setting.cpu:
        return None
    work = steps.tokens * flops_per_token(setting.shape, rows.mean, setting.adapter is not None)
    return work / (setting.gpus * hardware.peak_tflops * 1e12 * hardware.mfu) / 3600


def _notes(recipe: Recipe, setting: Setting, launch: Launch, rows: Rows) -> list[str]:
    found = []
    own = launch.recipes_own * setting.micro_batch * setting.accumulation
    here = setting.gpus * setting.micro_batch * setting.accumulation
    if own != here:
        keep = own / (setting.gpus * setting.micro_batch)
        mend = f"; --gradient_accumulation_steps {keep:.0f} keeps it" if keep >= 1 and keep == math.floor(keep) else ""
        found.append(f"the recipe's own {launch.recipes_own} processes make {own} rows a step, here it is {here}{mend}")
    if rows.worst_case:
        found.append(f"every row is counted as if it filled {rows.longest:,} tokens; `lemma prepare` tells the longest")
    if rows.mean_origin == "assumed":
        found.append(f"{rows.mean:g} tokens a row are assumed; --mean-tokens or `lemma prepare` tells better")
    if recipe["use_liger_kernel"]:
        found.append("Liger's kernels save activations that are counted here as if they did not")
    if recipe["accelerator_config"]:
        found.append("steps are counted as accelerate deals rows out by default, whatever accelerator_config says")
    if launch.environ.get("ACCELERATE_USE_DEEPSPEED"):
        found.append("where a change below names a DeepSpeed file, launch without the one of the configuration")
    if "nvme" in (setting.sharding.offload_optimizer, setting.sharding.offload_params):
        found.append("offloading to NVMe is counted after DeepSpeed's source; it has not been measured")
    if setting.offloads_inputs and setting.checkpointing:
        found.append("activations in host memory are counted after the libraries' sources; it has not been measured")
    if setting.cpu:
        found.append("this recipe trains on CPUs: memory per GPU means memory of one process")
    return found
