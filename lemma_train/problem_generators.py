"""Generated questions: arithmetic told as short stories or asked plainly, with worked solutions.

Enters: the kind of problem, how many, and a seed. Leaves: a list of `Problem`, the same list for the same arguments on
every machine. It asks no model, grades nothing, renders no prompt and writes no file.

The numbers of the generated kinds come from reasoning-gym (Apache-2.0), which the extra `demo` installs:

- `gsm_symbolic`: school word problems in the manner of GSM-Symbolic (arXiv 2410.05229), with its worked solutions; the
  one in eight that its templates garble is left out;
- `word_sums`: its `chain_sum` of three or four numbers with one or two digits, told here as a short story and solved
  one step a sentence. A model of 135M parameters learns its steps on a CPU within minutes, though not to add two
  digits reliably; the former is too hard for it;
- `checked_sums`: three numbers of one digit with totals from 0 to 10, told likewise; the solutions check each sum by
  undoing it. Such a model learns these within minutes, and that a check which fails tells a wrong sum;
- `chain_sum`, `basic_arithmetic`: sums of three to five numbers, and expressions with * / and parentheses;
- `simple_equations`: one unknown, one equation.

The worked solutions of all but `gsm_symbolic` are this project's own.
"""

import hashlib
import itertools
import random
import re
from collections.abc import Collection, Iterator
from typing import Any

from lemma_train.errors import InputError
from lemma_train.llm.offline.equations import equations_of
from lemma_train.problems import Problem
from lemma_train.word_sums import tell
from lemma_train.worked_arithmetic import solve_linear, steps_of


def generate(kind: str, size: int, seed: int, avoid: Collection[str] = ()) -> list[Problem]:
    """Generate problems, no two with the same id.

    Args:
        kind: one of `KINDS`.
        size: how many.
        seed: any whole number; another seed gives other problems, but a few may come up again.
        avoid: ids that must not come up again, such as those of the training set when a held-out set is made.

    Raises:
        InputError: the kind is unknown, the size is not positive, reasoning-gym is missing, or the kind does not have
            as many different problems.

    Example:
        >>> train = generate("word_sums", size=800, seed=0)                                        # doctest: +SKIP
        >>> held_out = generate("word_sums", 200, seed=1, avoid={problem.id for problem in train})   # doctest: +SKIP
    """
    if kind not in _KINDS:
        raise InputError(f"There are no generated problems of the kind {kind!r}; the kinds are {', '.join(_KINDS)}.")
    if size < 1:
        raise InputError(f"{kind}: the number of problems must be at least 1, it is {size}.")
    problems: list[Problem] = []
    taken = set(avoid)
    for problem in _KINDS[kind](seed, 20 * (size + len(taken))):
        if problem.id not in taken:
            taken.add(problem.id)
            problems.append(problem)
            if len(problems) == size:
                return problems
    raise InputError(
        f"{kind}: only {len(problems)} different problems came up where {size} were asked for; ask for fewer."
    )


def _entries(dataset: str, seed: int, limit: int, **options: int) -> Iterator[dict[str, Any]]:
    try:
        import reasoning_gym
    except ImportError as error:
        raise InputError(
            "Generated problems need the package reasoning-gym; install it with: bash scripts/install.sh demo"
        ) from error
    # reasoning-gym draws entry i with the seed `seed + i`: seeds next to each other would share nearly all entries.
    spread = int.from_bytes(hashlib.sha256(f"{dataset} {seed}".encode()).digest()[:4], "big")
    entries = reasoning_gym.create_dataset(dataset, size=limit, seed=spread, **options)
    return (entries[i] for i in range(limit))


# What reasoning-gym adds to each question; the prompt template asks in its own words.
_ANSWER_FORMAT = " Give the result as your final answer. Do not include units."

_NEEDLESS_DECIMAL = re.compile(r"(?<=\d)\.0(?!\d)")  # "36.0 eggs", "£8.0 each"

# What its templates make of some numbers: no sentence, or no calculation.
_NONSENSE = re.compile(
    r"(?<=[a-z] )(\d+)=\1\b"  # "receives 56=56 emails"
    r"|\(1 (\w+) / 1 \2\)"  # "27 meters * (1 meters / 1 meters)"
    r"|\d\.\d{5}"  # "16.666666666666668 hours"
    r"|(?<![\d.])[2-9] as many\b|\bin full [2-9],|\bto ride the [a-z -]+ [2-9]\."  # "slew 2 as many trolls"
)


def _gsm_symbolic(seed: int, limit: int) -> Iterator[Problem]:
    for entry in _entries("gsm_symbolic", seed, limit):
        question = _NEEDLESS_DECIMAL.sub("", entry["question"].removesuffix(_ANSWER_FORMAT).strip())
        steps, _, _ = entry["metadata"]["answer_cot"].rpartition("####")
        steps = _NEEDLESS_DECIMAL.sub("", steps)
        answer = str(entry["answer"])
        if not _is_sound(question, steps):
            continue
        yield Problem(
            id=f"gsm_symbolic:{hashlib.sha256(question.encode()).hexdigest()[:12]}",
            question=question,
            answer=answer,
            solution=f"{steps.strip()}\nThe answer is {answer}.",
            source="gsm_symbolic",
        )


