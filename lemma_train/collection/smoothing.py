"""Stage smoothing: the three parts of a draft are rewritten so that they read as one train of thought.

Enters: drafts. Leaves: drafts whose parts flow, checked once more: the mistake is still there, the end is right. Where
smoothing is off the drafts pass as they are.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lemma_train.collection.asking import Teacher
from lemma_train.collection.correction import accept
from lemma_train.collection.records import Draft
from lemma_train.collection.reply_checks import check_smoothing
from lemma_train.collection.settings import Filters
from lemma_train.collection.stage_files import Line, by_question
from lemma_train.collection.verdicts import Verdicts
from lemma_train.problems import Problem


@dataclass(frozen=True)
class Rough:
    """One draft to smooth."""

    problem: Problem
    line: Line

    @property
    def draft(self) -> Draft:
        return draft_of(self.line)


def items(folder: Path) -> Iterator[Rough]:
    for (asked,), corrected in by_question(folder, "problems", "correction"):
        for line in corrected:
            if line.kept:
                yield Rough(Problem(**asked.record), line)


def draft_of(line: Line) -> Draft:
    """The draft that a line holds; JSON knows no tuples."""
    return Draft(**{**line.record, "wrong_span": tuple(line.record["wrong_span"])})


def pass_on(item: Rough) -> Line:
    """Smoothing is off: the draft as it is."""
    return replace(item.line, record=item.draft, calls=[])


async def work(item: Rough, limits: Filters, teacher: Teacher, verdicts: Verdicts) -> Line:
    draft = item.draft
    wrong_step = draft.prefix[slice(*draft.wrong_span)]
    inputs = {
        "question": item.problem.question,
        "strategy": draft.strategy,
        "prefix": draft.prefix,
        "wrong_step": wrong_step,
        "reflection": draft.reflection,
        "continuation": draft.continuation,
    }

    async def check(fields: dict[str, Any]) -> Draft:
        prefix, wrong_span, reflection, continuation = check_smoothing(fields, inputs)
        smooth = replace(
            draft,
            prefix=prefix,
            wrong_span=wrong_span,
            reflection=reflection,
            continuation=continuation,
        )
        return await accept(smooth, item.problem, limits, verdicts)

    answer = await teacher.ask("smoothing", draft.id, inputs, check)
    return replace(
        item.line,
        kept=answer.value is not None,
        record=answer.value or draft,
        reason=answer.reason,
        detail=answer.detail,
        calls=answer.calls,
    )
