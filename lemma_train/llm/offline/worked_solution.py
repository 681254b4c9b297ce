"""A solution as a web of numbers: where each number comes from, so that a change can be carried to the end.

Enters: a solution's text and its question. Leaves: its steps, numbers and equations; for each number its source (the
question, an earlier result, a constant, or unknown); and the solution with some numbers changed and all that follows
from them recomputed. It knows nothing of kinds of mistakes.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import pairwise

from lemma_train.collection.steps import split_steps
from lemma_train.collection.working import FINAL_ANSWER, states_answer
from lemma_train.llm.offline.arithmetic import Token, evaluate, tokens_of
from lemma_train.llm.offline.equations import Equation, equations_of, undoing
from lemma_train.llm.offline.figures import Figures, written_like

_ANNOTATION = re.compile(r"<<[^<>]{0,200}>>")
_HASHES = re.compile(r"\n?#### *(\S[^\n]*)\s*$")
_MOST_NUMBERS = 300  # a text with more is a table, not a worked solution; it is read as having none


@dataclass(frozen=True)
class Source:
    """Where a number comes from. kind: `question`, `result`, `later` (the result of an equation further on in the same
    step), `derived` (80% where the question says 20%), `constant` or `unknown`. number: index of that result."""

    kind: str
    number: int = -1


def without_annotations(text: str) -> str:
    """GSM8K's `<<48/2=24>>` taken out and its `#### 72` put into words."""
    plain = _ANNOTATION.sub("", text) if "<<" in text else text
    return _HASHES.sub(lambda found: f"\nThe answer is {found[1].rstrip(' .')}.", plain).strip()