def _is_sound(question: str, steps: str) -> bool:
    """Whether question and steps are what a person could write: one currency, and sums that are true ("108 / 24 = 4"
    is cut off)."""
    told = f"{question}\n{steps}"
    currencies = {sign for sign in "$£€" if sign in told}
    return not _NONSENSE.search(told) and len(currencies) < 2 and all(sum_.holds for sum_ in equations_of(steps))


_TERM = re.compile(r"([+-]?) ?(\d+)")


def _word_sums(seed: int, limit: int) -> Iterator[Problem]:
    entries = _entries("chain_sum", seed, limit, min_terms=3, max_terms=4, min_digits=1, max_digits=2)
    yield from _told_sums("word_sums", seed, entries)


def _checked_sums(seed: int, limit: int) -> Iterator[Problem]:
    # One in five is small enough.
    entries = _entries("chain_sum", seed, 5 * limit, min_terms=3, max_terms=3, min_digits=1, max_digits=1)
    yield from _told_sums("checked_sums", seed, entries, small=True)


def _told_sums(kind: str, seed: int, entries: Iterator[dict[str, Any]], small: bool = False) -> Iterator[Problem]:
    for index, entry in enumerate(entries):
        expression = entry["metadata"]["expression"]
        terms = [-int(digits) if sign == "-" else int(digits) for sign, digits in _TERM.findall(expression)]
        if 0 in terms:
            continue  # nobody tells that nothing was given away
        if small and not _is_small(terms):
            continue
        # A generator of its own for each problem: leaving one out does not change the stories of the others.
        yield tell(kind, terms, random.Random(f"{seed} {index}"), checked=small)


def _is_small(terms: list[int]) -> bool:
    """Whether every total is one of 0 to 10, and no change takes back the one before: it would be the check of it."""
    taken_back = any(change == -before for before, change in itertools.pairwise(terms[1:]))
    return set(itertools.accumulate(terms)) <= set(range(11)) and not taken_back


def _chain_sum(seed: int, limit: int) -> Iterator[Problem]:
    entries = _entries("chain_sum", seed, limit, min_terms=3, max_terms=5, min_digits=1, max_digits=3)
    yield from _worked("chain_sum", seed, (entry["metadata"]["expression"] for entry in entries))


def _basic_arithmetic(seed: int, limit: int) -> Iterator[Problem]:
    options = {"min_terms": 3, "max_terms": 5, "min_digits": 1, "max_digits": 2}
    entries = _entries("basic_arithmetic", seed, limit, **options)
    # Its operands are as often below zero as above; "4 - -7" is not written at school, so they lose their signs.
    unsigned = (re.sub(r"(?<!\S)-(?=[\d(])", "", entry["metadata"]["expression"]) for entry in entries)
    yield from _worked("basic_arithmetic", seed, unsigned)


def _worked(kind: str, seed: int, expressions: Iterator[str]) -> Iterator[Problem]:
    for index, expression in enumerate(expressions):
        if re.search(r"\b0\b|[*/] 1\b|\( \(", expression):
            continue  # nothing is learnt from plus 0, times 1 and doubled brackets
        steps = steps_of(expression)
        if len(steps) < 2 or steps[-1].inside or not all(step.is_plain for step in steps):
            continue
        result = steps[-1].result
        if result > _LARGEST:
            continue
        shown = expression.replace("( ", "(").replace(" )", ")")
        yield Problem(
            # A slash would end the id where ids are joined with one.
            id=f"{kind}:{expression.replace(' ', '').replace('/', ':')}",
            question=random.Random(f"{seed} {index}").choice(_ASKED).format(expression=shown),
            answer=str(result),
            solution=" ".join([*map(str, steps), f"The answer is {result}."]),
            source=kind,
        )


def _simple_equations(seed: int, limit: int) -> Iterator[Problem]:
    for index, entry in enumerate(_entries("simple_equations", seed, limit, max_terms=3, max_value=20)):
        variable = entry["metadata"]["variable"]
        if variable in "ilo":
            continue  # too like 1 and 0
        equation = entry["metadata"]["equation"]
        solved = solve_linear(equation)
        if solved is None:
            continue
        steps, value = solved
        assert str(value) == entry["answer"], equation
        wording = random.Random(f"{seed} {index}").choice(_EQUATION_ASKED)
        yield Problem(
            id=f"simple_equations:{equation.replace(variable, 'x').replace(' ', '')}",
            question=wording.format(variable=variable, equation=equation.replace("*", " * ")),
            answer=str(value),
            solution=" ".join([*steps, f"The answer is {value}."]),
            source="simple_equations",
        )


_LARGEST = 10_000  # beyond it a small model fails at the digits, not at the thought
_ASKED = (
    "How much is {expression}?",
    "Work out {expression}.",
    "What number do you get from {expression}?",
    "Find the result of {expression}.",
)
_EQUATION_ASKED = (
    "Which number is {variable} if {equation}?",
    "Given that {equation}, find {variable}.",
    "What must {variable} be so that {equation} holds?",
)

# The kinds of problem that can be generated: name -> (seed, most entries to look at) -> problems, repeats included.
_KINDS = {
    "word_sums": _word_sums,
    "checked_sums": _checked_sums,
    "gsm_symbolic": _gsm_symbolic,
    "chain_sum": _chain_sum,
    "basic_arithmetic": _basic_arithmetic,
    "simple_equations": _simple_equations,
}
KINDS = tuple(_KINDS)
