"""The steps of a run, in their order: what each does, what it depends on, and which files prove it.

Enters: `RunSettings`. Leaves: steps whose work is a command of this package, or a short piece of this process. Nothing
is started here.
"""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lemma_train.ablation.cells import Cell, Run
from lemma_train.collection.recipe import load_collect_recipe
from lemma_train.errors import InputError
from lemma_train.evaluation.recipe import load_evaluate_recipe
from lemma_train.evaluation.run import choose
from lemma_train.evaluation.scorecard import SCORECARD_VERSION
from lemma_train.grading.grader import GRADER_VERSION
from lemma_train.llm.offline.engine import VERSION
from lemma_train.loop import control
from lemma_train.loop.settings import RunSettings
from lemma_train.problems import load_problems
from lemma_train.recipe_file import read_yaml
from lemma_train.template import Renderer
from lemma_train.training.compatibility import check_recipe
from lemma_train.training.recipe import Recipe, recipe_of
from lemma_train.training.tokenizer import load_tokenizer

METHOD, CONTROL, BASE = "lemma", "control", "base"


@dataclass(frozen=True)
class Step:
    """One step.

    name: also of its log. proof: the files that it leaves. depends_on: values, and texts that name files.
    command: what is run in a process of its own; or training, a run of `sft.py`; or here, a piece of this process.
    """

    name: str
    proof: tuple[Path, ...]
    depends_on: Any
    command: list[str] = field(default_factory=list)
    training: Run | None = None
    here: Callable[[], None] | None = None


