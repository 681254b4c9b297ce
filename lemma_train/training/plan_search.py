"""Which change makes a run fit: tried one after another, not guessed.

Enters: a setting that does not fit and a test of whether one does. Leaves: the nearest change of each kind that fits,
the gentlest kind first: the same training on the same GPUs; slower, with state in host memory; more GPUs; adapters
in place of full fine-tuning. The global batch stays what it is.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from lemma_train.training.memory_setting import Adapter, Setting, Sharding
from lemma_train.training.model_shape import LINEAR

_MOST_GPUS = 4096
_LORA_RANK = 16  # ModelConfig's default


@dataclass(frozen=True)
class Change:
    """words: what changes. options: what to add to the training command. setting: the run as changed."""

    words: str
    options: str
    setting: Setting


def counted(number: int, thing: str) -> str:
    """A number and what it counts, in the singular or the plural.

    Example:
        >>> counted(1, "row"), counted(2, "row")
        ('1 row', '2 rows')
    """
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


_Step = tuple[str, str, Setting]  # words and options, empty where nothing changes, and what comes of it


def changes_that_fit(setting: Setting, fits: Callable[[Setting], bool]) -> list[Change]:
    """The first change of each kind that fits, at most one a kind, the gentlest kind first; none where nothing does."""
    found = []
    for kind in (_same_gpus, _offloaded, _more_gpus, _lora, _qlora):
        first = next((change for change in kind(setting) if fits(change.setting)), None)
        if first is not None:
            found.append(first)
    return found


def _same_gpus(setting: Setting) -> Iterator[Change]:
    """Combinations of a smaller micro-batch, checkpointing, another attention and a higher ZeRO stage, those with few
    changes first."""
    yield from _combined(setting, [_smaller_batches, _checkpointing, _attention, _higher_stages])


def _offloaded(setting: Setting) -> Iterator[Change]:
    sharding = setting.sharding
    if setting.cpu or setting.bits or sharding.offload_params != "none":
        return
    base = _under_zero3(setting)
    moved = replace(base, sharding=replace(base.sharding, offload_optimizer="cpu", offload_params="cpu"))
    first = ("weights and optimizer state in host memory", "--deepspeed ds_configs/zero3_offload.json", moved)
    yield from _combined(setting, [lambda _: iter([first]), _checkpointing, _smaller_batches], needed=1)


def _more_gpus(setting: Setting) -> Iterator[Change]:
    """Twice, three times ... as many GPUs with less accumulation, as far as the global batch divides."""
    batch = setting.gpus * setting.micro_batch * setting.accumulation
    if setting.cpu:
        return
    gpus = setting.gpus
    while (gpus := gpus * 2) <= _MOST_GPUS:
        if gpus > setting.gpus_per_node and gpus % setting.gpus_per_node:
            continue
        grown = replace(setting, gpus=gpus)
        for words, _, smaller in itertools.chain([("", "", grown)], _smaller_batches(grown)):
            accumulation, rest = divmod(batch, gpus * smaller.micro_batch)
            if rest or not accumulation:
                continue
            base = replace(smaller, accumulation=accumulation)
            rows = f" --per_device_train_batch_size {base.micro_batch}" if words else ""
            told = f"{gpus} GPUs with {counted(base.micro_batch, 'row')} x {accumulation} accumulated"
            given = f"--num_processes {gpus} to accelerate,{rows} --gradient_accumulation_steps {accumulation}"
            yield Change(told, given, base)
            yield from (
                Change(f"{told}, {more.words}", f"{given} {more.options}", more.setting)
                for more in _combined(base, [_higher_stages, _checkpointing])
            )


def _lora(setting: Setting) -> Iterator[Change]:
    if setting.adapter is not None:
        return
    adapter = Adapter(_LORA_RANK, LINEAR, dropout=True)
    changed = replace(setting, adapter=adapter, weight_bytes=2 if setting.half else setting.weight_bytes)
    words = f"a LoRA adapter of rank {_LORA_RANK} on every linear layer (another training)"
    options = "--use_peft true --lora_target_modules all-linear"
    options += " --dtype bfloat16" if changed.weight_bytes != setting.weight_bytes else ""
    first = (words, options, changed)
    yield from _combined(setting, [lambda _: iter([first]), _higher_stages, _checkpointing, _smaller_batches], needed=1)


def _qlora(setting: Setting) -> Iterator[Change]:
    if setting.bits or setting.cpu or setting.sharding.fsdp:
        return
    adapter = setting.adapter or Adapter(_LORA_RANK, LINEAR, dropout=True)
    changed = replace(setting, adapter=adapter, bits=4, weight_bytes=2, sharding=Sharding())
    words = "QLoRA: an adapter on weights in 4 bits (another training)"
    options = "--load_in_4bit true --dtype bfloat16 --deepspeed null"
    if setting.adapter is None:
        options = "--use_peft true --lora_target_modules all-linear " + options
    first = (words, options, changed)
    yield from _combined(setting, [lambda _: iter([first]), _checkpointing, _smaller_batches], needed=1)


def _combined(setting: Setting, kinds: list[Callable[[Setting], Iterator[_Step]]], needed: int = 0) -> Iterator[Change]:
    """Every combination of at most one step of each kind, by the number of steps; the first `needed` kinds always."""
    for size in range(max(1, needed), len(kinds) + 1):
        for chosen in itertools.combinations(kinds, size):
            if chosen[:needed] == tuple(kinds[:needed]):
                yield from _walked(setting, list(chosen), "", "")


def _walked(
    setting: Setting, kinds: list[Callable[[Setting], Iterator[_Step]]], words: str, options: str
) -> Iterator[Change]:
    if not kinds:
        yield Change(words, options, setting)
        return
    for told, given, changed in kinds[0](setting):
        yield from _walked(
            changed, kinds[1:], f"{words}, {told}" if words else told, f"{options} {given}" if options else given
        )


def _smaller_batches(setting: Setting) -> Iterator[_Step]:
    rows = setting.micro_batch
    while rows % 2 == 0:
        rows //= 2
        accumulation = setting.accumulation * (setting.micro_batch // rows)
        changed = replace(setting, micro_batch=rows, accumulation=accumulation, padded=setting.padded and rows > 1)
        words = f"{counted(rows, 'row')} x {accumulation} accumulated"
        yield words, f"--per_device_train_batch_size {rows} --gradient_accumulation_steps {accumulation}", changed


def _checkpointing(setting: Setting) -> Iterator[_Step]:
    if not setting.checkpointing:
        yield "activation checkpointing", "--activation_checkpointing true", replace(setting, checkpointing=True)


def _attention(setting: Setting) -> Iterator[_Step]:
    if setting.attention == "eager":
        yield "sdpa attention", "--attn_implementation sdpa", replace(setting, attention="sdpa")


def _higher_stages(setting: Setting) -> Iterator[_Step]:
    sharding = setting.sharding
    if setting.gpus == 1 or setting.cpu or setting.bits or sharding.fsdp:
        return
    for stage in range(max(2, sharding.stage + 1), 4):
        changed = _under_zero3(setting)
        changed = replace(changed, sharding=replace(changed.sharding, stage=stage, overlap=True))
        yield f"ZeRO-{stage}", f"--deepspeed ds_configs/zero{stage}.json", changed


def _under_zero3(setting: Setting) -> Setting:
    """The setting under ds_configs/zero3.json, with what "auto" stands for there."""
    square = setting.shape.hidden**2
    sharding = Sharding(
        stage=3,
        engine=True,
        reduce_bucket=square,
        prefetch_bucket=0.9 * square,
        persistence=10 * setting.shape.hidden,
    )
    return replace(setting, sharding=sharding, weight_bytes=2 if setting.half else 4)
