"""Go on rightly after a mistake: mend the step and continue, or start over another way.

Enters: the wrong beginning and the worked solution. Leaves: the steps of the continuation, which end in the right
answer. What stood rightly before the mistake is not written again when going on. Words of doubt are in wording.py.
"""

from random import Random

from lemma_train.collection.working import states_answer
from lemma_train.llm.offline.chains import regrouped
from lemma_train.llm.offline.equations import undoing
from lemma_train.llm.offline.wording import after, can_follow
from lemma_train.llm.offline.worked_solution import WorkedSolution

_OPENERS = (
    *("Let me take the quantities one at a time.", "I go through the question slowly, one quantity at a time."),
    *(
        "I use only what the question says.",
        "I work up to what is asked, step by step.",
        "I list the steps one by one.",
    ),
    *("I start from the numbers in the question.", "This time I keep track of each number.", "", ""),
)
_LINKS = (("First,", "Next,", "Then,"), ("To begin,", "After that,", "From there,"), ("", "", ""), ("", "So,", "Then,"))


def steps_left(right: WorkedSolution, before: WorkedSolution) -> list[str]:
    """The steps of the worked solution that the right beginning has not done yet."""
    done_sums = [equation for equation in before.equations if equation.holds]
    done: list[bool] = []
    for start, end in right.steps:
        inside = [equation for equation in right.equations if start <= equation.left.start < end]
        covered = bool(inside) and all(any(one.repeats(other) for other in done_sums) for one in inside)
        done.append(covered or right.text[start:end] in before.text)
    last = max((i for i, is_done in enumerate(done) if is_done), default=-1)
    left = []
    for i, (start, end) in enumerate(right.steps):
        has_sum = any(start <= equation.left.start < end for equation in right.equations)
        if not done[i] and (has_sum or i > last or states_answer(right.text[start:end])):
            left.append(right.text[start:end])
    return left


def holds_throughout(right: WorkedSolution) -> bool:
    """Whether every equation of a solution is true as it is read here."""
    return all(equation.holds for equation in right.equations)


def restarted(right: WorkedSolution, draw: Random) -> tuple[list[str], bool]:
    """The whole solution again, and whether it goes another way: only a plain chain of sums can be regrouped; one that
    checks its sums is told as it stands; any other is told once more, with links and a check, the operands of its sums
    perhaps turned round."""
    if right.checks_its_sums:
        return [right.text[start:end] for start, end in right.steps], False
    another = regrouped(right, draw)
    if another is not None:
        return another, True
    texts = [right.text[start:end] for start, end in right.steps]
    turned = draw.random() < 0.6
    steps = [_turned(right, i) if turned else texts[i] for i in range(len(texts))]
    links = draw.choice(_LINKS)
    told: list[str] = []
    for i, step in enumerate(steps):
        is_sum = any(right.steps[i][0] <= equation.left.start < right.steps[i][1] for equation in right.equations)
        link = links[0] if not told else links[1 + i % 2]
        told.append(after(link, step) if link and is_sum and can_follow(step) else step)
    check = _check(right, draw)
    if check is not None and states_answer(told[-1]):
        told.insert(len(told) - 1, check)
    opener = draw.choice(_OPENERS)
    return ([opener, *told] if opener else told), False


def _turned(right: WorkedSolution, step: int) -> str:
    """A step with the operands of its plain sums and products in the other order: "24 + 48" for "48 + 24"."""
    start, end = right.steps[step]
    text = right.text[start:end]
    for equation in reversed(right.equations):
        if not start <= equation.left.start < end or len(equation.left.tokens) != 3:
            continue
        a, sign, b = equation.left.tokens
        between = right.text[a.end : sign.start] + right.text[sign.end : b.start]
        whole = not any(number.percent or number.value < 1 for number in (a, b))
        if sign.text in "+*" and not between.strip(" $£€") and a.money == b.money and whole:
            written = b.text + right.text[a.end : b.start] + a.text
            text = text[: a.start - start] + written + text[b.end - start :]
    return text


def _check(right: WorkedSolution, draw: Random) -> str | None:
    """The last sum done backwards: "Check: 72 - 24 = 48." """
    if not right.equations or draw.random() < 0.4:
        return None
    equation = right.equations[-1]
    back = undoing(equation)
    if back is None or equation.factor != 1 or not all(number.value > 0 for number in equation.numbers):
        return None
    words = (
        "Check: {}.",
        "To check: {}.",
        "Going backwards, {}, so this fits.",
        "As a check, {}.",
        "It fits, since {}.",
    )
    return draw.choice(words).format(f"{back[0]} = {equation.left.tokens[0].text}")
