r"""What a response, or a reference, states as its final answer.

Enters: the text of a response or of a reference. Leaves: the stated answer as it is written there, or None. It does not
judge: `equivalence` says whether two answers mean the same. Nothing here costs more than one pass over the last 20,000
characters.

The statements that are looked for, after the authors' evaluation (arXiv 2503.17439, section 4.1), in any order:

- `\boxed{...}` and `\fbox{...}` with nested braces, and `\boxed 5` without any;
- "the answer is X", "final answer: X", "Answer = X" and their like, markdown bold or not;
- a line `#### X`, as GSM8K ends its solutions.

The *last* statement of a text wins, whatever its kind: who goes on writing may correct himself. A statement that is
denied ("the answer is not 5", "isn't", "cannot be"), taken back by the next words ("Wait, that is wrong."), asked
("The answer is 5?") or supposed ("would be 5 if") is none, and what was taken back is not found again as a number. "The
answer is clear" counts only where nothing better is stated. Without any statement the last number of the text is taken,
with what it is a part of; see `prose`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from lemma_train.grading.boxes import find_boxes, holds_box, last_boxed
from lemma_train.grading.prose import (
    AFTERTHOUGHT,
    BEFORE_AMOUNT,
    FORMULA,
    GOES_ON,
    NUMBER,
    answer_in,
    bare,
    inside_of,
    is_prose,
    last_number,
)

SEARCHED_CHARACTERS = 20_000  # of a longer text only the end is searched

_STATEMENT_CHARACTERS = 2_500  # after "answer is"
_CUES = 50  # of more the last ones; bounds the work on hostile text
_BOLD = re.compile(r"(?<![0-9A-Za-z)])\*\*|\*\*(?![0-9A-Za-z(])")  # `2**10` is no markdown
_NEGATED = (
    r"(?:is|are|was)n['\u2019]?t|(?:ca|could|should|must|will|would|does|did)n['\u2019]?t (?:be|equal)"
    r"|(?:can|could|should|must|will|would|does|did) ?not (?:be|equal)"
)
_CUE = re.compile(
    r"\banswers?(?:(?: (?:(?:to|for|of) (?:the|this|that|part|question|problem|your)|in|here|then|now|therefore"
    r"|thus|must|should|would|will|we|you)\b[^.,\n:=!?]{0,60}?)?"
    rf"\s(?:(?P<negated>{_NEGATED})|is|are|was|equals|be)\b|\s*[:=])",
    re.IGNORECASE,
)
_CHECK = re.compile(
    r"\b(?:check|verify|confirm)(?:ing)? (?:[a-z]+ )?$", re.IGNORECASE
)  # "let us check our answer: ..."
_HASHES = re.compile(r"^####[ \t]*(\S[^\n]*)$", re.MULTILINE)
_HASH_ANSWER = re.compile(r"[-+$\\(\[{.0-9€£]|\S+$")  # and not "#### Step 2"
_PAIRS = tuple(
    (opening, re.compile(closing))
    for opening, closing in (("$$", r"\$\$"), ("\\[", r"\\\]"), ("\\(", r"\\\)"), ("$", r"(?<!\\)\$"))
)
# A point behind these is none of a sentence's: "Mr. Hale", "5 ft. 4 in.", "Rs. 18".
_NEXT_FORMULA = re.compile(r"(?:,|,? (?:and|or)) ?(?=[$\\])")
_SENTENCE_END = re.compile(
    r"\n|(?:[!?]|\.(?<!\.m\.)(?<!\b(?:sq|cu|Mr|Dr|Ms|Rs|St)\.)(?<!\bMrs\.)(?<!\b(?:ft|hr|lb|oz)\.(?=\s[0-9])))(?=\s|$)"
    r"|\sI hope\b"
)
_HEDGE = re.compile(
    r"(?:that|thus|therefore|so|then|just|simply|exactly|approximately|about|around|roughly|equal to|equals|option"
    r"|choice|given by|is|the|on(?= (?-i:[A-Z]))|a total of|either|both"
    r"|(?:certain|sure|definite|clear|obvious|actual|real|probab)l?ly)\b[\s:,]*",
    re.IGNORECASE,
)
_NOTHING_SAID = re.compile(r"(?:correct|right|clear|obvious|given|found|as follows|below|above)\b", re.IGNORECASE)
_DENIAL = re.compile(r"(?:not|never|no longer|wrong|incorrect)\b(?: (?:necessarily|really|yet))?[\s:,]*", re.IGNORECASE)
_RATHER = re.compile(r"[,;]? (?:but(?: rather)?|it['\u2019]s|it (?:is|must be|should be)|rather|instead)\b[\s:,]*")
_SUM_BEHIND = re.compile(r"(?<=\S) \([^()=]*=[^()]*\)(?![^\s.,;:])")  # "12 apples (5 + 7 = 12)"
_CLAUSE_END = re.compile(r"[,;] (?:so|and|then|hence|thus|therefore|but|it)\b")
_CONDITION = re.compile(r"\b(?:if|unless|had|provided)\b")
_WRONG = (
    r"(?:(?:is|was|seems|looks|must be|would be)(?: (?!not\b)[a-z]+)? |['\u2019]s (?:(?!not\b)[a-z]+ )?)"
    r"(?:wrong|incorrect|false|a mistake|an error|not (?:right|correct|true))(?! to\b)"
    r"|(?:is|was)n['\u2019]t (?:right|correct|true)"
    r"|(?:cannot|can['\u2019]t|could not|couldn['\u2019]t) be (?:right|correct|true)"
)
_SUBJECT = r"(?:that|this|it|which|(?:the|my|this|our) (?:final )?answer(?: above)?)"
# What takes back the statement that it directly follows.
_TAKEN_BACK = re.compile(
    r"[\s.!?,;:$*)\]]*"
    r"(?:(?:but|wait|no|oh|hmm+|hold on|actually|sorry|oops|however|though|hang on|i see|yet)\b[\s,.!\u2026-]*)*"
    rf"(?:{_SUBJECT} ?(?:{_WRONG})\b|(?:i|we)(?: have|['\u2019]ve)? made (?:a|an) (?:mistake|error)\b)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class _Statement:
    """answer: what is stated or, where `denied`, what is said not to be the answer ("" where no value is named)."""

    start: int
    end: int
    answer: str
    denied: bool = False


def extract_answer(response: str) -> str | None:
    r"""The final answer that a response states; None where it states none and holds no number.

    Example:
        >>> extract_answer("So it is \\boxed{5}. Wait, I forgot the rest. The answer is: 15.")
        '15'
    """
    text = _BOLD.sub("", response[-SEARCHED_CHARACTERS:])
    statements = _statements(text)
    denied = {bare(one.answer) for one in statements if one.denied and one.answer}
    kept = [one for i, one in enumerate(statements) if not one.denied and not _is_denied(one, statements[i + 1 :])]
    given_up = [one for one in statements if not one.denied and one not in kept]
    if given_up and not (kept and kept[-1].start > given_up[-1].start):
        # The last thing stated was taken back: what comes after it counts before what was stated earlier.
        after = last_number(_without_denials(text, statements)[given_up[-1].end :], denied)
        if after is not None:
            return after
    if kept:
        return _best(kept)
    return last_number(_without_denials(text, statements), denied)


def states_answer(response: str) -> bool:
    """Whether a text states a final answer, rather than only ending in a number.

    Example:
        >>> states_answer("The final answer should be 13."), states_answer("So she has 13.")
        (True, False)
    """
    return any(not one.denied for one in _statements(_BOLD.sub("", response[-SEARCHED_CHARACTERS:])))


def _is_denied(statement: _Statement, later: list[_Statement]) -> bool:
    return any(one.denied and one.answer and bare(one.answer) == bare(statement.answer) for one in later)


def _without_denials(text: str, statements: list[_Statement]) -> str:
    """The text with blanks where an answer is denied; every place stays where it was."""
    for one in statements:
        if one.denied:
            text = text[: one.start] + " " * (one.end - one.start) + text[one.end :]
    return text


def extract_reference(text: str) -> str | None:
    r"""The answer of a reference: a GSM8K or MATH solution, or the bare answer itself; None for blank text.

    Example:
        >>> extract_reference("3 * 24 = 72\n#### 72"), extract_reference("$y = \\boxed{x^2}$."), extract_reference("-4")
        ('72', 'x^2', '-4')
    """
    _, hashes, last_line = text.rpartition("####")
    if hashes:
        return last_line.strip().partition("\n")[0].strip() or None
    tail = text[-SEARCHED_CHARACTERS:]
    if holds_box(tail):
        return last_boxed(tail)
    stated = [one for one in _statements(tail) if not one.denied] if _CUE.search(tail) else []
    return (_best(stated) if stated else None) or text.strip() or None


def _statements(text: str) -> list[_Statement]:
    """All statements in their order; one that the next words take back is followed by its denial."""
    boxes = [_Statement(box.start, box.end, box.content) for box in find_boxes(text) if box.content]
    found = sorted([*boxes, *_hashes(text), *_said(text)], key=lambda one: one.start)
    statements = []
    for one in found:
        statements.append(one)
        if not one.denied and (taken := _TAKEN_BACK.match(text, one.end)):
            statements.append(replace(one, start=one.end, end=taken.end(), denied=True))
    return statements


def _best(statements: list[_Statement]) -> str:
    firm = [one for one in statements if not _is_words(one.answer)]
    return (firm or statements)[-1].answer


def _is_words(answer: str) -> bool:
    """Words such as "clear" or "Monday", against numbers, formulas and the letter of a choice."""
    return not re.search(r"[0-9\\]", answer) and is_prose(answer)


def _hashes(text: str) -> Iterator[_Statement]:
    for line in _HASHES.finditer(text):
        if _HASH_ANSWER.match(line[1].strip()):
            yield _Statement(line.start(), line.end(), line[1].strip().rstrip("."))


def _said(text: str) -> Iterator[_Statement]:
    for cue in list(_CUE.finditer(text))[-_CUES:]:
        if _CHECK.search(text[max(0, cue.start() - 30) : cue.start()]):
            continue
        after = text[cue.end() : cue.end() + _STATEMENT_CHARACTERS]
        rest = after.lstrip(" \t\r\n:=")
        begin = cue.end() + len(after) - len(rest)
        formula = _leading_formula(rest)
        if formula and not cue["negated"]:
            answer, length = formula
            if not _is_asked(rest[length:]):
                yield _Statement(cue.start(), begin + length, answer)
            continue
        ended = _SENTENCE_END.search(rest)
        length = ended.start() if ended else len(rest)
        sentence = _unhedged(rest[:length])
        denial = _DENIAL.match(sentence)
        if cue["negated"] and _NOTHING_SAID.match(sentence):
            continue
        if denial or cue["negated"]:
            sentence = sentence[denial.end() :] if denial else sentence
            rather = _RATHER.search(sentence)
            wrong = _told(sentence[: rather.start()] if rather else sentence)
            if wrong and not _is_words(wrong):
                clause = _CLAUSE_END.search(rest, 0, length)
                yield _Statement(cue.start(), begin + (clause.start() if clause else length), wrong, denied=True)
            if rather and wrong and (right := _told(sentence[rather.end() :])):
                yield _Statement(cue.start(), begin + length, right)
            continue
        supposed = "would" in cue[0].lower() and _CONDITION.search(sentence)
        if supposed or (ended and ended[0] == "?"):
            continue
        answer_told = _told(sentence)
        if answer_told:
            objection = re.search(r", but\b", rest[:length])
            yield _Statement(cue.start(), begin + (objection.start() if objection else length), answer_told)


def _is_asked(rest: str) -> bool:
    return rest.lstrip()[:1] == "?"


def _unhedged(sentence: str) -> str:
    sentence = " ".join(sentence.split())
    while hedge := _HEDGE.match(sentence):
        sentence = sentence[hedge.end() :]
    return sentence.strip('*`"\u201c\u201d ').rstrip(".,;:!").strip('*`"\u201c\u201d ')


def _told(text: str) -> str | None:
    """The answer at the beginning of what follows "the answer is", up to the end of the sentence."""
    sentence = _unhedged(text)
    if NUMBER.match(sentence):
        sentence = _SUM_BEHIND.sub("", sentence)
    if not sentence or _NOTHING_SAID.match(sentence) or holds_box(sentence):
        return None
    if not is_prose(sentence):
        return sentence
    told = AFTERTHOUGHT.sub("", sentence).strip()
    segments = [segment for segment in map(inside_of, FORMULA.finditer(told)) if segment]
    if segments:
        if not is_prose(FORMULA.sub("", told)):
            return told
        leading = end = FORMULA.match(told)
        while end and (following := _NEXT_FORMULA.match(told, end.end())):
            end = FORMULA.match(told, following.end())
        if leading and end and end is not leading:
            return told[: end.end()]
        return segments[0] if leading else segments[-1]
    return told if "\\" in told else answer_in(sentence)


def _leading_formula(rest: str) -> tuple[str, int] | None:
    """A formula between its signs at the beginning, and where it ends; None where the answer goes on behind it."""
    for opening, closing in _PAIRS:
        if rest.startswith(opening):
            closed = closing.search(rest, len(opening))
            inside = rest[len(opening) : closed.start()].strip() if closed else ""
            if not closed or not inside or GOES_ON.match(rest, closed.end()) or holds_box(inside):
                return None
            dollars = "\n" in inside or (is_prose(inside) and "\\" not in inside)
            if opening == "$" and (dollars or BEFORE_AMOUNT.match(rest, closed.end())):
                return None
            return inside.rstrip(".,").strip(), closed.end()
    return None
