"""`lemma run`: the steps of a run one after the other; a step whose inputs have not changed is skipped.

Enters: a run recipe. Leaves: a folder for each step, `steps/NAME.json` (what a finished step depended on),
`steps/NAME.log`, and the report. Every step's command goes on where it stopped, so a run that is killed anywhere ends
in the same report when it is started again.
"""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from lemma_train.ablation.training_run import carry_out
from lemma_train.child_process import Children, last_line
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
        with claim(self.folder), children.listening():
            (self.folder / "steps").mkdir(exist_ok=True)
            for place, name in enumerate(names, start=1):
                # Made anew each time: what a step depends on may come from the one before it.
                (step,) = [step for step in self._steps() if step.name == name]
                count = f"[{place}/{len(names)}] {name}"
                if self._is_done(step):
                    self.say(f"{count}: nothing has changed since it was done")
                    continue
                self._set_aside(step)
                where = "" if step.here else f"; tail -f {self._log(step)}"
                self.say(f"{count}: begins{where}")
                began = time.monotonic()
                before = fingerprint(step.depends_on)
                self._work(step, children)
                seconds = time.monotonic() - began
                with whole_file(self._state(step)) as out:
                    out.write(json.dumps({"depends_on": before, "seconds": round(seconds, 1)}).encode())
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
                raise StepFailed(f"the step {step.name} failed: {ending.message} (log: {self._log(step)})")
            return
        with write_faults_named(self._log(step)):
            status = children.run(step.command, self._log(step))
        if children.told is not None and status:
            raise Stopped(f"the step {step.name} was stopped by {children.told.name}; start it again to go on.")
        if status:
            failure = InputError if status == 2 else StepFailed
            raise failure(f"the step {step.name} failed: {last_line(self._log(step))} (log: {self._log(step)})")

    def _steps(self) -> list[Step]:
        return self.plan.steps(lambda: write_summary(self.plan))

    def _is_done(self, step: Step) -> bool:
        try:
            told = json.loads(self._state(step).read_text(encoding="utf-8"))["depends_on"]
        except (OSError, ValueError, KeyError, TypeError):
            return False
        return step.proof.is_file() and told == fingerprint(step.depends_on)

    def _set_aside(self, step: Step) -> None:
        """A model that was trained on other inputs makes room: its trainer would refuse to go on with it."""
        if step.training is None or not self._state(step).is_file():
            return
        with write_faults_named(self.folder):
            place = self.folder / "earlier"
            place.mkdir(exist_ok=True)
            number = 1 + sum(1 for _ in place.iterdir())
            if step.training.folder.exists():
                target = place / f"{step.training.folder.name}-{number}"
                step.training.folder.rename(target)
                self.say(f"{step.name}: its inputs have changed; what it made before is in {target}")
            self._state(step).unlink()

    def _state(self, step: Step) -> Path:
        return self.folder / "steps" / f"{step.name}.json"

    def _log(self, step: Step) -> Path:
        if step.training is not None:
            return step.training.folder / "train.log"
        return self.folder / "steps" / f"{step.name}.log"


class StepFailed(Exception):
    """A step ended in a failure that is not the fault of the user's input."""
