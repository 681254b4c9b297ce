"""The room of questions: where problems come from before any model has seen them.

Enters: the kind of problem, how many, and a seed. Leaves: a list of `Problem`, the same list for the same arguments on
every machine. It asks no model, grades nothing, renders no prompt and writes no file.

The numbers of the generated kinds come from reasoning-gym (Apache-2.0), which the extra `demo` installs:

- `gsm_symbolic`: school word problems in the manner of GSM-Symbolic (arXiv 2410.05229), with its worked solutions;
- `word_sums`: its `chain_sum` of three or four numbers with one or two digits, told here as a short story and solved
  one step a sentence. A model of 135M parameters learns it on a CPU within minutes, which the former is too hard for.
"""

import hashlib
import random
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from lemma_train.errors import InputError


@dataclass(frozen=True)
class Problem:
    """A question and what is known about its answer.

    id: names what is asked, not how it is told: the same sum in two stories has one id.
    question: plain text without any template.
    answer: the final answer alone; of a generated problem a plain number such as "-4" or "288".
    solution: a worked solution that ends in "The answer is N.", or None where there is none.
    source: the data set, or the kind it was generated as.
    """

    id: str
    question: str
    answer: str
    solution: str | None
    source: str


def generate(kind: str, size: int, seed: int, avoid: Collection[str] = ()) -> list[Problem]:
    """Generate problems, no two with the same id.

    Args:
        kind: `word_sums` or `gsm_symbolic`.
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
            "Generated problems need the package reasoning-gym; install it with: pip install 'lemma-train[demo]'"
        ) from error
    # reasoning-gym draws entry i with the seed `seed + i`: seeds next to each other would share nearly all entries.
    spread = int.from_bytes(hashlib.sha256(f"{dataset} {seed}".encode()).digest()[:4], "big")
    entries = reasoning_gym.create_dataset(dataset, size=limit, seed=spread, **options)
    return (entries[i] for i in range(limit))


# What reasoning-gym adds to each question; the prompt template asks in its own words.
_ANSWER_FORMAT = " Give the result as your final answer. Do not include units."

_NEEDLESS_DECIMAL = re.compile(r"(?<=\d)\.0(?!\d)")  # "36.0 eggs"


def _gsm_symbolic(seed: int, limit: int) -> Iterator[Problem]:
    for entry in _entries("gsm_symbolic", seed, limit):
        question = entry["question"].removesuffix(_ANSWER_FORMAT).strip()
        steps, _, _ = entry["metadata"]["answer_cot"].rpartition("####")
        steps = _NEEDLESS_DECIMAL.sub("", steps)
        answer = str(entry["answer"])
        yield Problem(
            id=f"gsm_symbolic:{hashlib.sha256(question.encode()).hexdigest()[:12]}",
            question=question,
            answer=answer,
            solution=f"{steps.strip()}\nThe answer is {answer}.",
            source="gsm_symbolic",
        )


@dataclass(frozen=True)
class _Story:
    """The wording of one kind of story. {who} is a name, {n} a bare number, {amount} a number with its unit."""

    start: str
    gain: str
    loss: str
    ask: str
    units: tuple[tuple[str, str], ...]  # singular and plural
    below_zero: bool = False


_THINGS = (
    ("shell", "shells"),
    ("stamp", "stamps"),
    ("marble", "marbles"),
    ("card", "cards"),
    ("apple", "apples"),
    ("book", "books"),
)
_STORIES = (
    _Story(
        "{who} has {amount}.",
        "{who} gets {n} more.",
        "{who} gives away {n}.",
        "How many {units} does {who} have now?",
        _THINGS,
    ),
    _Story(
        "A shop has {amount}.",
        "A van brings {n} more.",
        "The shop sells {n}.",
        "How many {units} does the shop have now?",
        _THINGS,
    ),
    _Story(
        "A train carries {amount}.",
        "It picks up {n} more.",
        "It lets off {n}.",
        "How many {units} are on the train now?",
        (("passenger", "passengers"),),
    ),
    _Story(
        "{who} starts a game with {amount}.",
        "{who} wins {n}.",
        "{who} loses {n}.",
        "How many {units} does {who} have now?",
        (("point", "points"),),
        below_zero=True,
    ),
    _Story(
        "{who} has {amount} in the bank.",
        "{who} pays in {n}.",
        "{who} spends {n}.",
        "What is the balance now?",
        (("dollar", "dollars"), ("euro", "euros")),
        below_zero=True,
    ),
    _Story(
        "A lake stands {amount} above its mark.",
        "It rises by {n}.",
        "It falls by {n}.",
        "What is its level against the mark now, in inches?",
        (("inch", "inches"),),
        below_zero=True,
    ),
)
_NAMES = ("Ada", "Ben", "Carla", "Dev", "Ella", "Finn", "Grace", "Hugo", "Ines", "Jonas", "Kofi", "Lena", "Mei", "Omar")
_TERM = re.compile(r"([+-]?) ?(\d+)")


def _word_sums(seed: int, limit: int) -> Iterator[Problem]:
    sums = _entries("chain_sum", seed, limit, min_terms=3, max_terms=4, min_digits=1, max_digits=2)
    for index, entry in enumerate(sums):
        expression = entry["metadata"]["expression"]
        terms = [-int(digits) if sign == "-" else int(digits) for sign, digits in _TERM.findall(expression)]
        if 0 in terms:
            continue  # nobody tells that nothing was given away
        # A generator of its own for each problem: leaving one out does not change the stories of the others.
        yield _tell(terms, expression.replace(" ", ""), random.Random(f"{seed} {index}"))


def _tell(terms: list[int], expression: str, choice: random.Random) -> Problem:
    totals = [sum(terms[: i + 1]) for i in range(len(terms))]
    story = choice.choice([story for story in _STORIES if story.below_zero or min(totals) >= 0])
    unit, units = choice.choice(story.units)
    who = choice.choice(_NAMES)

    def fill(wording: str, number: int = 0) -> str:
        amount = f"{number} {unit if number == 1 else units}"
        return wording.format(who=who, n=number, amount=amount, units=units)

    told = [fill(story.start, terms[0])]
    steps = [f"Start with {terms[0]}."]
    for term, before, after in zip(terms[1:], totals, totals[1:], strict=False):
        told.append(fill(story.gain if term > 0 else story.loss, abs(term)))
        steps.append(f"{before} {'+' if term > 0 else '-'} {abs(term)} = {after}.")
    return Problem(
        id=f"word_sums:{expression}",
        question=" ".join([*told, fill(story.ask)]),
        answer=str(totals[-1]),
        solution=" ".join([*steps, f"The answer is {totals[-1]}."]),
        source="word_sums",
    )


# The kinds of problem that can be generated: name -> (seed, most entries to look at) -> problems, repeats included.
_KINDS = {"word_sums": _word_sums, "gsm_symbolic": _gsm_symbolic}