@dataclass(frozen=True)
class WorkedSolution:
    """text: without annotations. steps: spans. numbers: in order. results: equation index by number index."""

    text: str
    question: str
    steps: tuple[tuple[int, int], ...]
    numbers: tuple[Token, ...]
    equations: tuple[Equation, ...]

    @cached_property
    def figures(self) -> Figures:
        return Figures.of(self.question)

    @cached_property
    def index(self) -> dict[int, int]:
        """Number index by the character where the number starts."""
        return {number.start: i for i, number in enumerate(self.numbers)}

    @cached_property
    def results(self) -> dict[int, int]:
        """Equation index by the number index of its result."""
        return {
            self.index[equation.result.start]: k
            for k, equation in enumerate(self.equations)
            if equation.result is not None and equation.result.start in self.index
        }

    @cached_property
    def operands(self) -> frozenset[int]:
        """Number indices that stand on the left of an equation."""
        return frozenset(self.index[n.start] for e in self.equations for n in e.left.numbers if n.start in self.index)

    @cached_property
    def checks(self) -> frozenset[int]:
        """Equations, by index, that only check the one before: of "7 + 6 = 13. Check: 13 - 6 = 7." the second."""
        found = set()
        for k, (made, check) in enumerate(pairwise(self.equations), start=1):
            back = undoing(made)
            opens = self.text.startswith("Check:", self.steps[self.step_at(check.left.start)][0])
            if opens and back is not None and back[0] == check.left.plain:
                found.add(k)
        return frozenset(found)

    @property
    def checks_its_sums(self) -> bool:
        """Whether each sum is checked."""
        return bool(self.checks) and 2 * len(self.checks) == len(self.equations)

    def step_at(self, character: int) -> int:
        for i, (_, end) in enumerate(self.steps):
            if character < end:
                return i
        return len(self.steps) - 1

    @cached_property
    def final(self) -> int | None:
        """Index of the number that is given as the final answer."""
        last = None
        for found in FINAL_ANSWER.finditer(self.text):
            after = [i for i, number in enumerate(self.numbers) if found.end() <= number.start <= found.end() + 12]
            last = after[0] if after else last
        return last

    @cached_property
    def sources(self) -> tuple[Source, ...]:
        found: list[Source] = []
        used: set[int] = set()
        for i, number in enumerate(self.numbers):
            source = self._source(i, number, used, found)
            if source.kind == "result":
                used.add(source.number)
            found.append(source)
        return tuple(found)

    def _source(self, i: int, number: Token, used: set[int], before: list[Source]) -> Source:
        if i in self.results:
            return Source("result", i)
        value = number.value
        earlier = [j for j in self._results_before(i) if self.numbers[j].value == value]
        told = self.figures.has(value)
        if earlier:
            last = max(earlier)
            if i == self.final or not told or last not in used or self._last_result(i) == last:
                return Source("result", last)
        if i not in self.operands:
            step = self.step_at(number.start)
            ahead = [
                j
                for j in self.results
                if j > i and self.numbers[j].value == value and self.step_at(self.numbers[j].start) == step
            ]
            if ahead and not told:
                return Source("later", min(ahead))
        if told:
            return Source("question")
        if self.figures.derives(value):
            return Source("derived")
        again = [j for j, other in enumerate(self.numbers[:i]) if other.value == value and before[j].kind == "unknown"]
        if again:
            return Source("derived")
        return Source("constant" if self.figures.is_constant(value) else "unknown")

    def _last_result(self, i: int) -> int | None:
        return max(self._results_before(i), default=None)

    def _results_before(self, i: int) -> list[int]:
        """Nothing goes on from the result of a check."""
        return [j for j, k in self.results.items() if j < i and k not in self.checks]

    def carried(
        self, changes: Mapping[int, Fraction], lefts: Mapping[int, str], dropped: frozenset[int] = frozenset()
    ) -> dict[int, Fraction] | None:
        """The new values of all numbers that change, or None where they cannot be followed.

        changes: new values by number index, results included. lefts: new left sides by equation index.
        dropped: steps that are left out.
        """
        new = dict(changes)
        for i, number in enumerate(self.numbers):
            if i in changes:
                continue
            source = self.sources[i]
            equation = self.equations[self.results[i]] if i in self.results else None
            if equation is not None:
                left = lefts.get(self.results[i])
                moved = {n.start: new[j] for n in equation.left.numbers if (j := self.index.get(n.start)) in new}
                if left is None and not moved:
                    continue
                if equation.factor is None:
                    return None
                value = evaluate(tokens_of(left)) if left is not None else evaluate(equation.left.tokens, moved)
                if value is None:
                    return None
                new[i] = value * equation.factor
            elif source.kind == "result" and source.number in new:
                new[i] = new[source.number]
            elif source.kind == "unknown" and new and self.step_at(number.start) not in dropped:
                return None  # made from what has changed, for all we know
        for i, source in enumerate(self.sources):
            if source.kind == "later" and source.number in new and i not in new:
                new[i] = new[source.number]
        return self._without_expressions(new)

    def _without_expressions(self, new: dict[int, Fraction]) -> dict[int, Fraction] | None:
        """None where a changed number stands in, or makes, a right side of several numbers: it cannot be rewritten."""
        for equation in self.equations:
            sides = [self.index.get(n.start) for n in equation.left.numbers]
            if equation.result is None and any(j in new for j in sides):
                return None
        return {i: value for i, value in new.items() if value != self.numbers[i].value}

    def rewritten(self, new: Mapping[int, Fraction], edits: Mapping[tuple[int, int], str]) -> list[str] | None:
        """The steps with new numbers, each written as the old one was, and edits by span; None if it cannot be."""
        pieces = dict(edits)
        for i, value in new.items():
            number = self.numbers[i]
            if any(start <= number.start < end for start, end in edits):
                continue
            text = written_like(number, value)
            if text is None:
                return None
            pieces[number.start, number.end] = text
        steps = []
        for start, end in self.steps:
            written, at = "", start
            for (a, b), text in sorted(pieces.items()):
                if start <= a and b <= end:
                    written += self.text[at:a] + text
                    at = b
            steps.append(written + self.text[at:end])
        return steps


def read_steps(steps: Sequence[str], question: str) -> WorkedSolution:
    """Read a solution whose steps are known, as they stand."""
    text, spans = "\n".join(steps), []
    at = 0
    for step in steps:
        spans.append((at, at + len(step)))
        at += len(step) + 1
    return _read(text, question, spans)


def read_solution(text: str, question: str) -> WorkedSolution:
    """Read a worked solution or a student's answer.

    Example:
        >>> read = read_solution("Tom has 3 + 4 = 7 pens. The answer is 7.", "Tom has 3 pens and gets 4. How many now?")
        >>> [source.kind for source in read.sources]
        ['question', 'question', 'result', 'result']
    """
    plain = without_annotations(text)
    return _read(plain, question, split_steps(plain))


def _read(text: str, question: str, steps: Sequence[tuple[int, int]]) -> WorkedSolution:
    tokens = tokens_of(text)
    numbers = tuple(token for token in tokens if token.kind == "num")
    if len(numbers) > _MOST_NUMBERS:
        tokens, numbers = [], ()
    return WorkedSolution(text, question, tuple(steps), numbers, tuple(equations_of(text, tokens)))


def as_one_answer(solution: WorkedSolution, answer: str) -> WorkedSolution:
    """The solution with `The answer is X.` at its end where it states no final answer."""
    if states_answer(solution.text):
        return solution
    glue = "\n" if "\n" in solution.text else " "
    stop = "" if solution.text.endswith((".", "!", "?")) or glue == "\n" else "."
    text = f"{solution.text}{stop}{glue}The answer is {answer}."
    return read_solution(text, solution.question)
