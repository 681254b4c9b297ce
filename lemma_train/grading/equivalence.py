r"""Do an answer and a reference mean the same?

Enters: two answers as `extraction` returns them. Leaves: True, False, or None where the reference cannot be read.
`compare` works with exact numbers and text alone and is safe in any process; what needs algebra it hands to a function
(`algebra.same_expression`, which belongs into a bounded process; `grader` sees to that).

What is equal to what:

- numbers exactly: 0.333 is not 1/3, 3.14 is not \pi; 1/2, 0.5 and \frac{2}{4} are the same. A reference that is a
  decimal of two or more digits is taken as rounded where the answer is a fraction or a formula: reference 0.33, answer
  1/3. A unit is left out of the comparison unless both name different ones: 50 cents is not 50 dollars, 90 minutes is
  1.5 hours. 18% is 18, not 0.18; 0.5 is not 50. An amount in two units is the number that it makes in one of them.
- `x = 5` and `x \in ...` are their right side where only one of the two names it; `x = 5` is not `y = 5`.
- lists and sets in any order, tuples and intervals in theirs and with their own brackets: {1,2} is {2,1}, (1,2) is not
  (2,1), nor [1,2], nor {1,2}. `a \pm b` is a list of two. Unions of intervals in any order, matrices cell by cell.
- a reference of numbers with nothing but spaces between them is a sequence: "9, 4, 1" is 9 4 1, "1, 4, 9" is not.
- times of day as such: 3 is not 3:00, 9 a.m. is 9:00. Ratios up to a common factor: 2:4 is 1:2. A number in a base is
  its digits; without the base they are enough.
- words without regard to case; `\text{(C)}`, `(C)`, `C` and `C. 15` are one choice.
- all else by algebra.
"""

import re
from collections.abc import Callable
from fractions import Fraction

from lemma_train.grading.notation import PlainNumber, clean, read_based, read_number, read_time
from lemma_train.grading.structure import MAX_DEPTH, SEPARATOR, is_number, split, structure_of
from lemma_train.grading.units import Amount, conversion, read_amount, split_unit

MAX_CHARACTERS = 2_000  # longer answers are compared as text only
_MAX_PARTS = 64

Leaf = Callable[[str, str], bool | None]

_EQUALS = r"(?<![<>!=:])=(?!=)"
_NAME = re.compile(
    r"(?:[A-Za-z]|\\[a-z]+ ?)[A-Za-z0-9_{} \\]{0,40}(?:\^ ?\{ ?-1 ?\} ?)?(?:\([A-Za-z, ]{1,20}\))?"
    r"|[A-Za-z](?: ?[-+] ?[A-Za-z])+|\( ?[A-Za-z](?: ?, ?[A-Za-z]){1,5} ?\)"
)
_COMMAND = re.compile(r"\\[A-Za-z]+")
# "3 x 4 = 12" names no x, "50% of 24 = 12" nothing.
_TIMES = re.compile(r"(?<=[0-9)%]) ?(?:[xX]|of(?= )) ?(?=[-($.]*[0-9])")
_MEMBER = re.compile(r"(?P<name>[A-Za-z]|\\[a-z]+) ?\\in(?![A-Za-z]) ?")
_EMPTY = r"\emptyset"
_SUCH_THAT = re.compile(r"\\\{ ?[A-Za-z] ?(?:\\mid|:|\|) ?(.+)\\\}")
_REALS = re.compile(
    r"\( ?-\\infty ?, ?\+?\\infty ?\)|\\R|all real numbers?|[xyz] ?\\in ?\\mathbb ?\{R\}", re.IGNORECASE
)
_REMARK = re.compile(r"(.*[0-9A-Za-z}]) ?\(([A-Za-z][A-Za-z -]*)\)")
_LETTERS = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9' -]|(?<=[A-Za-z])\.)*")
_WORD = re.compile(r"(?<![A-Za-z\\])(?:[A-Za-z]{3,}|[Nn]o(?![A-Za-z]))")
_CHOICE = re.compile(r"\(? ?([A-Z]) ?[).:]{1,2} ")
_ALTERNATIVES = re.compile(r"(?<![A-Za-z\\])or(?![A-Za-z])")
_CLOCK = re.compile(r"(?<![0-9.])0[0-9]")  # "2:03" is no ratio
_RELATION = re.compile(r"[<>]|\\(?:le|ge|lt|gt)(?![A-Za-z])")


def same_answer(answer: str, reference: str) -> bool | None:
    """Compare with everything there is, algebra included, in this process and without any limit of time or memory.

    For text that a model wrote use `grader.Grader`.

    Example:
        >>> same_answer("18 dollars", "$18.00"), same_answer("0.5", "50"), same_answer("3", "")
        (True, False, None)
    """
    from lemma_train.grading.algebra import same_expression

    return compare(answer, reference, same_expression)


