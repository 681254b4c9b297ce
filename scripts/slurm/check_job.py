"""What a batch job checks before it works: the recipe, and that model, data and disk space are there.

    python scripts/slurm/check_job.py train|prepare|collect|evaluate|ablate|run RECIPE [--key value ...]

Enters: a recipe and its overrides, as the job has them. Leaves: `output_dir=...` on standard output (and `runs=...`,
how many runs an ablation has, or `steps=...` and `evaluate_gpus=...`, the steps of a run and the GPUs that each of its
evaluations takes); or exit status 2 and one sentence. It loads no model and asks no network: without internet a job
would find out after minutes, on GPUs.
"""

import json
import math
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lemma_train.errors import InputError, user_errors_exit_with_2
from lemma_train.model_names import missing_folder

GIB = 1 << 30
# Bytes a parameter that DeepSpeed writes for full fine-tuning: fp32 weights, Adam's two moments, and bf16 weights.
_CHECKPOINT_BYTES = 14
_OFFLINE = os.environ.get("HF_HUB_OFFLINE", "0").lower() in ("1", "true", "yes", "on")


def main(arguments: list[str]) -> None:
    """Check one job; prints its output folder.

    Raises:
        InputError: the first thing that would stop the job.
    """
    kind, *rest = arguments
    if kind in ("ablate", "run"):
        return _ablate(rest) if kind == "ablate" else _run(rest)
    output_dir, needed = {"train": _train, "prepare": _train, "collect": _collect, "evaluate": _evaluate}[kind](rest)
    if kind == "prepare":
        needed = GIB
    if override := os.environ.get("LEMMA_MIN_FREE_GIB"):
        needed = int(float(override) * GIB)
    check_disk(output_dir, needed)
    print(f"output_dir={output_dir}")


def _train(arguments: list[str]) -> tuple[Path, int]:
    from lemma_train.training.compatibility import check_recipe
    from lemma_train.training.recipe import load_recipe
    from lemma_train.training.sources import read_sources

    recipe = load_recipe(arguments[0], arguments[1:])
    check_recipe(recipe, os.environ)
    weights = check_model(recipe["model_name_or_path"], "model_name_or_path", recipe["model_revision"])
    if not (recipe.output_dir / "prepared").is_dir():
        for key in ("train_files", "eval_files"):
            for source in read_sources(recipe[key], key):
                if not source.is_local:
                    _check_data(source.path, key)
    if recipe["use_peft"]:
        return recipe.output_dir, GIB
    # Files are bf16 as a rule: two bytes a parameter. `save_total_limit` complete checkpoints and one being written.
    checkpoint = weights // 2 * _CHECKPOINT_BYTES
    keep = (recipe["save_total_limit"] or 1) + 1 if recipe["save_strategy"] != "no" else 1
    held = sum(p.stat().st_size for p in recipe.output_dir.glob("checkpoint-*/**/*") if p.is_file())
    return recipe.output_dir, max(GIB, keep * checkpoint - held) + weights


def _collect(arguments: list[str]) -> tuple[Path, int]:
    from lemma_train.collection.recipe import load_collect_recipe

    settings = load_collect_recipe(arguments[0], arguments[1:])
    for role in ("student", "teacher"):
        model = getattr(settings, role)
        if model.engine in ("transformers", "vllm"):
            check_model(model.model, f"{role}.model")
    return Path(settings.output_dir).expanduser(), GIB


def _evaluate(arguments: list[str]) -> tuple[Path, int]:
    from lemma_train.evaluation.recipe import load_evaluate_recipe

    settings = load_evaluate_recipe(arguments[0], arguments[1:])
    if settings.model.engine in ("transformers", "vllm"):
        check_model(settings.model.model, "model.model")
    _check_benchmarks(settings.benchmarks)
    return Path(settings.output_dir).expanduser(), GIB


def _ablate(arguments: list[str]) -> None:
    from lemma_train.ablation.ablate import Ablation

    ablation = Ablation(arguments[0], arguments[1:], say=lambda line: print(line, file=sys.stderr))
    for model in {str(run.recipe["model_name_or_path"]) for run in ablation.runs}:
        check_model(model, "model_name_or_path")
    check_disk(ablation.folder, GIB)
    print(f"output_dir={ablation.folder}\nruns={len(ablation.runs)}")


def _run(arguments: list[str]) -> None:
    from lemma_train.loop.run import WholeRun

    run = WholeRun(arguments[0], arguments[1:], say=print)
    check_model(run.plan.base, "model_name_or_path")
    _check_benchmarks(run.plan.evaluation.benchmarks)
    check_disk(run.folder, GIB)
    print(f"output_dir={run.folder}\nsteps={' '.join(line.split()[-1] for line in run.state_lines())}")
    # vLLM's own words for the GPUs that one model takes; transformers loads it on one.
    engine_args = run.plan.evaluation.model.engine_args
    sizes = [engine_args.get(f"{kind}_parallel_size", 1) for kind in ("tensor", "pipeline", "data")]
    print(f"evaluate_gpus={math.prod(size for size in sizes if isinstance(size, int))}")


