"""An ablation, top to bottom: every run is looked at, trained and evaluated, and the table is written after each.

Enters: an ablation recipe. Leaves: the folders of its runs and the results over them. Runs go one after the other; an
array of SLURM jobs does each in a job of its own (`only`) and gathers the table at the end (`gather`).
"""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from lemma_train.ablation import figures, results
from lemma_train.ablation.cells import Run, cells_of, runs_of
from lemma_train.ablation.settings import AblateSettings, load_ablate_recipe
from lemma_train.ablation.training_run import RECIPE_FILE, Ending, carry_out, ending_of
from lemma_train.child_process import Children
from lemma_train.errors import InputError
from lemma_train.recipe_file import read_yaml
from lemma_train.training import launcher

Say = Callable[[str], None]


class Ablation:
    """One ablation: its recipe, its runs, and how each stands.

    Raises:
        InputError: the recipe is at fault, or no run of it could be started: the faults of the first are told.

    Example:
        >>> ablation = Ablation("recipes/ablations/lora_rank_smollm2.yaml", [], print)     # doctest: +SKIP
        >>> ablation.train_all()                                                         # doctest: +SKIP
    """

    def __init__(self, recipe: str | Path, overrides: Sequence[str], say: Say):
        self.recipe, self.say = Path(recipe), say
        self.settings: AblateSettings = load_ablate_recipe(recipe, overrides)
        self.folder = Path(self.settings.output_dir).expanduser()
        self.cells = cells_of(self.settings)
        self.runs = runs_of(self.settings, read_yaml(Path(self.settings.recipe)))
        self.faults = {run.name: fault for run in self.runs if (fault := self._fault(run))}
        if len(self.faults) == len(self.runs):
            raise InputError(
                f"{self.recipe}: no run of it can be trained; of {self.runs[0].name}: {self._first_fault()}"
            )

    def state_lines(self) -> list[str]:
        """One line for each run: number, state, name; the numbers are those of `only`."""
        endings = self._endings()
        return [f"{n:4}  {endings[run.name].state:9}  {run.name}" for n, run in enumerate(self.runs)]

    def train_all(self) -> bool:
        """Train and evaluate what is not done; True when every run is done.

        Raises:
            Stopped: a signal asked for it.
            InputError: the results cannot be written, or no run has the figure that decides.
        """
        return self._train(self.runs)

    def only(self, number: int) -> bool:
        """Train and evaluate one run, and write no table; True when it is done."""
        if not 0 <= number < len(self.runs):
            raise InputError(
                f"--only {number}: the runs are numbered from 0 to {len(self.runs) - 1}; --list shows them."
            )
        return self._train([self.runs[number]], gather=False)

    def is_complete(self) -> bool:
        """Whether every run is done."""
        return all(ending.state == "done" for ending in self._endings().values())

    def gather(self) -> str:
        """Write the table, the plot and the best recipe of what is done; returns the table."""
        endings = self._endings()
        told = figures.summarise(self.runs, endings, self.settings.measure, self.settings.baseline)
        self.folder.mkdir(parents=True, exist_ok=True)
        return results.write_results(self.folder, self.recipe, told, self.runs)

    def _train(self, chosen: Sequence[Run], gather: bool = True) -> bool:
        endings = self._endings()
        for name, fault in self.faults.items():
            self.say(f"{name} cannot be trained: {fault}")
        waiting = [
            run for run in chosen if endings[run.name].state in ("missing", "failed") and run.name not in self.faults
        ]
        self.say(f"{len(chosen) - len(waiting)} of {len(chosen)} runs need no training; {len(waiting)} to train.")
        children, spent = Children(), []
        with children.listening():
            for place, run in enumerate(waiting, start=1):
                self.say(f"[{place}/{len(waiting)}] {run.name}: trains; tail -f {run.folder}/train.log")
                began = time.monotonic()
                ending = carry_out(run, self.settings.accelerate_config, children)
                spent.append(time.monotonic() - began)
                left = (len(waiting) - place) * sum(spent) / len(spent)
                told = "done" if ending.state == "done" else f"FAILED: {ending.message}"
                self.say(f"[{place}/{len(waiting)}] {run.name}: {told} ({_span(spent[-1])}; about {_span(left)} left)")
                if gather:
                    self.gather()
        if gather:
            self.gather()
        endings = self._endings()
        return all(endings[run.name].state == "done" for run in chosen)

    def _endings(self) -> dict[str, Ending]:
        found = {run.name: ending_of(run) for run in self.runs}
        return found | {name: Ending("failed", fault) for name, fault in self.faults.items()}

    def _fault(self, run: Run) -> str | None:
        """What would keep a run's recipe from being trained, as far as it shows before a model is loaded."""
        from lemma_train.training.compatibility import check_recipe
        from lemma_train.training.recipe import recipe_of

        try:
            recipe = recipe_of(run.folder / RECIPE_FILE, run.recipe)
            if self.settings.accelerate_config is None:  # a launcher changes what goes together; sft.py checks it then
                check_recipe(recipe, launcher.without_launcher(os.environ))
        except InputError as error:
            return " ".join(str(error).split())
        return None

    def _first_fault(self) -> str:
        return next(iter(self.faults.values()))


def _span(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"
