"""The wording of `word_sums` and `checked_sums`: a chain of sums told as a short story, solved one step a sentence.

Enters: the signed terms and a source of chance. Leaves: a `Problem`. It draws no terms.
"""

import random
from dataclasses import dataclass

from lemma_train.problems import Problem


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


def tell(kind: str, terms: list[int], choice: random.Random, checked: bool = False) -> Problem:
    """Tell a sum as a story; the terms alone make its id, answer and solution, `choice` its wording.

    Args:
        kind: the problem's source, and how its id begins.
        terms: the signed terms in their order, none of them 0, the first positive.
        choice: draws the kind of story, the name and the thing that is counted.
        checked: whether the solution checks each sum by undoing it.

    Example:
        >>> tell("word_sums", [4, 3, -2], random.Random(0)).solution
        'Start with 4. 4 + 3 = 7. 7 - 2 = 5. The answer is 5.'
    """
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
        steps.append(_equation(before, term, after))
        if checked:
            steps.append(f"Check: {_equation(after, -term, before)}")
    return Problem(
        id=f"{kind}:{''.join(f'{term:+}' for term in terms).removeprefix('+')}",
        question=" ".join([*told, fill(story.ask)]),
        answer=str(totals[-1]),
        solution=" ".join([*steps, f"The answer is {totals[-1]}."]),
        source=kind,
    )


def _equation(before: int, term: int, after: int) -> str:
    return f"{before} {'+' if term > 0 else '-'} {abs(term)} = {after}."
