"""Whether the fields of a teacher's reply make sense, one function a task.

Enters: the fields of `parse_reply` and the inputs of the request. Leaves: clean values, or a `ReplyFault` whose advice
goes back to the teacher. Whether answers are right is for grading, and whether a whole trajectory is sound, its doubt,
its final answer and its words, for `filters`.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

from lemma_train.collection.filters import starts_with, traces_in
from lemma_train.collection.reflections import is_reflection
from lemma_train.collection.replies import ReplyFault
from lemma_train.collection.steps import split_steps
from lemma_train.collection.taxonomy import Taxonomy
from lemma_train.collection.words import words
from lemma_train.collection.working import states_answer
from lemma_train.llm.offline.equations import equations_of
from lemma_train.llm.offline.figures import Figures

Fields = Mapping[str, Any]

# Words of a verdict that mean the same.
_VERDICTS = {"wrong": "wrong", "incorrect": "wrong", "correct": "correct", "right": "correct"}


def check_analysis(fields: Fields, inputs: Fields, taxonomy: Taxonomy) -> tuple[str, int, str]:
    """The error type by its canonical name, the first wrong step (1-based index into `inputs["steps"]`) and why.

    A verdict of "correct" is never an error, whatever type is named beside it.

    Raises:
        ReplyFault: `wrong_type`, `called_correct`, `unknown_type`, `step_out_of_range` or `empty_field`.
    """
    verdict = _VERDICTS.get(fields["verdict"].strip(" .*'\"`").casefold())
    if verdict is None:
        raise ReplyFault("wrong_type", 'The verdict must be "wrong" or "correct".')
    if verdict == "correct":
        raise ReplyFault(
            "called_correct",
            f"The student's final answer does not equal the right answer {inputs['reference_answer']}, so one of the "
            "steps is wrong; look for the first.",
        )
    allowed = [type_["name"] for type_ in inputs.get("error_types") or ()] or list(taxonomy.names)
    named = taxonomy.canonical(fields["error_type"].strip(" .*'\"`"))
    if named is None or named not in allowed:
        raise ReplyFault("unknown_type", f"The error_type must be one of {', '.join(allowed)}.")
    step, count = fields["first_wrong_step"], len(inputs["steps"])
    if not 1 <= step <= count:
        raise ReplyFault("step_out_of_range", f"The first_wrong_step must be a number from 1 to {count}.")
    return named, step, _filled("explanation", fields)


def check_injection(fields: Fields, inputs: Fields) -> tuple[list[str], int, str]:
    """The steps of the wrong solution, the number of the wrong one (1-based) and what is wrong with it.

    Raises:
        ReplyFault: `empty_field`, `step_out_of_range`, `unchanged`, `leak`, `markup` or `no_final_answer`.
    """
    steps = [step.strip() for step in fields["steps"]]
    if not steps or not all(any(character.isalnum() for character in step) for step in steps):
        raise ReplyFault("empty_field", "Every item of steps must hold a written step.")
    if not 1 <= fields["wrong_step"] <= len(steps):
        raise ReplyFault("step_out_of_range", f"The wrong_step must be a number from 1 to {len(steps)}.")
    text, reference = "\n".join(steps), inputs["reference_solution"]
    if reference is not None and text.casefold().split() == reference.casefold().split():
        raise ReplyFault("unchanged", "The steps are the right solution itself; put the mistake in.")
    if (found := traces_in("steps", text, inputs["question"])) is not None:
        raise ReplyFault(*found)
    if not states_answer(steps[-1]):
        raise ReplyFault("no_final_answer", 'The last step must state the final answer as "The answer is X."')
    return steps, fields["wrong_step"], _filled("explanation", fields)


def check_correction(fields: Fields, inputs: Fields) -> tuple[str, str]:
    """The reflection and the continuation, for both ways of correcting.

    What the continuation repeats of the prefix or of the reflection, word for word and at its beginning, is cut off.

    Raises:
        ReplyFault: `empty_field` or `no_reflection`.
    """
    reflection, continuation = _filled("reflection", fields), _filled("continuation", fields)
    for repeated in (inputs["prefix"], reflection):
        continuation = _without(repeated, continuation)
    if not any(character.isalnum() for character in continuation):
        raise ReplyFault("empty_field", "The continuation must go on after the reflection, to the final answer.")
    if starts_with(continuation, reflection) or starts_with(reflection, continuation):
        raise ReplyFault(
            "no_reflection", "The reflection must doubt the last step in its own words before the continuation starts."
        )
    return reflection, continuation


def check_smoothing(fields: Fields, inputs: Fields) -> tuple[str, tuple[int, int], str, str]:
    """The new parts: prefix, where the wrong step lies in it, reflection and continuation.

    The wrong step is found by its words where they were kept, else as the fewest last steps of the prefix that hold all
    of its numbers; without numbers it is the last step, which must keep half of its words. It may bring in no number
    that neither prefix nor question had, no other sign of a sum, and no doubt. The span is `[start, end)` characters of
    the new prefix.

    Raises:
        ReplyFault: `empty_field`, `no_reflection`, `lost_mistake`, `too_short` or `too_long` (the whole, the prefix or
            the continuation below half or above twice its length before; a part may grow by 80 characters more).
    """
    prefix = _filled("prefix", fields)
    reflection, continuation = check_correction(fields, {"prefix": prefix})
    span = _wrong_span(prefix, inputs["wrong_step"])
    if span is None:
        raise ReplyFault(
            "lost_mistake", "The prefix must end with the wrong step, still wrong, with every number that it had."
        )
    if not _keeps_the_mistake(prefix, span, inputs):
        raise ReplyFault(
            "lost_mistake",
            "The prefix must end with the wrong step as wrong as it was: no new number, no other sign, no doubt in it; "
            "the doubt begins in the reflection.",
        )
    before = sum(len(inputs[part]) for part in ("prefix", "reflection", "continuation"))
    _check_length("the whole text", len(prefix) + len(reflection) + len(continuation), before, slack=0)
    _check_length("the prefix", len(prefix), len(inputs["prefix"]), slack=80)
    _check_length("the continuation", len(continuation), len(inputs["continuation"]), slack=80)
    return prefix, span, reflection, continuation


def _check_length(what: str, length: int, before: int, slack: int) -> None:
    if 2 * length < before:
        raise ReplyFault("too_short", f"Keep {what} about as long as it was; it lost more than half.")
    if length > 2 * before + slack:
        raise ReplyFault("too_long", f"Keep {what} about as long as it was; it more than doubled.")


def _filled(name: str, fields: Fields) -> str:
    text = fields[name].strip()
    if not any(character.isalnum() for character in text):
        raise ReplyFault("empty_field", f"The field {name} must not be empty.")
    return str(text)


def _without(beginning: str, text: str) -> str:
    """The text without a beginning that repeats the words of another text."""
    if not starts_with(text, beginning):
        return text
    words = re.finditer(r"\S+", text)
    end = 0
    for _ in beginning.split():
        end = next(words).end()
    return text[end:].lstrip()


_NUMBER = re.compile(r"[0-9]+(?:,[0-9]{3})*(?:\.[0-9]+)?")


def _numbers(text: str) -> set[Decimal]:
    return {Decimal(written.replace(",", "")) for written in _NUMBER.findall(text)}


_LABEL = re.compile(r"^\s*(?:[Ss]tep\s+)?[0-9]{1,2}[.):](?=\s)", re.MULTILINE)
# "84 - 50 is 34, not 44", "one could think 44": the step is taken back where it is made.
_TAKEN_BACK = re.compile(
    r"\b(?:,|and|but) not\b|\bnot [$\u00a3\u20ac]?[0-9]|\brather than\b|\b(?:could|might|would|may) think\b"
    r"|\bor rather\b|\b(?:wrongly|mistakenly|by mistake|supposedly|allegedly)\b",
    re.IGNORECASE,
)


def _keeps_the_mistake(prefix: str, span: tuple[int, int], inputs: Fields) -> bool:
    """Whether the step in this span of the new prefix is as wrong as the old one, as far as can be seen."""
    part, old = prefix[slice(*span)], inputs["wrong_step"]
    known = Figures.of(f"{inputs['question']}\n{inputs['prefix']}")
    old_numbers = _numbers(inputs["prefix"]) | _numbers(inputs["question"])
    for number in _numbers(_LABEL.sub("", prefix)) - old_numbers - {Decimal(1)}:
        if not (known.has(Fraction(number)) or known.derives(Fraction(number))):
            return False  # "half of it" may become "40 / 2"
    for pattern in (_TAKEN_BACK.search, is_reflection):
        if pattern(part) and not pattern(inputs["prefix"]):
            return False
    if _sums_turned(part, old):
        return False
    said = set(words(old))
    return bool(_numbers(old)) or 2 * len(said & set(words(part))) >= len(said)


def _sums_turned(part: str, old: str) -> bool:
    """Whether a sum of the old step has other signs now, or another result."""
    for now in equations_of(part):
        for before in equations_of(old):
            same = [n.value for n in now.left.numbers] == [n.value for n in before.left.numbers]
            signs = [sign.text for sign in now.left.operators] == [sign.text for sign in before.left.operators]
            if same and not (signs and now.right.value == before.right.value):
                return True
    return False


def _wrong_span(prefix: str, wrong_step: str) -> tuple[int, int] | None:
    """The wrong step at the end of a prefix, or None where its numbers are not there."""
    if prefix.endswith(wrong_step):
        return len(prefix) - len(wrong_step), len(prefix)
    steps = split_steps(prefix)
    sought = _numbers(wrong_step)
    # One step may have become two, hardly more.
    for start, _ in reversed(steps[-len(split_steps(wrong_step)) - 1 :]):
        if sought <= _numbers(prefix[start:]):
            return start, len(prefix)
    return None