def compare(answer: str, reference: str, algebra: Leaf | None = None) -> bool | None:
    """Compare two answers part by part.

    Args:
        algebra: decides what numbers and words do not; it is given two cleaned expressions and returns None where the
            second cannot be read.

    Returns:
        None where `algebra` returned it and that matters, where the reference is blank, and where algebra is needed
        but not given.

    Example:
        >>> compare("1/2", "0.5"), compare("{2, 1}", "{1, 2}"), compare("x + 1", "1 + x")
        (True, True, None)
    """
    if not reference.strip():
        return None
    if max(len(answer), len(reference)) > MAX_CHARACTERS:
        return _squeezed(answer) == _squeezed(reference)
    return _same(clean(answer), clean(reference), algebra, 0)


def _squeezed(text: str) -> str:
    """Without the spaces that mean nothing; "2 1/2" keeps its own."""
    return re.sub(r"(?<![0-9]) | (?![0-9])", "", " ".join(text.split()))


def _same(answer: str, reference: str, algebra: Leaf | None, depth: int) -> bool | None:
    if _squeezed(answer) == _squeezed(reference):
        return True
    if depth > MAX_DEPTH:
        return False
    if _EMPTY in (answer.strip(), reference.strip()):
        return False
    answer, reference = _plain_set(answer), _plain_set(reference)
    if (amount := read_amount(answer)) or read_amount(reference):
        return _same_amount(amount, answer, reference)
    answer, reference, same_name = _without_names(answer, reference)
    if not same_name:
        return False
    (kind, parts), (wanted_kind, wanted) = structure_of(answer), structure_of(reference)
    if wanted_kind == "sequence" and kind in ("list", "()", "[]"):
        kind = wanted_kind
    if {kind, wanted_kind} == {"list", "union"} and _ALTERNATIVES.search(answer + reference):
        kind = wanted_kind = "union"  # "x < 2 or x > 5"
    if kind != wanted_kind:
        # An inequality may stand for an interval; nothing else changes its kind.
        if _RELATION.search(answer) or _RELATION.search(reference):
            return algebra(answer, reference) if algebra else None
        return False
    if kind == "one":
        return _same_one(parts[0], wanted[0], algebra)
    if len(parts) != len(wanted) or len(parts) > _MAX_PARTS:
        return False
    if kind in ("list", "union"):
        return _same_in_any_order(parts, wanted, algebra, depth + 1)
    verdicts = {_same(a, r, algebra, depth + 1) for a, r in zip(parts, wanted, strict=True)}
    return False if False in verdicts else None if None in verdicts else True


def _plain_set(text: str) -> str:
    r"""Of `\{x \mid x > 3\}` what holds for x, and one spelling for all real numbers."""
    such_that = _SUCH_THAT.fullmatch(text)
    text = such_that[1].strip() if such_that else text
    return r"\mathbb{R}" if _REALS.fullmatch(text) else text


def _same_in_any_order(parts: list[str], wanted: list[str], algebra: Leaf | None, depth: int) -> bool | None:
    left, unsure = list(parts), False
    for reference in wanted:
        verdicts = []
        for answer in left:
            verdicts.append(_same(answer, reference, algebra, depth))
            if verdicts[-1]:
                del left[len(verdicts) - 1]
                break
        else:
            if None not in verdicts:
                return False
            unsure = True
    return None if unsure else True


def _without_names(answer: str, reference: str) -> tuple[str, str, bool]:
    r"""Take `x =` and `x \in` off where they only name the value; False where the two name different things."""
    if (member := _MEMBER.match(answer)) or _MEMBER.match(reference):
        other = _MEMBER.match(reference)
        if member and other and member["name"] != other["name"]:
            return answer, reference, False
        answer, reference = _MEMBER.sub("", answer, count=1), _MEMBER.sub("", reference, count=1)
    given, wanted = _sides(answer), _sides(reference)
    if len(wanted) == 1:
        letters = re.search("[A-Za-z]", _TIMES.sub("", _COMMAND.sub("", given[0])))
        named = len(given) == 1 or _NAME.fullmatch(given[0]) or not letters
        return given[-1], reference, bool(named)
    if len(given) == 1:
        if read_number(wanted[0]):  # "1/2 = 50%"
            return answer, wanted[0], True
        return answer, wanted[-1], _NAME.fullmatch(wanted[0]) is not None
    if _NAME.fullmatch(given[0]) and _NAME.fullmatch(wanted[0]):
        if _squeezed(given[0]) == _squeezed(wanted[0]):
            return given[-1], wanted[-1], True
        # "x + y = 3" and "y = 3 - x" are one equation, "x = 5" and "y = 5" name two things.
        return answer, reference, re.search("[-+]", given[0] + wanted[0]) is not None
    return answer, reference, True


