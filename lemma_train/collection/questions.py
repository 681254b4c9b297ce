"""Stage problems: which questions are asked.

Enters: settings. Leaves: one line a question. Set aside are questions that came before, those without an answer, and
those that stand in a benchmark: their rows could not stay in the set, so that nothing is paid for them.
"""

from collections.abc import Iterator

from lemma_train.collection.decontamination import Benchmarks
from lemma_train.collection.settings import CollectSettings
from lemma_train.collection.stage_files import Line
from lemma_train.errors import InputError
from lemma_train.problems import load_problems

CONTAMINATED = "contaminated"


def question_lines(settings: CollectSettings) -> Iterator[Line]:
    """The lines of the stage, in order; a question keeps its place whether it is asked or not.

    Raises:
        InputError: a source of questions or a benchmark cannot be read.
    """
    benchmarks = benchmarks_of(settings)
    loaded = load_problems(settings.problems, settings.seed)
    for order, problem in enumerate(loaded.problems):
        match = benchmarks.find(problem.question)
        reason, detail = (CONTAMINATED, str(match)) if match else (None, None)
        yield Line(problem.id, problem.id, order, match is None, problem, reason, detail)
    for order, row in enumerate(loaded.set_aside, start=len(loaded.problems)):
        yield Line(row.id, row.id, order, False, None, row.reason, row.detail)


def benchmarks_of(settings: CollectSettings) -> Benchmarks:
    """The benchmarks of a recipe.

    Raises:
        InputError: one of them cannot be read.
    """
    try:
        return Benchmarks(settings.assembly.decontaminate, settings.assembly.decontaminate_overlap)
    except InputError as error:
        raise InputError(f"assembly: {error}") from error
