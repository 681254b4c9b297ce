"""`lemma collect`: one collection from its recipe, the estimate before it, and its state.

Enters: settings and what the command line asks for. Leaves: `<output_dir>/dataset.jsonl` and everything beside it. One
run at a time works in a folder; started again it goes on.
"""

import gc
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import uvloop

from lemma_train.collection import estimate as estimates
from lemma_train.collection.assembling import check_assembly, write_data_set
from lemma_train.collection.engine import Unfinished
from lemma_train.collection.frame import spent
from lemma_train.collection.graded import failure_rate
from lemma_train.collection.pipeline import open_run, run_stages
from lemma_train.collection.questions import question_lines
from lemma_train.collection.settings import CollectSettings
from lemma_train.collection.shards import Shard, shards_in
from lemma_train.collection.stage_files import STAGES, drop_stages, merge_stages, path_of, read_stage
from lemma_train.collection.stage_states import EARLIER, stage_states
from lemma_train.errors import InputError
from lemma_train.llm.vllm_arguments import reply_arguments
from lemma_train.training.lock import claim
from lemma_train.whole_file import whole_file


def collect(settings: CollectSettings, stage: str | None = None, shard: Shard | None = None) -> Path:
    """Run all stages, or one, of a whole collection or of one of its shards.

    Args:
        stage: one of `STAGES`, or None for all of them. `assembly` joins the shards where there are any.

    Returns:
        the data set's file, or the folder of stage files where no data set was asked for.

    Raises:
        InputError: the recipe, a file or the folder is at fault. Stopped: the same command goes on with the work.
    """
    whole = Path(settings.output_dir).expanduser()
    folder = shard.folder if shard else whole
    shards = shards_in(whole)
    if shards and shard is None and stage != "assembly":
        raise InputError(
            f"output_dir: {whole} holds {len(shards)} shards; run them with --shard i/{len(shards)}, then join them "
            "with --stage assembly."
        )
    if shards and shard is not None and shard.count != len(shards):
        raise InputError(f"--shard: {whole} is already spread over {len(shards)} shards, not {shard.count}.")
    if shard is None and not shards and (whole / "shards").exists():
        raise InputError(f"output_dir: {whole}/shards is empty; remove it.")
    if shard is not None and stage == "assembly":
        raise InputError("--stage assembly joins all shards; leave --shard out.")
    if shard is not None and not shards and path_of(whole, "problems").exists():
        raise InputError(f"output_dir: {whole} already holds a collection in one piece; choose another folder.")
    if stage in _switched_off(settings):
        key = "injection" if stage == "injection" else "sampling"
        raise InputError(f"--stage: the recipe leaves {stage} out; set {key}.enabled: true, or choose another stage.")
    if stage in (None, "assembly"):
        check_assembly(settings, uploads=shard is None)
    with claim(folder):
        if shards and shard is None:
            _join(shards, whole, settings)
        else:
            if stage == "assembly":
                _demand_same_recipe(whole, settings)
            # A stage that is switched off must not leave its file of an earlier recipe to the others and to the card.
            drop_stages(folder, _switched_off(settings))
        if stage != "assembly":
            if shard is not None:
                drop_stages(folder, ["smoothing"])  # by an earlier start's last file a shard at work would be joined
            _write_recipe(folder, settings)
            with ExitStack() as stack:
                run = open_run(settings, folder, shard, stack)
                stack.enter_context(few_garbage_collections())
                uvloop.run(run_stages(run, [name for name in _stages_of(settings) if stage in (None, name)]))
        if shard is not None or stage not in (None, "assembly"):
            return folder / "stages"
        return write_data_set(settings, whole, [part.folder for part in shards] or [whole])


