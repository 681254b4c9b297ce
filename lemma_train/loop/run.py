"""`lemma run`: the steps of a run one after the other; a step whose inputs have not changed is skipped.

Enters: a run recipe. Leaves: a folder for each step, `steps/NAME.json` (what a step depended on when it began, and the
seconds that it took, null until it is done), `steps/NAME.log`, and the report. Every step's command goes on where it
stopped, so a run that is killed anywhere ends in the same report when it is started again.
"""

import itertools
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lemma_train.ablation.training_run import carry_out
from lemma_train.child_process import Children, how_it_ended
from lemma_train.errors import InputError, Stopped
from lemma_train.loop.fingerprint import fingerprint
from lemma_train.loop.settings import load_run_recipe
from lemma_train.loop.steps import Plan, Step
from lemma_train.loop.summary import write_summary
from lemma_train.training.lock import claim
from lemma_train.whole_file import whole_file, write_faults_named

Say = Callable[[str], None]


class WholeRun:
    """One run: its recipe, and how each step stands.

    Raises:
        InputError: a recipe is at fault.

    Example:
        >>> WholeRun("recipes/run/smollm2_demo.yaml", [], print).do_all()                 # doctest: +SKIP
    """

    def __init__(self, recipe: str | Path, overrides: Sequence[str], say: Say):
        self.settings = load_run_recipe(recipe, overrides)
        self.plan, self.say = Plan(self.settings), say
        self.folder = self.plan.folder

    def state_lines(self) -> list[str]:
        """One line for each step: done, or not; what a step depends on may still change while earlier ones are not."""
        return [f"{'done' if self._is_done(step) else 'to do':6}  {step.name}" for step in self._steps()]

    def do_all(self) -> Path:
        """Do every step that is not done; returns the report's path.

        Raises:
            InputError, StepFailed: a step failed; its log and the reason are named. Stopped: a signal asked for it.
        """
        return self._do([step.name for step in self._steps()])

    def do(self, name: str) -> Path:
        """Do one step, whose earlier steps must be done."""
        names = [step.name for step in self._steps()]
        if name not in names:
            raise InputError(f"--step {name}: the steps are {', '.join(names)}.")
        for earlier in self._steps()[: names.index(name)]:
            if not self._is_done(earlier):
                raise InputError(f"--step {name}: the step {earlier.name} comes first and is not done.")
        return self._do([name])

    def _do(self, names: Sequence[str]) -> Path:
        children = Children()
        if not all(self._is_done(step) for step in self._steps() if step.name.startswith("evaluate-")):
            self.plan.check_evaluation()  # before a collection is paid for
        with claim(self.folder), children.listening():
            with write_faults_named(self.folder / "steps"):
                (self.folder / "steps").mkdir(exist_ok=True)
            for place, name in enumerate(names, start=1):
                # Made anew each time: what a step depends on may come from the one before it.
                (step,) = [step for step in self._steps() if step.name == name]
                count = f"[{place}/{len(names)}] {name}"
                if self._is_done(step):
                    self.say(f"{count}: nothing has changed since it was done")
                    continue
                before = fingerprint(step.depends_on)
                self._set_aside(step, before)
                self._note(step, before, None)
                where = "" if step.here else f"; tail -f {self._log(step)}"
                self.say(f"{count}: begins{where}")
                began = time.monotonic()
                self._work(step, children)
                seconds = time.monotonic() - began
                self._note(step, before, round(seconds, 1))
                self.say(f"{count}: done in {seconds:.0f} s")
        return self.folder / "report.html"

    def _work(self, step: Step, children: Children) -> None:
        if step.here is not None:
            step.here()
            if children.told is not None:
                raise Stopped(f"stopped by {children.told.name} after the step {step.name}; start it again to go on.")
            return
        if step.training is not None:
            ending = carry_out(step.training, self.settings.accelerate_config, children)
            if ending.state != "done":
                failure = InputError if ending.status == 2 else StepFailed
                raise failure(f"the step {step.name} failed: {ending.message} (log: {self._log(step)})")
            return
        with write_faults_named(self._log(step)):
            status = children.run(step.command, self._log(step))
        if children.told is not None and status:
            raise Stopped(f"the step {step.name} was stopped by {children.told.name}; start it again to go on.")
        if status:
            failure = InputError if status == 2 else StepFailed
            raise failure(
                f"the step {step.name} failed: {how_it_ended(status, self._log(step))} (log: {self._log(step)})"
            )

    def _steps(self) -> list[Step]:
        return self.plan.steps(lambda: write_summary(self.plan))

    def _is_done(self, step: Step) -> bool:
        told = self._noted(step)
        if told.get("seconds") is None or not all(file.is_file() for file in step.proof):
            return False
        return told.get("depends_on") == fingerprint(step.depends_on)

    def _set_aside(self, step: Step, inputs: str) -> None:
        """A model that was trained on other inputs, or half trained, makes room: its trainer would refuse to go on."""
        if step.training is None or not step.training.folder.exists():
            return
        if self._noted(step).get("depends_on", inputs) == inputs:
            return
        place, name = self.folder / "earlier", step.training.folder.name
        target = next(path for n in itertools.count(1) if not (path := place / f"{name}-{n}").exists())
        with write_faults_named(target):
            place.mkdir(exist_ok=True)
            step.training.folder.rename(target)
        self.say(f"{step.name}: its inputs have changed; what it made before is in {target}")

    def _note(self, step: Step, inputs: str, seconds: float | None) -> None:
        with whole_file(self._state(step)) as out:
            out.write(json.dumps({"depends_on": inputs, "seconds": seconds}).encode())

    def _noted(self, step: Step) -> dict[str, Any]:
        """What `_note` wrote; nothing where the file is missing or damaged."""
        try:
            told = json.loads(self._state(step).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return told if isinstance(told, dict) else {}

    def _state(self, step: Step) -> Path:
        return self.folder / "steps" / f"{step.name}.json"

    def _log(self, step: Step) -> Path:
        if step.training is not None:
            return step.training.folder / "train.log"
        return self.folder / "steps" / f"{step.name}.log"


class StepFailed(Exception):
    """A step ended in a failure that is not the fault of the user's input."""