def _sides(text: str) -> list[str]:
    """The sides of an equation; a list of equations is one side."""
    sides = split(text, _EQUALS)
    if len(sides) > 2 or (len(sides) == 2 and not is_number(sides[1])):
        return sides if len(split(text, SEPARATOR)) == 1 else [text]
    return sides


def _same_one(answer: str, reference: str, algebra: Leaf | None) -> bool | None:
    time, wanted_time = read_time(answer), read_time(reference)
    ratio, wanted_ratio = _ratio(answer), _ratio(reference)
    # "10:15" alone may be either; beside "2:3" it is a ratio.
    both_times = (time and wanted_time) or _CLOCK.search(f"{answer} {reference}")
    both_ratios = bool(ratio and wanted_ratio) and not both_times
    if (time or wanted_time) and not both_ratios:
        return _same_time(time, wanted_time)
    if (based := read_based(answer)) or read_based(reference):
        wanted = read_based(reference)
        return based == wanted if based and wanted else (based or [answer])[0] == (wanted or [reference])[0]
    if len(reference) == 1 and (choice := _CHOICE.match(f"{answer} ")):
        return choice[1] == reference
    if ratio or wanted_ratio:
        if not all(ratio + wanted_ratio):  # "0 to 10" has no factor in common with "0 to 20"
            return ratio == wanted_ratio
        return len(ratio) == len(wanted_ratio) and all(
            a * wanted_ratio[0] == r * ratio[0] for a, r in zip(ratio, wanted_ratio, strict=True)
        )
    answer, unit = split_unit(_without_remark(answer))
    reference, wanted_unit = split_unit(_without_remark(reference))
    if unit and wanted_unit and unit != wanted_unit:
        factor, number, wanted_number = conversion(unit, wanted_unit), read_number(answer), read_number(reference)
        return bool(factor and number and wanted_number and number.value * factor == wanted_number.value)
    if _squeezed(answer) == _squeezed(reference):
        return True
    number, wanted_number = read_number(answer), read_number(reference)
    if number and wanted_number:
        if wanted_number.decimals is not None and wanted_number.decimals >= 2 and number.decimals is None:
            return abs(number.value - wanted_number.value) <= Fraction(1, 2 * 10**wanted_number.decimals)
        return number.value == wanted_number.value or _counts_the_same(answer, reference, wanted_number)
    if _LETTERS.fullmatch(reference) and _WORD.search(reference):
        return _words(answer) == _words(reference)
    if not answer or (_WORD.search(answer) and _LETTERS.fullmatch(answer)):
        return False
    return algebra(answer, reference) if algebra else None


def _without_remark(text: str) -> str:
    """Without the number once more in words: "5 (five)"."""
    remark = _REMARK.fullmatch(text)
    if not remark:
        return text
    number, repeated = read_number(remark[1]), read_number(clean(remark[2]))
    return remark[1] if number and repeated and number.value == repeated.value else text


def _same_amount(amount: Amount | None, answer: str, reference: str) -> bool:
    """Compare where at least one is an amount in several units; a bare number is taken in any of the other's units."""
    wanted = read_amount(reference)
    if amount and wanted:
        return (amount.measure, amount.value) == (wanted.measure, wanted.value)
    several = amount or wanted
    assert several is not None
    number_text, unit = split_unit(reference if amount else answer)
    number = read_number(number_text)
    return number is not None and any(number.value * size == several.value for size in several.sizes_of(unit or ""))


def _counts_the_same(answer: str, reference: str, wanted: PlainNumber) -> bool:
    """Whether a bare reference counts the millions of "26 million": they are its missing unit."""
    counted = re.fullmatch(r"(.+) (?:m|b|tr)illion", answer)
    number = read_number(counted[1]) if counted else None
    return number is not None and number.value == wanted.value and "illion" not in reference


def _ratio(text: str) -> list[Fraction]:
    """The terms of a ratio such as `2:3`; none for anything else."""
    terms = [read_number(term.strip()) for term in re.split(" to |:", text)]
    return [term.value for term in terms if term] if len(terms) > 1 and all(terms) else []


def _same_time(time: tuple[str, str, str] | None, wanted: tuple[str, str, str] | None) -> bool:
    if time is None or wanted is None or time[1] != wanted[1]:
        return False
    hours = [(int(hour) % 12 + 12 * (half == "p")) if half else int(hour) for hour, _, half in (time, wanted)]
    # Without a.m. or p.m. up to 12 either may be meant.
    either = not (time[2] and wanted[2]) and int(time[0]) <= 12 and int(wanted[0]) <= 12
    return hours[0] == hours[1] or (either and int(time[0]) == int(wanted[0]))


def _words(text: str) -> list[str]:
    return [word for word in text.casefold().replace(".", "").split() if word not in ("a", "an", "the")]