class Plan:
    """The recipes of a run, read and checked together.

    Raises:
        InputError: a recipe is at fault, or they do not go together.
    """

    def __init__(self, settings: RunSettings):
        self.settings = settings
        self.folder = Path(settings.output_dir).expanduser()
        self.collection = None
        if settings.collect is not None:
            self.collection = load_collect_recipe(settings.collect, self._collect_overrides())
        self.training = {**read_yaml(Path(settings.train)), **settings.overrides.train}
        self.training.pop("evaluate_after", None)
        seed = settings.seeds[0] if settings.seeds else self.training.get("seed", 42)
        recipe = self.recipe_of(self._training_run(METHOD, seed))
        self.seeds: list[int] = settings.seeds or [recipe["seed"]]  # as read: a file may say 7.0 or "7"
        if settings.accelerate_config is None:
            check_recipe(recipe, {})
        self.base = str(recipe["model_name_or_path"])
        self.evaluation = evaluation = load_evaluate_recipe(
            settings.evaluate, self._evaluate_overrides(BASE, self.base)
        )
        if evaluation.model.engine == "openai":
            raise InputError(
                f"evaluate: {settings.evaluate} asks a server, where the models of this run are not; set "
                "overrides.evaluate to {model.engine: transformers} or vllm."
            )
        if evaluation.model.template != recipe["template"]:
            raise InputError(
                f"evaluate: {settings.evaluate} prompts with the template {evaluation.model.template!r}, "
                f"{settings.train} trains with {recipe['template']!r}; make them the same."
            )

    @property
    def models(self) -> list[str]:
        """Names of the trained models, a folder each."""
        kinds = [METHOD] if self.settings.control == "none" else [METHOD, CONTROL]
        return [f"{kind}_seed-{seed}" for seed in self.seeds for kind in kinds]

    def check_evaluation(self) -> None:
        """Refuse an evaluation that could not be run once the trainings are done: this reads or fetches its questions.

        Raises:
            InputError: a benchmark is at fault, or vLLM is not where the evaluations run.
        """
        try:
            chosen = choose(self.evaluation)
        except InputError as error:
            raise InputError(f"evaluate: {self.settings.evaluate}: {error}") from error
        self._demand_unseen([question.id for one in chosen for question in one.questions])
        python = self.settings.evaluate_python or sys.executable
        if not Path(python).is_file():
            raise InputError(f"evaluate_python: the file {python} does not exist.")
        if self.evaluation.model.engine == "vllm" and not _has_vllm(python):
            raise InputError(
                f"evaluate: {self.settings.evaluate} needs vLLM, which {python} does not have; name the Python of its "
                "environment in evaluate_python, or set overrides.evaluate to {model.engine: transformers}."
            )

    def _demand_unseen(self, asked: list[str]) -> None:
        """Generated questions of the test must not be those of the collection: two keys say which each draws."""
        if self.collection is None:
            return
        entries = self.collection.problems
        generated = [one for one in entries if isinstance(one, dict) and one.get("source") == "generated"]
        seen = {one.id for one in load_problems(generated, self.collection.seed).problems} if generated else set()
        if both := [name for name in asked if name in seen]:
            raise InputError(
                f"evaluate: {len(both)} of {len(asked)} questions are trained on, such as {both[0]}; give the "
                "benchmark's avoid the size and the seed of the collection's problems."
            )

    def evaluation_folder(self, model: str) -> Path:
        return self.folder / "evaluate" / model

    def recipe_of(self, run: Run) -> Recipe:
        return recipe_of(Path(self.settings.train), run.recipe)

    def steps(self, report: Callable[[], None]) -> list[Step]:
        """All steps in the order in which they are done.

        Args:
            report: writes the last step's files.
        """
        found = []
        if self.collection is not None:
            told = {**dataclasses.asdict(self.collection), "grader_version": GRADER_VERSION}
            if "offline" in (self.collection.teacher.engine, self.collection.student.engine):
                told["offline_version"] = VERSION
            command = _lemma("collect", str(self.settings.collect), *self._collect_overrides())
            found.append(Step("collect", (self.folder / "collect" / "dataset.jsonl",), told, command))
        if self.settings.control != "none":
            proof = tuple(self.folder / "control" / name for name in (control.ROWS_FILE, control.SIZE_FILE))
            how = [self.training.get(key) for key in ("template", "error_span_weight", "max_length")]
            depends_on = [str(self.folder / "collect" / "dataset.jsonl"), self.base, *how]
            found.append(Step("control", proof, depends_on, here=self._write_control))
        found.append(self._evaluation(BASE, self.base))
        for model in self.models:
            kind, _, seed = model.rpartition("_seed-")
            run = self._training_run(kind, int(seed))
            record = run.folder / "final" / "run.json"
            found.append(Step(f"train-{model}", (record,), dict(run.recipe), training=run))
            found.append(self._evaluation(model, str(run.folder / "final")))
        pages = [str(self.evaluation_folder(model) / "results.json") for model in (BASE, *self.models)]
        proof = tuple(self.folder / name for name in ("report.html", "summary.json", "summary.md"))
        found.append(Step("report", proof, pages, here=report))
        return found

    def _training_run(self, kind: str, seed: int) -> Run:
        folder = self.folder / "train" / f"{kind}_seed-{seed}"
        recipe = {**self.training, "seed": seed, "output_dir": str(folder)}
        if self.settings.collect is not None:
            recipe["train_files"] = str(self.folder / "collect" / "dataset.jsonl")
        if kind == CONTROL:
            recipe["train_files"] = [
                {"path": str(self.folder / "control" / control.ROWS_FILE), "weight": self._weight()}
            ]
        return Run(folder.name, Cell(kind, {}, {}), seed, folder, recipe)

    def _weight(self) -> float:
        """How often the control's rows are taken, once that is known."""
        folder = self.folder / "control"
        return control.read_weight(folder) if (folder / control.SIZE_FILE).exists() else 1.0

    def _write_control(self) -> None:
        recipe = self.recipe_of(self._training_run(METHOD, self.seeds[0]))
        renderer = Renderer(load_tokenizer(recipe), recipe["template"])
        folders = self.folder / "collect", self.folder / "control"
        control.write_control(*folders, renderer, recipe["error_span_weight"], recipe["max_length"])

    def _evaluation(self, name: str, model: str) -> Step:
        overrides = self._evaluate_overrides(name, model)
        told = dataclasses.asdict(load_evaluate_recipe(self.settings.evaluate, overrides))
        # Verdicts of other ones would be compared with these.
        told |= {"grader_version": GRADER_VERSION, "scorecard_version": SCORECARD_VERSION}
        command = _lemma("evaluate", self.settings.evaluate, *overrides, python=self.settings.evaluate_python)
        proof = tuple(self.evaluation_folder(name) / file for file in ("results.json", "samples.jsonl"))
        return Step(f"evaluate-{name}", proof, told, command)

    def _collect_overrides(self) -> list[str]:
        return _as_words({**self.settings.overrides.collect, "output_dir": str(self.folder / "collect")})

    def _evaluate_overrides(self, name: str, model: str) -> list[str]:
        told: dict[str, Any] = {"model.model": model}
        told |= {"output_dir": str(self.evaluation_folder(name)), "name": name.replace("_", " ")}
        told["model.adapter"] = None  # the base is measured without one, and a trained model has its own
        return _as_words({**self.settings.overrides.evaluate, **told})


def _lemma(*words: str, python: str | None = None) -> list[str]:
    return [python or sys.executable, "-m", "lemma_train.cli", *words]


def _has_vllm(python: str) -> bool:
    asked = "import importlib.util, sys; sys.exit(importlib.util.find_spec('vllm') is None)"
    try:
        return subprocess.run([python, "-c", asked], check=False).returncode == 0
    except OSError:  # a file that is no program
        return False


def _as_words(keys: Mapping[str, Any]) -> list[str]:
    """Keys as `--key=value` words; a value is written as JSON, which YAML reads: a text "7" stays a text."""
    return [f"--{key}={json.dumps(value, ensure_ascii=False, default=str)}" for key, value in keys.items()]
