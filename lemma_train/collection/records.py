"""The records that pass between stages: an attempt at a problem, and the draft of a trajectory made from it.

Flat, None for absent, the same in memory and in the stage files (`dataclasses.asdict`). They hold no reference to
models or files.
"""

from dataclasses import dataclass
from typing import Literal

Origin = Literal["student", "injected"]
Strategy = Literal["fix_and_continue", "fresh_and_restart"]


@dataclass(frozen=True)
class Attempt:
    """A solution of a problem, by the student or with an injected error.

    id: `<problem id>/s<k>` of the student's k-th sample, `<problem id>/i<k>` of the k-th injection.
    k counts from 0.
    text: the solution, stripped.
    finish_reason: as the model gave it; `length` is a cut-off answer.
    extracted: the final answer that was found in it, or None. correct: the verdict, None where it cannot be graded.
    error_type: canonical name from prompts/error_types.yaml. explanation: what is wrong, in the teacher's words.
    wrong_span: `[start, end)` characters of `text` that hold the first wrong step.
    """

    id: str
    problem_id: str
    origin: Origin
    text: str
    finish_reason: str = "stop"
    extracted: str | None = None
    correct: bool | None = None
    error_type: str | None = None
    explanation: str | None = None
    wrong_span: tuple[int, int] | None = None


@dataclass(frozen=True)
class Draft:
    """A trajectory in three parts: wrong beginning, reflection, right continuation.

    id: `<attempt id>/fix` or `<attempt id>/restart`.
    prefix: the attempt up to and including its first wrong step (the whole attempt where truncation is off).
    wrong_span: `[start, end)` characters of `prefix` that hold the wrong part: its first wrong step and, where
        truncation is off, all that follows it; it reaches to the end of the prefix.
    extracted: the final answer that was found in it and graded as right.
    """

    id: str
    problem_id: str
    attempt_id: str
    strategy: Strategy
    error_origin: Origin
    error_type: str
    prefix: str
    wrong_span: tuple[int, int]
    reflection: str
    continuation: str
    extracted: str | None = None

    @property
    def output(self) -> str:
        """The three parts as one text; the prefix comes first, so `wrong_span` holds in it too."""
        parts = (self.prefix, self.reflection, self.continuation)
        return ("\n" if any("\n" in part for part in parts) else " ").join(parts)
