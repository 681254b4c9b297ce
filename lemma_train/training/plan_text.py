"""A plan as a terminal shows it: what will run, how long, what it needs, and what to change where it does not fit.

Enters: a `Plan`. Leaves: text. It computes nothing that the plan does not hold.
"""

from lemma_train.training.memory import GIB, memory
from lemma_train.training.memory_host import host
from lemma_train.training.plan import Plan
from lemma_train.training.plan_search import Change, counted

_NAME = 24  # columns of the names on the left


def as_text(plan: Plan) -> str:
    """The plan in sections; sizes in GiB."""
    return "\n".join([*_run(plan), "", *_gpu(plan), "", *_host(plan), "", *_verdict(plan)])


def _line(name: str, text: str) -> str:
    return f"{name:{_NAME}}{text}"


def _size(name: str, size: float) -> str:
    return f"  {name:{_NAME + 10}}{size / GIB:10.2f}"


def _run(plan: Plan) -> list[str]:
    setting, steps, rows = plan.setting, plan.steps, plan.rows
    processes = "process on CPUs" if setting.cpu else "GPU"
    processes = processes if setting.gpus == 1 else processes.replace("process", "processes").replace("GPU", "GPUs")
    nodes = f" on {setting.nodes} nodes" if setting.nodes > 1 else ""
    trained = f", {setting.trainable:,} trained ({setting.trainable / setting.shape.total:.2%})"
    lines = [
        _line("recipe", plan.recipe),
        _line("model", f"{setting.shape.name}: {setting.shape.total:,} parameters{trained}"),
        _line(
            "  millions by module", ", ".join(f"{name} {n / 1e6:.1f}" for name, n in setting.shape.parameters().items())
        ),
        _line("runs on", f"{setting.gpus} {processes}{nodes} ({plan.launch.origin}), {_sharding(plan)}"),
        _line(
            "global batch",
            f"{counted(setting.micro_batch, 'row')} x {setting.accumulation} accumulated x {setting.gpus} = "
            f"{steps.global_batch_size} rows a step",
        ),
    ]
    if rows.count is not None:
        lines.append(_line("rows", f"{rows.count:,} ({rows.origin})"))
    lines.append(_line("tokens a row", f"{rows.mean:g} ({rows.mean_origin}); the longest counted as {rows.longest:,}"))
    if steps.steps_per_epoch is not None and steps.total_steps is not None and steps.tokens is not None:
        told = f"{steps.steps_per_epoch:,} an epoch, {steps.total_steps:,} in all ({steps.epochs:.4g} epochs)"
        lines.append(_line("steps", f"{told}, {steps.tokens:,} tokens"))
    elif steps.total_steps is not None:
        lines.append(_line("steps", f"{steps.total_steps:,} in all (max_steps); the rows are not on this disk"))
    if plan.hours is not None and not setting.cpu:
        hardware = plan.hardware
        rate = f"{hardware.mfu:.0%} of {hardware.peak_tflops:g} TFLOP/s a GPU (--mfu, --peak-tflops)"
        lines.append(_line("time", f"{plan.hours:.1f} h, {plan.hours * setting.gpus:.0f} GPU hours, at {rate}"))
    return lines


def _sharding(plan: Plan) -> str:
    sharding = plan.setting.sharding
    if sharding.fsdp:
        return "split by FSDP"
    if not sharding.engine:
        return "data parallel" if plan.setting.gpus > 1 else "nothing split"
    moved = {"weights": sharding.offload_params, "optimizer state": sharding.offload_optimizer}
    away = [
        f"{what} offloaded to {'host memory' if to == 'cpu' else 'NVMe'}" for what, to in moved.items() if to != "none"
    ]
    return ", ".join([f"ZeRO-{sharding.stage}", *away])


def _gpu(plan: Plan) -> list[str]:
    kept = plan.memory
    what = "one process" if plan.setting.cpu else "one GPU"
    lines = [f"memory of {what}, GiB"]
    lines += [_size(name, size) for name, size in kept.state.items() if size]
    for moment, parts in kept.moments.items():
        worst = "  <- the worst moment" if moment == kept.worst else ""
        lines.append(f"  {moment + ', besides':{_NAME + 10}}{sum(parts.values()) / GIB:10.2f}{worst}")
        if moment == kept.worst:
            lines += [f"  {_size(name, size)}" for name, size in parts.items() if size]
    if not plan.setting.cpu:
        lines += [_size("CUDA context and NCCL", kept.context), _size("fragmentation margin", kept.margin)]
    return [*lines, _size("in all", kept.total_bytes)]


def _host(plan: Plan) -> list[str]:
    kept = plan.host
    parts = [
        ("programs", kept.processes),
        ("training", kept.training),
        ("offloaded state", kept.offloaded),
        ("offloaded activations", kept.activations),
        ("while loading", kept.loading),
        ("while saving", kept.saving),
        ("while resuming", kept.resuming),
    ]
    return [
        "memory of the fullest node, GiB",
        *(_size(name, size) for name, size in parts if size),
        _size("in all, at the worst moment", kept.total_bytes),
        "disk, GiB",
        *([_size("NVMe disk of each node", kept.nvme)] if kept.nvme else []),
        _size("each checkpoint", kept.checkpoint),
        _size("the final model", kept.final),
    ]


def _verdict(plan: Plan) -> list[str]:
    hardware = plan.hardware
    room = f"{hardware.host_memory:g} GiB a node"
    if not plan.setting.cpu:
        room = f"{hardware.gpu_memory:g} GiB a GPU, {room}"
    lines = [f"note: {note}." for note in plan.notes]
    if plan.fits:
        return [*lines, f"fits: yes ({room})"]
    lines += [f"fits: no: {misfit}." for misfit in plan.misfits]
    if not plan.changes:
        return [*lines, "No smaller batch, ZeRO stage, offloading, number of GPUs or adapter that was tried fits."]
    first, *others = plan.changes
    lines += [
        f"The nearest change that fits, with {plan.steps.global_batch_size} rows a step as here:",
        *_change(first),
    ]
    if others:
        lines += ["Others that fit:", *(line for change in others for line in _change(change))]
    return lines


def _change(change: Change) -> list[str]:
    on_gpu, on_host = memory(change.setting).total_bytes / GIB, host(change.setting).total_bytes / GIB
    return [
        f"  {change.words}: {on_gpu:.1f} GiB a GPU, {on_host:.0f} GiB on the fullest node",
        f"    {change.options}",
    ]