def check_model(name: str, key: str, revision: str | None = None) -> int:
    """Bytes of a model's weights; 0 where they are not on this disk and may be fetched.

    Raises:
        InputError: the folder is missing or incomplete, or the model is not in the cache and HF_HUB_OFFLINE=1.

    Example:
        >>> check_model("models/smollm2-135m", "model_name_or_path")   # doctest: +SKIP
        538090408
    """
    if missing := missing_folder(name):
        raise InputError(f"{key}: on {os.uname().nodename} {missing}")
    folder = Path(name).expanduser()
    if not folder.is_dir():
        cached = _cached(name, revision)
        if cached is None and _OFFLINE:
            raise InputError(
                f"{key}: {name} is neither a folder on {os.uname().nodename} nor in the cache, and HF_HUB_OFFLINE=1; "
                f"fetch it on a login node: hf download {name}"
            )
        if cached is None:
            return 0
        folder = cached
    for file in ("config.json", "adapter_config.json"):
        if (folder / file).is_file():
            break
    else:
        raise InputError(f"{key}: {folder} holds no config.json; it is no model folder.")
    names = [path.name for path in folder.iterdir() if path.suffix in (".safetensors", ".bin", ".gguf")]
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        names = sorted(set(_read(index)["weight_map"].values()))
    missing = [file for file in names if not (folder / file).exists()]
    if missing or not names:
        lacking = f"{missing[0]} and {len(missing) - 1} more files" if len(missing) > 1 else (missing or ["weights"])[0]
        raise InputError(f"{key}: {folder} lacks {lacking}; fetch the model again on a node with internet.")
    return sum((folder / file).stat().st_size for file in names)


def _cached(name: str, revision: str | None) -> Path | None:
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    for file in ("config.json", "adapter_config.json"):
        try:
            found = try_to_load_from_cache(name, file, revision=revision)
        except HFValidationError:  # a path, and not the name of a model
            return None
        if isinstance(found, str):
            return Path(found).parent
    return None


def _check_data(name: str, key: str, command: str = "lemma prepare with this recipe") -> None:
    if not _OFFLINE and os.environ.get("HF_DATASETS_OFFLINE", "0") != "1":
        return
    import datasets.config
    from datasets.naming import camelcase_to_snakecase

    # Offline `datasets` reads its own tables alone: a set that `hf download` fetched does not count.
    owner, _, own = name.rpartition("/")
    folder = f"{owner}___{camelcase_to_snakecase(own)}" if owner else camelcase_to_snakecase(own)
    if not (Path(datasets.config.HF_DATASETS_CACHE) / folder).is_dir():
        raise InputError(
            f"{key}: the data set {name} is not in the cache of datasets, and HF_HUB_OFFLINE=1; on a login node run "
            f"{command}, which fetches it."
        )


def _check_benchmarks(entries: Sequence[str | Mapping[str, Any]]) -> None:
    from lemma_train.evaluation.benchmarks import BENCHMARKS

    for entry in entries:
        values = {"name": entry} if isinstance(entry, str) else entry
        benchmark = BENCHMARKS.get(str(values.get("name")))
        if benchmark is not None and benchmark.hub is not None and not (values.get("path") or values.get("source")):
            _check_data(benchmark.hub, "benchmarks", "lemma evaluate with it")


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error


def check_disk(output_dir: Path, needed: int) -> None:
    """Ask for `needed` free bytes where the output will lie.

    Raises:
        InputError: there are fewer, or the folder cannot be made or named on one line.
    """
    if not str(output_dir).isprintable():
        raise InputError(f"output_dir: {str(output_dir)!r} does not stand on one line, as the batch scripts need it.")
    place = output_dir.absolute()
    while not place.exists():
        place = place.parent
    if not (place.is_dir() and os.access(place, os.W_OK)):
        raise InputError(f"output_dir: {place} is no folder that can be written on {os.uname().nodename}.")
    free = shutil.disk_usage(place).free
    if free < needed:
        raise InputError(
            f"output_dir: {free / GIB:.1f} GiB are free at {place}, and the job may write {needed / GIB:.1f}; free "
            "some, choose another output_dir, or set LEMMA_MIN_FREE_GIB."
        )


if __name__ == "__main__":
    with user_errors_exit_with_2("check_job.py"):
        main(sys.argv[1:])
