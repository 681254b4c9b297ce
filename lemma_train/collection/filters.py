"""Whether a trajectory is one: a wrong beginning, a reflection and a continuation, with no trace of how it was made.

Enters: a draft, its question and its reference solution. Leaves: the reason why it is set aside, or None. It looks at
form only; whether the final answer is right is for grading. The rules about words know English.
"""

import re
from collections import Counter
from collections.abc import Iterator

from lemma_train.collection.leaks import leak_in, markup_in
from lemma_train.collection.records import Draft
from lemma_train.collection.reflections import finds_all_well, is_reflection
from lemma_train.collection.settings import Filters
from lemma_train.collection.steps import split_steps
from lemma_train.collection.working import (
    answer_known_beforehand,
    fault_of_working,
    repeats_the_mistake,
    states_answer,
)

_SHORTEST_STEP = 6  # characters; anything shorter may come up by chance
_SAME_STEP = 4  # a sentence may stand in the wrong part, in the doubt and in the right part
_LONGEST_CIRCLE = 12  # words
_CIRCLED = 24  # words that repeat those before them, so "very very big" and a list of the same coins stay


def fault_of_prefix(
    prefix: str, wrong_span: tuple[int, int], question: str, reference_solution: str | None, limits: Filters
) -> tuple[str, str] | None:
    """Why a wrong beginning can be part of no trajectory, as `(reason, sentence)`, or None where it can.

    Reasons: `no_wrong_prefix`, `too_long`, `prefix_is_right`, `leak`, `markup`, `repeats_itself`; see `fault_of`.
    """
    start, end = wrong_span
    wrong_part = prefix[start:end] if 0 <= start < end <= len(prefix) else ""
    if not any(character.isalnum() for character in wrong_part):
        return "no_wrong_prefix", f"The wrong part {wrong_span} of the prefix is empty."
    if len(prefix) > limits.max_characters:
        return "too_long", f"The prefix alone has {len(prefix)} characters, more than {limits.max_characters}."
    if reference_solution is not None and starts_with(reference_solution, prefix):
        return "prefix_is_right", "The prefix is how the reference solution begins; nothing in it is wrong."
    return traces_in("prefix", prefix, question) or _repeats(prefix)


def fault_of(
    draft: Draft, question: str, reference_solution: str | None, limits: Filters | None = None
) -> tuple[str, str] | None:
    """Why a draft is no trajectory, as `(reason, sentence)`, or None where it is one.

    - `no_wrong_prefix`: no letter or digit of the prefix is marked as wrong.
    - `too_short`, `too_long`: see `settings.Filters`.
    - `prefix_is_right`: the prefix, letter for letter but for case and spacing, is how the reference solution begins,
      or the reflection finds that all is well, or only says the wrong sum once more.
    - `no_reflection`: see `reflections.is_reflection`.
    - `leak`, `markup`: see `leaks`.
    - `repeats_itself`: a sentence stands four times, or the text goes round in a circle of at most twelve words.
    - `no_final_answer`: the continuation states none.
    - `unbroken`: fix_and_continue writes the wrong step again, word for word.
    - `no_working`, `untrue_sum`, `answer_from_nowhere`: see `working.fault_of_working`.
    """
    limits = limits or Filters()
    fault = fault_of_prefix(draft.prefix, draft.wrong_span, question, reference_solution, limits)
    if fault is not None:
        return fault
    output = draft.output
    if len(output) < limits.min_characters:
        return "too_short", f"The whole has {len(output)} characters, fewer than {limits.min_characters}."
    if len(output) > limits.max_characters:
        return "too_long", f"The whole has {len(output)} characters, more than {limits.max_characters}."
    wrong_step = draft.prefix[slice(*draft.wrong_span)]
    if finds_all_well(draft.reflection) or repeats_the_mistake(draft.reflection, wrong_step):
        return "prefix_is_right", f"The reflection finds nothing wrong: {draft.reflection[:120]!r}."
    if not is_reflection(draft.reflection):
        return "no_reflection", f"The reflection must doubt the last step, which {draft.reflection[:120]!r} does not."
    fault = traces_in("reflection", draft.reflection, question) or traces_in(
        "continuation", draft.continuation, question
    )
    fault = fault or _foreknown(draft, question) or _repeats(output)
    if fault is not None:
        return fault
    if not states_answer(draft.continuation):
        return "no_final_answer", 'The continuation must end with "The answer is X."'
    if draft.strategy == "fix_and_continue" and _holds_step(draft.continuation, wrong_step):
        return "unbroken", f"The continuation must mend the wrong step, not repeat it: {wrong_step[:80]!r}."
    return fault_of_working(draft, question)


def _foreknown(draft: Draft, question: str) -> tuple[str, str] | None:
    known = answer_known_beforehand(draft, question)
    return None if known is None else ("leak", f"The reflection must not name the answer before the work: {known!r}.")


def traces_in(name: str, part: str, question: str) -> tuple[str, str] | None:
    """The `leak` or `markup` in one part of a reply, as `(reason, sentence)`, or None. name: of the part."""
    if (found := leak_in(part, question, reflection=name == "reflection")) is not None:
        return "leak", f"The {name} must not say {found[:80]!r}; the writer knows nothing of it."
    if (found := markup_in(part)) is not None:
        return "markup", f"The {name} must not hold {found[:80]!r}; write plain text."
    return None


def _repeats(text: str) -> tuple[str, str] | None:
    repeated = repetition(text)
    return None if repeated is None else ("repeats_itself", f"The text says again and again {repeated[:80]!r}.")


def starts_with(text: str, beginning: str) -> bool:
    """Whether a text begins with the words of another; case and spacing make no difference."""
    words, first_words = text.casefold().split(), beginning.casefold().split()
    return bool(first_words) and words[: len(first_words)] == first_words


def repetition(text: str) -> str | None:
    """What a text says over and over, or None. Without words it may: 1 + 1 + 1 + 1 is a calculation."""
    steps = Counter(" ".join(text[start:end].casefold().split()) for start, end in split_steps(text))
    for step, count in steps.items():
        if count >= _SAME_STEP and len(step.split()) >= 3:
            return step
    return next(_circles(text.casefold().split()), None)


def _circles(words: list[str]) -> Iterator[str]:
    for length in range(1, _LONGEST_CIRCLE + 1):
        run = 0
        for index in range(length, len(words)):
            run = run + 1 if words[index] == words[index - length] else 0
            if run >= max(_CIRCLED, 3 * length):
                circle = words[index - length : index]
                if any(word.isalpha() and len(word) > 1 for word in circle):
                    yield " ".join(circle)
                break


def _holds_step(text: str, step: str) -> bool:
    """Whether the step stands in the text, letter for letter but for case, spacing and the stop at its end."""
    sought = " ".join(step.casefold().split()).strip(".,;:!")
    if len(sought) < _SHORTEST_STEP:
        return False
    whole = re.compile(rf"(?<![\w.]){re.escape(sought)}(?!\w|\.\d)")
    return whole.search(" ".join(text.casefold().split())) is not None
