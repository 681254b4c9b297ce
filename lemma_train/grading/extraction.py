r"""What a response, or a reference, states as its final answer.

Enters: the text of a response or of a reference. Leaves: the stated answer as it is written there, or None. It does not
judge: `equivalence` says whether two answers mean the same. Nothing here costs more than one pass over the last 20,000
characters.

The statements that are looked for, after the authors' evaluation (arXiv 2503.17439, section 4.1), in any order:

- `\boxed{...}` and `\fbox{...}` with nested braces, and `\boxed 5` without any;
- "the answer is X", "final answer: X", "Answer = X" and their like, markdown bold or not;
- a line `#### X`, as GSM8K ends its solutions.

The *last* statement of a text wins, whatever its kind: who goes on writing may correct himself. "The answer is clear"
counts only where nothing better is stated. Without any statement the last number of the text is taken; where that
number stands in a formula, the right side of the formula.
"""

import re
from collections import deque
from collections.abc import Iterator

SEARCHED_CHARACTERS = 20_000  # of a longer text only the end is searched

_STATEMENT_CHARACTERS = 2_500  # after "answer is"
_CUES = 50  # of more the last ones; bounds the work on hostile text
_BOLD = re.compile(r"(?<![0-9A-Za-z)])\*\*|\*\*(?![0-9A-Za-z(])")  # `2**10` is no markdown
_BOX = re.compile(r"\\(?:boxed|fbox)(?![A-Za-z])\s*")
_UNBRACED = re.compile(r"[^\s{}$\\]{1,100}")
_CUE = re.compile(
    r"\banswers?(?:(?: (?:(?:to|for|of) (?:the|this|that|part|question|problem|your)|in|here|then|now|therefore"
    r"|thus|must|should|would|will|we|you)\b[^.,\n:=!?]{0,60}?)?"
    r"\s(?:is|are|was|equals|be)\b|\s*[:=])",
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
_SENTENCE_END = re.compile(r"\n|(?<!\.m)(?<!\bsq)(?<!\bcu)[.!?](?=\s|$)|\sI hope\b")
_GOES_ON = re.compile(r"\s*(?:,|\b(?:and|or) (?=[-+$\\(\[0-9])|\\%|%|[-+=*/^:])")
_HEDGE = re.compile(
    r"(?:that|thus|therefore|so|then|just|simply|exactly|approximately|about|around|roughly|equal to|equals|option"
    r"|choice|given by|is|the|a total of)\b[\s:,]*",
    re.IGNORECASE,
)
_DENIAL = re.compile(r"(?:not|wrong|incorrect|correct|right|clear|obvious|given|found|as follows|below|above)\b", re.I)
_AFTERTHOUGHT = re.compile(
    r",? (?:because|since|so|which|where|when|for|per|from|on|at|after|of the|in total|altogether)\b.*"
)
_PROSE = re.compile(r"(?<![\\A-Za-z])[A-Za-z][a-z]{2,}(?![A-Za-z])")
# A number may begin only where no other number or name goes on, which also keeps the search linear.
_NUMBER = re.compile(
    r"(?<![0-9A-Za-z.)])-?(?:[$€£]\s?)?(?:\\[dt]?frac\{-?[0-9]+\}\{[0-9]+\}"
    r"|[0-9]{1,3}(?:,[0-9]{3}(?![0-9]))+(?:\.[0-9]+)?|[0-9]{1,2}(?::[0-9]{2}){1,2}(?![0-9])(?: ?[aApP]\.?[mM]\b\.?)?"
    r"|[0-9]+(?:\.[0-9]+)?(?:/[0-9]+)?|\.[0-9]+)(?:\s?\\?%)?"
)
_FORMULA = re.compile(r"(?<!\\)\$([^$\n]{1,300})(?<!\\)\$|\\\(([^\n]{1,300}?)\\\)|\\\[(.{1,300}?)\\\]", re.DOTALL)


def extract_answer(response: str) -> str | None:
    r"""The final answer that a response states; None where it states none and holds no number.

    Example:
        >>> extract_answer("So it is \\boxed{5}. Wait, I forgot the rest. The answer is: 15.")
        '15'
    """
    text = _BOLD.sub("", response[-SEARCHED_CHARACTERS:])
    stated = _last_statement(text)
    return stated if stated is not None else _last_number(text)


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
    if _BOX.search(tail):
        boxes = [answer for _, answer in _boxes(tail)]
        return boxes[-1] if boxes else None
    return (_last_statement(tail) if _CUE.search(tail) else None) or text.strip() or None


def _last_statement(text: str) -> str | None:
    found = [*_boxes(text), *_hashes(text), *_said(text)]
    firm = [(start, answer) for start, answer in found if not _is_words(answer)]
    return max(firm or found)[1] if found else None


def _is_words(answer: str) -> bool:
    """Words such as "clear" or "Monday", against numbers, formulas and the letter of a choice."""
    return not re.search(r"[0-9\\]", answer) and _PROSE.search(answer) is not None


def _boxes(text: str) -> Iterator[tuple[int, str]]:
    opened = list(_BOX.finditer(text))
    closing = _closing_braces(text) if opened else {}
    for box in opened:
        start = box.end()
        if start in closing:
            answer = text[start + 1 : closing[start]].strip()
        else:  # an open brace that nothing closes is an answer cut off
            unbraced = _UNBRACED.match(text, start)
            answer = unbraced[0].rstrip(".,;:)") if unbraced else ""
        if answer:
            yield box.start(), answer


def _closing_braces(text: str) -> dict[int, int]:
    """Where each brace that is closed is closed, in one pass; `\\{` is no brace."""
    closing: dict[int, int] = {}
    opened: list[int] = []
    for brace in re.finditer(r"\\.|[{}]", text, re.DOTALL):
        if brace[0] == "{":
            opened.append(brace.start())
        elif brace[0] == "}" and opened:
            closing[opened.pop()] = brace.start()
    return closing


def _hashes(text: str) -> Iterator[tuple[int, str]]:
    for line in _HASHES.finditer(text):
        if _HASH_ANSWER.match(line[1].strip()):
            yield line.start(), line[1].strip().rstrip(".")


def _said(text: str) -> Iterator[tuple[int, str]]:
    for cue in list(_CUE.finditer(text))[-_CUES:]:
        if _CHECK.search(text[max(0, cue.start() - 30) : cue.start()]):
            continue
        answer = _told(text[cue.end() : cue.end() + _STATEMENT_CHARACTERS].lstrip(" \t\r\n:="))
        if answer:
            yield cue.start(), answer


def _told(rest: str) -> str | None:
    """The answer at the beginning of what follows "the answer is"."""
    formula = _leading_formula(rest)
    if formula is not None:
        return formula
    end = _SENTENCE_END.search(rest)
    sentence = " ".join((rest[: end.start()] if end else rest).split())
    while hedge := _HEDGE.match(sentence):
        sentence = sentence[hedge.end() :]
    sentence = sentence.strip().rstrip(".,;:!").strip()
    if not sentence or _DENIAL.match(sentence) or _BOX.search(sentence):
        return None
    if not _is_prose(sentence):
        return sentence
    segments = [segment for segment in (_inside(formula) for formula in _FORMULA.finditer(sentence)) if segment]
    if segments:
        return segments[-1] if _is_prose(_FORMULA.sub("", sentence)) else sentence
    return _AFTERTHOUGHT.sub("", sentence) if "\\" in sentence else _out_of_prose(sentence)


def _is_prose(text: str) -> bool:
    return _PROSE.search(re.sub(r"\band\b", "", text)) is not None


def _leading_formula(rest: str) -> str | None:
    for opening, closing in _PAIRS:
        if rest.startswith(opening):
            closed = closing.search(rest, len(opening))
            inside = rest[len(opening) : closed.start()].strip() if closed else ""
            prose = opening == "$" and ("\n" in inside or (_PROSE.search(inside) and "\\" not in inside))
            if not closed or not inside or prose or _GOES_ON.match(rest, closed.end()) or _BOX.search(inside):
                return None
            return inside.rstrip(".,").strip()
    return None


def _out_of_prose(sentence: str) -> str | None:
    """The number among plain words ("18 dollars a week for her"), or the words where they are few ("Monday")."""
    number = _NUMBER.match(sentence)
    if number:
        rest = sentence[number.end() :]
        told = _AFTERTHOUGHT.sub("", rest)
        whole = _GOES_ON.match(rest) or (len(told.split()) <= 3 and not re.search("[0-9]", told))
        return (number[0] + told).strip() if whole else number[0].strip()
    numbers = _NUMBER.findall(sentence)
    if numbers:
        return str(numbers[-1]).strip()
    return sentence if len(sentence.split()) <= 3 else None


def _inside(formula: re.Match[str]) -> str | None:
    """What stands between the signs, unless these are the dollars of "pays $5 and keeps $3"."""
    inside = str(formula[formula.lastindex or 0])
    return None if _PROSE.search(inside) and "\\" not in inside else inside.strip().rstrip(".,").strip()


def _last_number(text: str) -> str | None:
    numbers = deque(_NUMBER.finditer(text), maxlen=1)
    if not numbers:
        return None
    last = numbers[0]
    for formula in _FORMULA.finditer(text):
        inside = _inside(formula)
        if inside and formula.start() <= last.start() < formula.end():
            return re.split(r"(?<![<>!\\])=", inside)[-1].strip() or None
    return last[0].strip()
