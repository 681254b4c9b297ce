"""Chains of gains and losses: whether a step is right in another order, and the whole worked out in another order.

Enters: a worked solution that is nothing but "a + b = c. c - d = e." and so on. Leaves: its terms, a verdict on a step
of somebody else's solution, or the steps of another way. A solution with products or with words of its own is no chain.
"""

from fractions import Fraction
from random import Random

from lemma_train.llm.offline.equations import Equation
from lemma_train.llm.offline.worked_solution import WorkedSolution


def terms_of(right: WorkedSolution) -> tuple[Fraction, list[Fraction]] | None:
    """The start and the signed terms of a chain of two or more sums, or None where the solution is none."""
    so_far: Fraction | None = None
    first, rest = Fraction(0), []
    for equation in right.equations:
        tokens = equation.left.tokens
        if len(tokens) != 3 or tokens[1].text not in "+-" or equation.factor != 1 or tokens[2].value <= 0:
            return None
        if any(token.kind == "num" and (token.value.denominator != 1 or token.money) for token in tokens):
            return None
        if so_far is None:
            first = tokens[0].value
        elif tokens[0].value != so_far:
            return None
        rest.append(tokens[2].value if tokens[1].text == "+" else -tokens[2].value)
        so_far = equation.right.value
    bare = all(
        right.text[a:b].startswith(("Start", "The answer")) or right.text[a:b][0] in "-0123456789"
        for a, b in right.steps
    )
    return (first, rest) if len(rest) > 1 and bare else None


def right_in_another_order(student: WorkedSolution, equation: Equation, right: WorkedSolution) -> bool:
    """Whether a true sum of a student joins two parts of the chain that are still to be joined.

    A sum may take the terms in any order: of 33 - 98 - 27, "33 - 27 = 6" is a right beginning. What an earlier sum has
    used up is gone, and its result stands in its place.
    """
    chain = terms_of(right)
    if chain is None:
        return False
    open_parts = [chain[0], *chain[1]]
    for sum_ in student.equations:
        joined = sum_.holds and _join(open_parts, sum_)
        if sum_ is equation or sum_.left.start >= equation.left.start:
            return joined
        if not joined:
            return False
    return False


def _join(open_parts: list[Fraction], equation: Equation) -> bool:
    """Take the parts that the sum joins out of the open ones and put their sum in; False where they are not there."""
    tokens = equation.left.tokens
    if len(tokens) < 3 or any(sign.text not in "+-" for sign in equation.left.operators):
        return False
    if any(token.kind in "()" for token in tokens):
        return False
    signs = ["+", *(sign.text for sign in equation.left.operators)]
    wanted = [n.value if sign == "+" else -n.value for n, sign in zip(equation.left.numbers, signs, strict=True)]
    # "98 + 27 = 125" puts the losses of 33 - 98 - 27 together.
    for turned in (1, -1):
        left_over = list(open_parts)
        try:
            for value in wanted:
                left_over.remove(turned * value)
        except ValueError:
            continue
        open_parts[:] = [*left_over, turned * sum(wanted, Fraction(0))]
        return True
    return False


def regrouped(right: WorkedSolution, draw: Random) -> list[str] | None:
    """The chain with all gains first, or in another order; None where the solution is no chain, or has no other order:
    7 + 3 - 3."""
    chain = terms_of(right)
    if chain is None:
        return None
    first, rest = chain
    gains, losses = [n for n in rest if n > 0], [-n for n in rest if n < 0]
    told: list[str] = []

    def total(numbers: list[Fraction], words: tuple[str, ...]) -> Fraction:
        so_far = numbers[0]
        for n in numbers[1:]:
            told.append(f"{so_far} + {n} = {so_far + n}.")
            so_far += n
        if len(numbers) > 1:
            told[-len(numbers) + 1] = f"{draw.choice(words)} {told[-len(numbers) + 1]}"
        return so_far

    if not gains or not losses:
        ordered = sorted([first, *gains], reverse=True) if gains else [first]
        if gains and ordered == [first, *gains]:
            ordered = ordered[::-1]
        whole = total(ordered, ("In another order:", "I add them in another order:", "Turned round, the sum goes:"))
        lost = total(losses, ("All that is taken away:", "The losses together:")) if losses else Fraction(0)
        if lost:
            told.append(f"{draw.choice(('Then', 'That leaves', 'Now'))} {first} - {lost} = {first - lost}.")
            whole = first - lost
    elif len(rest) == 2 and rest[0] > 0 and sum(rest, Fraction(0)):
        # All gains first is what the solution does already.
        (came,), (went,) = gains, losses
        change = abs(came - went)
        more, less, sign = (came, went, "+") if came > went else (went, came, "-")
        words = ("Both changes together:", "The changes first:", "What the two changes make:")
        told.append(f"{draw.choice(words)} {more} - {less} = {change} {'more' if sign == '+' else 'less'}.")
        whole = first + came - went
        told.append(f"{draw.choice(('Then', 'That makes', 'Now'))} {first} {sign} {change} = {whole}.")
    elif len(rest) == 2 and rest[0] > 0:
        return None
    else:
        came = total(gains, ("All gains together:", "Everything that is added:", "The gains first:"))
        went = total(losses, ("All losses together:", "Everything that is taken away:", "The losses:"))
        up, down = f"{first} + {came} = {first + came}.", f"{first + came} - {went} = {first + came - went}."
        told.append(f"{draw.choice(('With the start:', 'Added to the start:', 'Start and gains together:'))} {up}")
        told.append(f"{draw.choice(('Less the losses:', 'Then the losses come off:', 'Without the losses:'))} {down}")
        whole = first + came - went
    final = right.numbers[right.final] if right.final is not None else None
    if final is None or whole != final.value:
        return None
    last = right.text[slice(*right.steps[-1])]
    return [f"{draw.choice(('Start with', 'The start is', 'Begin with'))} {first}.", *told, last]
