"""The evaluations that a training recipe names are run on the finished model, and stand in its card.

Enters: a checked recipe, and later its finished `final` folder. Leaves: `<output_dir>/evaluation/<name>` of each, and
figures in `final/README.md`. The evaluation runs in a process of its own, when the training has let go of its memory;
what is at fault in its recipe is found before the first step.
"""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lemma_train.child_process import child_environment
from lemma_train.errors import InputError, Stopped
from lemma_train.template import Renderer
from lemma_train.training import launcher
from lemma_train.training.recipe import Recipe

if TYPE_CHECKING:
    from lemma_train.evaluation.settings import EvaluateSettings

FOLDER = "evaluation"


def check_evaluations(recipe: Recipe, renderer: Renderer) -> None:
    """Refuse evaluations that could not be run when the training is done.

    Raises:
        InputError: a recipe, a benchmark's file or a prompt is at fault, or the model would have to be served.
    """
    for path, settings in evaluations_of(recipe).items():
        from lemma_train.evaluation.run import choose

        if settings.model.engine == "vllm" and importlib.util.find_spec("vllm") is None:
            raise InputError(f"evaluate_after: {path} needs vLLM in this environment; use model.engine: transformers.")
        evaluated = Renderer(renderer.tokenizer, settings.model.template)
        if evaluated.fingerprint != renderer.fingerprint and settings.other_template == "refuse":
            raise InputError(
                f"evaluate_after: {path} prompts with the template {settings.model.template!r}, this run trains with "
                f"{recipe['template']!r}; set its model.template to that, or other_template: allow."
            )
        try:
            choose(settings)
        except InputError as error:
            raise InputError(f"evaluate_after: {path}: {error}") from error


def evaluations_of(recipe: Recipe) -> dict[str, "EvaluateSettings"]:
    """The recipe's evaluations by their path, read and no more: whether they fit the model is for `check_evaluations`.

    Raises:
        InputError: a recipe is at fault, two have one name, or one asks a server.
    """
    names = [Path(path).stem for path in _recipes(recipe)]
    if twice := {name for name in names if names.count(name) > 1}:
        raise InputError(f"evaluate_after: two recipes are called {', '.join(sorted(twice))}; rename one of them.")
    found = {path: _load(recipe, path) for path in _recipes(recipe)}
    for path, settings in found.items():
        if settings.model.engine not in ("transformers", "vllm"):
            raise InputError(
                f"evaluate_after: {path} asks a server, where the model of this run is not; use model.engine: "
                "transformers, or evaluate it when it is served."
            )
    return found


def evaluate_final(recipe: Recipe) -> None:
    """Run the recipe's evaluations on its finished model and write their figures into its card; rank 0 calls this.

    Raises:
        InputError: an evaluation refuses something. Stopped: one ended early. The model stays as it is, and the same
            command tries again.
    """
    from lemma_train.training.card_results import with_evaluations

    results, own = {}, os.getpid()
    for path in _recipes(recipe):
        folder = recipe.output_dir / FOLDER / Path(path).stem
        command = [sys.executable, "-m", "lemma_train.cli", "evaluate", path, *_overrides(recipe, path)]
        ended = subprocess.run(command, env=child_environment(), preexec_fn=lambda: launcher.end_with(own))
        status = ended.returncode
        if status:
            failure = InputError if status == 2 else Stopped
            raise failure(
                f"evaluate_after: {path} ended with status {status}; see above. The model in {recipe.output_dir}/final "
                "is whole, and the same command tries the evaluation again."
            )
        results[Path(path).stem] = _read(folder / "results.json")
    if results:
        with_evaluations(recipe.output_dir / "final" / "README.md", results)


def _recipes(recipe: Recipe) -> list[str]:
    named = recipe["evaluate_after"]
    return [named] if isinstance(named, str) else list(named)


def _overrides(recipe: Recipe, path: str) -> list[str]:
    told = {
        "model.model": str(recipe.output_dir / "final"),
        "model.adapter": "null",
        "model.tokenizer": "null",
        "output_dir": str(recipe.output_dir / FOLDER / Path(path).stem),
    }
    return [f"--{key}={value}" for key, value in told.items()]


def _load(recipe: Recipe, path: str) -> "EvaluateSettings":
    from lemma_train.evaluation.recipe import load_evaluate_recipe

    try:
        return load_evaluate_recipe(path, _overrides(recipe, path))
    except InputError as error:
        raise InputError(f"evaluate_after: {error}") from error


def _read(file: Path) -> Mapping[str, Any]:
    return json.loads(file.read_text(encoding="utf-8"))
