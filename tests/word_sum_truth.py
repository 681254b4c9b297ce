"""Whether one step of a solved word_sums question is right in truth, whatever order its solver takes.

Enters: the question, the text before the step, and the step. Leaves: yes or no. It reads the stories and the sums by
itself and uses nothing of the teacher that it judges.
"""

import re

_LOSS = re.compile(r"gives away|sells|lets off|loses|spends|falls")
_SUM = re.compile(r"(-?\d+) ([+-]) (-?\d+) = (-?\d+)")


def terms_of(question: str) -> list[int]:
    """The signed numbers of a story."""
    told = [sentence for sentence in re.split(r"(?<=[.?]) ", question) if re.search(r"\d", sentence)]
    return [int(re.findall(r"\d+", said)[0]) * (-1 if _LOSS.search(said) else 1) for said in told]


def is_right(question: str, before: str, step: str) -> bool:
    """A sum is right if it is true and joins two parts that are still apart; a stated answer if it is the whole sum."""
    terms = terms_of(question)
    sums = _SUM.findall(step)
    if not sums:
        return [int(n) for n in re.findall(r"-?\d+", step)] == [sum(terms) if "answer" in step else terms[0]]
    apart = list(terms)
    return all(_joins(apart, *sum_) for sum_ in [*_SUM.findall(before), *sums])


def _joins(apart: list[int], left: str, sign: str, right: str, result: str) -> bool:
    a, b, c = int(left), int(right) * (1 if sign == "+" else -1), int(result)
    if a + b != c:
        return False
    for turned in (1, -1):
        rest = list(apart)
        for part in (turned * a, turned * b):
            if part not in rest:
                break
            rest.remove(part)
        else:
            apart[:] = [*rest, turned * c]
            return True
    return False