@contextmanager
def few_garbage_collections() -> Iterator[None]:
    """Have the collector look seldom, and only at what is made within: thousands of items in work are alive at any
    moment, and walking through them again and again would be a tenth of the processor's time."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(20_000, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def estimate(settings: CollectSettings) -> str:
    """The cost of what is left to do, as a table; nothing is sent and nothing is written."""
    folder = Path(settings.output_dir).expanduser()
    folders = [shard.folder for shard in shards_in(folder)] or [folder]
    problems = [line.record for line in question_lines(settings) if line.kept]
    if not problems:
        raise InputError("problems: no question is left to ask; all stand in the benchmarks of assembly.decontaminate.")
    frame = spent(settings, folders)
    graded = [part for part in folders if path_of(part, "grading").is_file() and settings.sampling.enabled]
    rate = failure_rate([line for part in graded for line in read_stage(part, "grading") if line.record])
    expected = estimates.estimate(settings, problems, frame.prompts, frame.taxonomy, frame.meter, rate)
    return f"{len(problems):,} questions\n" + estimates.as_text(expected, rate, settings.currency)


def status(settings: CollectSettings) -> str:
    """How far a collection is: items by stage, replies and cost by task. It may be running."""
    whole = Path(settings.output_dir).expanduser()
    folders = [shard.folder for shard in shards_in(whole)] or [whole]
    lines = []
    newest = 0.0
    for folder in folders:
        if len(folders) > 1:
            lines.append(f"shard {folder.name}")
        told, made = stage_states(folder)
        lines += told
        newest = max(newest, made)
    meter = spent(settings, folders).meter
    for task, usage in meter.usage.items():
        lines.append(
            f"{task:<18}{usage.replies:>9,} replies{usage.prompt_tokens:>14,} + {usage.completion_tokens:,} tokens"
            f"{usage.cost:>12,.2f} {settings.currency}"
        )
    data_set = whole / "dataset.jsonl"
    if not data_set.exists():
        lines.append("data set: not assembled yet")
    else:
        lines.append(f"data set: {data_set}" + (EARLIER if data_set.stat().st_mtime < newest else ""))
    return "\n".join(lines)


def _switched_off(settings: CollectSettings) -> list[str]:
    """The stages that a recipe leaves out. Smoothing is none of them: where it is off it passes on what comes."""
    student = [] if settings.sampling.enabled else ["sampling", "grading", "analysis"]
    return student + ([] if settings.injection.enabled else ["injection"])


def _stages_of(settings: CollectSettings) -> list[str]:
    """The stages of a recipe in order, up to assembly."""
    return [name for name in STAGES[:-1] if name not in _switched_off(settings)]


def _join(shards: list[Shard], whole: Path, settings: CollectSettings) -> None:
    """Make the stage files of the whole collection from those of its shards."""
    for shard in shards:
        for stage in _stages_of(settings):
            if not path_of(shard.folder, stage).is_file():
                raise Unfinished(
                    f"Shard {shard.number}/{shard.count} has not finished (no {stage} yet); wait for it, or start it "
                    f"again with --shard {shard.number}/{shard.count}, then join again."
                )
        _demand_same_recipe(shard.folder, settings, f"--shard {shard.number}/{shard.count}")
    merge_stages([shard.folder for shard in shards], whole, _stages_of(settings))
    drop_stages(whole, _switched_off(settings))
    _write_recipe(whole, settings)


def _demand_same_recipe(folder: Path, settings: CollectSettings, words: str = "no --stage") -> None:
    """Refuse to assemble what was last worked on with another recipe: the data card would tell of the wrong one.

    words: those of the command line that collect into this folder.
    """
    recipe, wanted = folder / "recipe.json", _comparable(asdict(settings))
    try:
        stored = _comparable(json.loads(recipe.read_text(encoding="utf-8")))
        keys = _different(stored, wanted)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{recipe} is missing or damaged; collect again, with {words}.") from error
    if keys:
        raise InputError(
            f"{folder} was collected with another recipe ({', '.join(keys)}); give the recipe that {recipe} tells, or "
            f"collect with this one first, with {words}, which asks (and pays) for what has changed."
        )


def _different(stored: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Keys whose values differ, those of blocks as BLOCK.KEY; one that another version lacks does not count."""
    keys = []
    for key in stored.keys() & wanted.keys():
        if isinstance(stored[key], dict) and isinstance(wanted[key], dict):
            within = stored[key].keys() & wanted[key].keys()
            keys += [f"{key}.{name}" for name in within if stored[key][name] != wanted[key][name]]
        elif stored[key] != wanted[key]:
            keys.append(key)
    return sorted(keys)


def _comparable(values: dict[str, Any]) -> dict[str, Any]:
    """The keys that decide what is collected; addresses, limits and the assembly may differ between shards."""
    free = {"base_urls", "api_key_env", "concurrency", "requests_per_minute", "tokens_per_minute", "timeout_seconds"}
    free |= {"max_tries", "outage_minutes", "prices", "batch_size", "device"}
    outer = {key: value for key, value in values.items() if key not in ("output_dir", "assembly", "budget", "currency")}
    for role in ("student", "teacher"):
        outer[role] = {key: value for key, value in outer[role].items() if key not in free}
        outer[role]["engine_args"] = reply_arguments(outer[role].get("engine_args", {}))
    return json.loads(json.dumps(outer))


def _write_recipe(folder: Path, settings: CollectSettings) -> None:
    with whole_file(folder / "recipe.json") as out:
        out.write(json.dumps(asdict(settings), indent=2, sort_keys=True).encode() + b"\n")
