"""What a collection will cost, before the first request.

Enters: settings, the questions, and what the journal already holds. Leaves: requests, tokens and money by task, as
estimates whose assumptions are said. It sends nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from lemma_train.collection.injection import errors_for, rows_of_origins
from lemma_train.collection.meter import Meter, Usage
from lemma_train.collection.prompting import Prompts
from lemma_train.collection.sampling import prompt_format
from lemma_train.collection.settings import CollectSettings
from lemma_train.collection.taxonomy import Taxonomy
from lemma_train.problems import Problem
from lemma_train.template import CHAT

CHARS_A_TOKEN = 4.0  # English prose; mathematics in LaTeX has fewer
ASSUMED_FAILURE_RATE = 0.5  # of the student's answers, until some are graded
REPEATED_ASKS = 1.1  # one reply in ten fails its check and is asked for again
KEPT = 0.9  # of each stage's items
_EXAMPLES = 50  # questions whose prompts are rendered to measure their length


@dataclass(frozen=True)
class Expected:
    """One task: requests in all, of them already in the journal, tokens and cost of those that are left."""

    task: str
    requests: int
    there: int
    prompt_tokens: int
    completion_tokens: int
    cost: float


def estimate(
    settings: CollectSettings,
    problems: Sequence[Problem],
    prompts: Prompts,
    taxonomy: Taxonomy,
    meter: Meter,
    failure_rate: float | None,
) -> list[Expected]:
    """The tasks in their order; those that are not asked for are left out.

    Each answer of a question is taken to fail independently at the same rate. Real failures gather on hard questions,
    so fewer questions fail and fewer errors are injected than is said here.

    Args:
        problems: at least one.
        meter: what the journal holds; a copied journal counts too.
        failure_rate: measured share of wrong answers, or None where none is known yet.
    """
    rate = ASSUMED_FAILURE_RATE if failure_rate is None else failure_rate
    examples = problems[:: max(1, len(problems) // _EXAMPLES)]
    expected = []
    for task, requests in _requests(settings, len(problems), rate).items():
        if not requests:
            continue
        prompt, completion = _tokens(settings, task, examples, prompts, taxonomy)
        there = min(meter.usage.get(task, Usage()).replies, requests)
        left = requests - there
        expected.append(
            Expected(
                task,
                requests,
                there,
                round(left * prompt),
                round(left * completion),
                meter.price(task, left * prompt, left * completion),
            )
        )
    return expected


def _requests(settings: CollectSettings, questions: int, rate: float) -> dict[str, int]:
    samples = settings.sampling.samples if settings.sampling.enabled else 0
    strategies = settings.correction.strategies
    wrong_each = samples * rate
    if settings.analysis.per_question is not None:
        wrong_each = min(wrong_each, settings.analysis.per_question)
    failed = 1 - (1 - rate) ** samples if samples and settings.injection.only_failed else 1.0
    injected_each = failed * settings.injection.per_question
    own_rows = wrong_each * KEPT * len(strategies)
    if settings.injection.allocation == "failure_rate":
        rows = rows_of_origins(settings.injection, rate)
        injected_each = float(errors_for(rows["injected"], settings.correction))
        own_rows = min(own_rows, rows["student"])
        injected_rows = rows["injected"] * KEPT
    else:
        injected_rows = injected_each * KEPT * len(strategies)
    if not settings.injection.enabled:
        injected_each = injected_rows = 0.0
    drafts = questions * (own_rows + injected_rows)
    requests: dict[str, float] = {
        "sampling": questions * samples,
        "analysis": questions * wrong_each * REPEATED_ASKS,
        "injection": questions * injected_each * REPEATED_ASKS,
        **dict.fromkeys(strategies, drafts / len(strategies) * REPEATED_ASKS),
        "smoothing": drafts * KEPT * REPEATED_ASKS * settings.smoothing.enabled,
    }
    return {task: round(count) for task, count in requests.items()}


def _tokens(
    settings: CollectSettings, task: str, examples: Sequence[Problem], prompts: Prompts, taxonomy: Taxonomy
) -> tuple[float, float]:
    """Mean tokens of a prompt and of its reply."""
    solution = fmean(len(problem.solution or "x" * 400) for problem in examples) / CHARS_A_TOKEN
    if task == "sampling":
        template = "{instruction}" if settings.student.template == CHAT else prompt_format(settings.student.template)
        lengths = [len(template) + len(problem.question) for problem in examples]
    else:
        lengths = [
            sum(len(turn["content"]) for turn in prompts.messages(task, _stand_ins(problem, taxonomy)))
            for problem in examples
        ]
    reply = {
        "sampling": solution,
        "analysis": 100.0,
        "injection": 1.3 * solution + 60,
        "fix_and_continue": solution + 60,
        "fresh_and_restart": 1.2 * solution + 60,
        "smoothing": 2 * solution + 80,
    }[task]
    return fmean(lengths) / CHARS_A_TOKEN, reply


def _stand_ins(problem: Problem, taxonomy: Taxonomy) -> Mapping[str, Any]:
    """Values of about the right length for a prompt whose real ones do not exist yet."""
    solution = problem.solution or "x" * 400
    half = solution[: len(solution) // 2] or "x"
    kind = taxonomy.types[0]
    return {
        "question": problem.question,
        "reference_solution": solution,
        "reference_answer": problem.answer,
        "right_solution": None,
        "solution": solution,
        "steps": [half, half],
        "extracted": problem.answer,
        "error_types": [{"name": known.name, "meaning": known.meaning} for known in taxonomy.types],
        "error_type": kind.name,
        "error_type_meaning": kind.meaning,
        "number": 0,
        "prefix": half,
        "wrong_step": half[-80:],
        "explanation": "x" * 120,
        "strategy": "fix_and_continue",
        "reflection": "x" * 120,
        "continuation": solution,
    }


def as_text(expected: Sequence[Expected], failure_rate: float | None, currency: str) -> str:
    """The estimate as a table, with what it assumes."""
    rows = [f"{'task':<18}{'requests':>10}{'done':>9}{'prompt tokens':>16}{'reply tokens':>15}{currency:>12}"]
    for line in expected:
        rows.append(
            f"{line.task:<18}{line.requests:>10,}{line.there:>9,}{line.prompt_tokens:>16,}"
            f"{line.completion_tokens:>15,}{line.cost:>12,.2f}"
        )
    rows.append(
        f"{'all':<18}{sum(line.requests for line in expected):>10,}{sum(line.there for line in expected):>9,}"
        f"{sum(line.prompt_tokens for line in expected):>16,}{sum(line.completion_tokens for line in expected):>15,}"
        f"{sum(line.cost for line in expected):>12,.2f}"
    )
    known = "assumed" if failure_rate is None else "measured"
    rate = ASSUMED_FAILURE_RATE if failure_rate is None else failure_rate
    rows.append(
        f"{rate:.0%} of the student's answers are wrong ({known}); {CHARS_A_TOKEN:g} characters a token; one reply in "
        f"ten asked for again; nothing cached. Tokens and {currency} are of the requests that are left."
    )
    return "\n".join(rows)
