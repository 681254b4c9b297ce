r"""Where the steps of a written solution begin and end: lines end steps, and inside a line sentences do.

Enters: any text, by a person or a model. Leaves: spans. It judges nothing and changes no character. The authors of
LEMMA split at ". " or ".\n", which breaks "Mr. Smith" and formulas; here a stop ends a step unless a rule below says
that it belongs to an abbreviation, a label, a name or an ellipsis, and never inside a formula.

How it works: formulas are masked with characters of the same number that no rule takes for text, so one pass over the
gaps between words sees every possible boundary. The rules read a bounded piece of text on each side: the time grows
with the length of the text and no faster (but for a logarithm where formulas are looked up).
"""

import re
from bisect import bisect_left, bisect_right
from itertools import pairwise

# What a formula is masked with: four characters of Unicode's private use area.
_INLINE, _INLINE_STOP, _DISPLAY, _DISPLAY_STOP = "\ue000", "\ue001", "\ue002", "\ue003"
_NOT_PRIVATE = dict.fromkeys(map(ord, (_INLINE, _INLINE_STOP, _DISPLAY, _DISPLAY_STOP)), "x")

# Boundaries lie at white space; a display formula and a CJK full stop may also be followed by text at once.
_CJK_STOPS = "\u3002\uff01\uff1f"
_GAP = re.compile(rf"\s+|(?<=[{_DISPLAY}{_DISPLAY_STOP}])(?=[^\W\d_])|(?<=[{_CJK_STOPS}])(?=[^\s{_CJK_STOPS}])")
_NEWLINE = re.compile(r"[\n\r\u2028\u2029]")
_BEFORE, _AFTER = 80, 40  # how many characters on each side the rules look at

_CLOSING_QUOTES = "\"'\u201d\u2019\u00bb"
_STOP = re.compile(rf"([.?!\u2026{_CJK_STOPS}{_INLINE_STOP}{_DISPLAY_STOP}]+)([{_CLOSING_QUOTES})\]}}*_]*)$")
_LAST_WORD = re.compile(r"[^\s(\[{\"'\u201c\u2018*]*$")
_FIRST_WORD = re.compile(r"[^\W\d_]+")
# Signs that go on with a sentence or a sum; a dash, a star or a minus does where white space follows it.
_GO_ON = "=+/<>\u00d7\u00f7\u00b7,;:|&"
_GO_ON_APART = "*-\u2212\u2013"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Followed by anything, these never end a sentence.
_TITLES = _words("mr mrs ms dr prof rev gen st mt e.g i.e vs cf approx ca resp w.r.t viz")
# These do not end a sentence where a number follows ("No. 5", "Fig. 2").
_NUMBERED = _words("no nos fig figs eq eqn eqs sec ch thm vol p pp pg ex prob")
# These end a sentence only where the next one opens with a capital letter or a formula.
_ABBREVIATIONS = _words(
    "etc a.m p.m am pm jr sr inc ltd co corp al avg min max hr hrs sec secs mins in ft yd yds mi oz lb lbs sq cu cm mm "
    "km kg mg ml gal qt pt dept est incl excl temp tbsp tsp doz pkg jan feb mar apr jun jul aug sep sept oct nov dec "
    "mon tue tues wed thu thur thurs fri sat sun ave blvd rd"
)
_TIMES = _words("a.m p.m am pm")
_WEEKDAYS = _words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
# What follows "U.S." or "Robert E." is another sentence only where it opens with one of these.
_OPENERS = _words(
    "The A An This That These Those There Then Thus Therefore So Since Hence He She It They We I You His Her Its Their "
    "Our If In On At As For From By To And But Or Now Next First Second Third Finally Let When While After Before "
    "Because Here Each Every All Both How What Which Who Note Also However Again Step Wait Find Add Subtract Multiply "
    "Divide Substituting Adding Using Given With Similarly Total Answer"
)
_INITIALS = re.compile(r"(?:[A-Z]\.)*[A-Z]")
# A letter after one of these is a point, a choice or a set, not somebody's first name.
_LETTERED = _words(
    "is are be point points angle angles side line segment set sets choice option answer letter group team box bag "
    "part case type class row column plan event vertex matrix triangle and or to than of equals = : -> vitamin grade"
)
_LABEL = re.compile(
    r"[\s#>*_\u2022\u2013\u2014-]*(?:(?:Step|Case|Part|Method|Question|Problem|Example|Solution|Claim|Way|Option)\s+"
    r"(?:\d{1,3}|[A-Za-z]|[IVXivx]{1,5})[*_\s]*[.):]?|\(?(?:\d{1,2}|[A-Za-z]|[IVXivx]{1,4})[.)])[*_:\s]*",
    re.IGNORECASE,
)


def split_steps(text: str) -> list[tuple[int, int]]:
    """The steps of a solution as `[start, end)` spans of characters, in order.

    Spans do not overlap, begin and end with a character that is not white space, and have only white space between
    them (or nothing, after a display formula); together they hold all of the text that is not white space. A text of
    white space has none. Kept whole: formulas (in dollar signs, brackets with backslashes, LaTeX environments, [asy]
    drawings), abbreviations, initials, times, decimals and ellipses. A list label stays with its step, a display
    formula with the sentence that leads to it, and a piece without letter or digit with its neighbour.

    Example:
        >>> text = "Mr. Smith pays $3.50. Then he pays $4."
        >>> [text[start:end] for start, end in split_steps(text)]
        ['Mr. Smith pays $3.50.', 'Then he pays $4.']
    """
    mask = _masked(text)
    pieces: list[tuple[int, int]] = []
    start = len(text) - len(text.lstrip())
    for gap in _GAP.finditer(mask, start):
        if gap.group() == " " and mask[gap.start() - 1].isalnum():
            continue  # between two words of a sentence, as most gaps are
        if gap.end() < len(mask) and _ends_step(mask, start, gap.start(), gap.end()):
            pieces.append((start, gap.start()))
            start = gap.end()
    end = len(text.rstrip())
    if start < end:
        pieces.append((start, end))
    return _joined(text, pieces)


def _joined(text: str, pieces: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Pieces without a letter or digit go to the piece before them, or to the first one after."""
    steps: list[tuple[int, int]] = []
    first_bare: int | None = None
    for start, end in pieces:
        if any(character.isalnum() for character in text[start:end]):
            steps.append((start if first_bare is None else first_bare, end))
            first_bare = None
        elif steps:
            steps[-1] = (steps[-1][0], end)
        elif first_bare is None:
            first_bare = start
    return steps if first_bare is None else [(first_bare, pieces[-1][1])]


def _ends_step(mask: str, start: int, gap_start: int, gap_end: int) -> bool:
    """Whether the step that began at `start` ends before the gap; the gap is not the end of the text."""
    before = mask[max(start, gap_start - _BEFORE) : gap_start]
    after = mask[gap_end : gap_end + _AFTER]
    if gap_start - start <= _BEFORE and _LABEL.fullmatch(before):
        return False
    stop = _STOP.search(before)
    follower = after[0]
    if before[-1] in (_DISPLAY, _DISPLAY_STOP):
        # A display formula without a stop runs on where the text does: "\[x = 3\] which is odd."
        ends_line = bool(_NEWLINE.search(mask, gap_start, gap_end))
        runs_on = follower.islower() or follower in ",;.)"
        return before[-1] == _DISPLAY_STOP or follower.isupper() or follower == _DISPLAY or (ends_line and not runs_on)
    if _NEWLINE.search(mask, gap_start, gap_end):
        return not (follower in (_DISPLAY, _DISPLAY_STOP) and stop is None)
    return stop is not None and _ends_sentence(before[: stop.start()], stop.group(1), stop.group(2), after)


def _ends_sentence(before: str, stop: str, closers: str, after: str) -> bool:
    """Whether a stop inside a line, with white space after it, ends a sentence."""
    follower = after[0]
    if "\u2026" in stop or ".." in stop:
        return False
    if follower in _GO_ON or (follower in _GO_ON_APART and after[1:2].isspace()):
        return False
    if stop[0] == _INLINE_STOP or any(quote in closers for quote in _CLOSING_QUOTES):
        return not follower.islower()  # "Is it 5?" she asked.
    if "!" in stop and "?" not in stop:
        factorial = len(stop) == 1 and re.search(r"(?:\d|\)|\b[a-zA-Z])$", before)
        return follower.isupper() if factorial else not follower.islower()
    if stop[0] != ".":
        return True
    word = _LAST_WORD.search(before)
    assert word is not None
    return _full_stop_ends(before[: word.start()], word.group(), after)


def _full_stop_ends(left: str, word: str, after: str) -> bool:
    """Whether the full stop after `word` ends a sentence; `left` is what stands before the word."""
    known, follower = word.lower(), after[0]
    if not word and follower.isdigit():
        return False  # ". 84": a decimal point gone astray
    opener = _FIRST_WORD.match(after)
    next_word = opener.group() if opener else ""
    if known in _TITLES or (known in _NUMBERED and follower.isdigit()):
        return False
    if known in _TIMES and next_word in _WEEKDAYS:
        return False
    if known in _ABBREVIATIONS:
        return follower.isupper() or follower in ("$", "\\", _INLINE)
    if _INITIALS.fullmatch(word):
        said_before = left.split()
        if len(word) == 1 and said_before and said_before[-1].strip("*_,").lower() in _LETTERED:
            return True
        continues = next_word[:1].isupper() or (len(word) > 1 and next_word)
        return next_word in _OPENERS or not continues
    return True


_TOKEN = re.compile(r"\\\\|\\[$()\[\]]|\$|\\(?:begin|end)\{[A-Za-z]{1,20}\*?\}|\[/?asy\]")
_PARAGRAPH = re.compile(r"\n[ \t\r]*\n")
_CLOSED_BY = {"\\(": "\\)", "\\[": "\\]", "[asy]": "[/asy]"}
_MONEY = re.compile(r"\$ ?(?:\.?\d|<<)")
_PRICE_BEFORE = re.compile(r"[0-9]\$[\s.,;:)]")  # "6$"
_SENTENCE_INSIDE = re.compile(r"[.?!]\s")
_TEXT_INSIDE = re.compile(r"\\(?:text|mbox|mathrm)[a-z]*\{[^{}]*\}")
_WORD_INSIDE = re.compile(r"(?<![\\A-Za-z])[A-Z]?[a-z]{2,}")
_FORMULA_STOP = re.compile(r"[.?!][\s$]*$")


def _masked(text: str) -> str:
    """The text with every formula overwritten, character by character."""
    text = text.translate(_NOT_PRIVATE)
    parts: list[str] = []
    position = 0
    for start, end, display in _formulas(text):
        tail = text[max(start, end - 40) : end]
        closing = re.search(r"(?:\$\$?|\\\)|\\\]|\\end\{[A-Za-z]+\*?\}|\[/asy\])$", tail)
        stopped = bool(_FORMULA_STOP.search(tail[: closing.start()] if closing else tail))
        body, last = (_DISPLAY, _DISPLAY_STOP) if display else (_INLINE, _INLINE_STOP)
        parts += (text[position:start], body * (end - start - 1), last if stopped else body)
        position = end
    parts.append(text[position:])
    return "".join(parts)


def _formulas(text: str) -> list[tuple[int, int, bool]]:
    """Spans of the outermost formulas, in order, each with whether it is a display formula."""
    tokens = [(match.start(), match.group()) for match in _TOKEN.finditer(text)]
    places: dict[str, list[int]] = {}
    for place, token in tokens:
        places.setdefault(token, []).append(place)
    dollars = places.get("$", [])
    pairs = [place for place, following in pairwise(dollars) if following == place + 1]
    environments = _environments(tokens)
    paragraphs = [match.start() for match in _PARAGRAPH.finditer(text)]
    found: list[tuple[int, int, bool]] = []
    position = 0
    for place, token in tokens:
        if place < position:
            continue
        end: int | None = None
        if token in _CLOSED_BY:
            closer = _CLOSED_BY[token]
            at, again = _first(places.get(closer, []), place), _first(places[token], place)
            # Opened twice before it is closed: somebody forgot to close the first one.
            end = None if at is None or (again is not None and again < at) else at + len(closer)
        elif token.startswith("\\begin"):
            end = environments.get(place)
        elif token == "$":
            blank = _first(paragraphs, place)
            end = _dollar_end(text, place, dollars, pairs, len(text) if blank is None else blank)
        if end is not None:
            found.append((place, end, token not in ("$", "\\(") or text.startswith("$$", place)))
            position = end
    return found


def _first(places: list[int], after: int) -> int | None:
    index = bisect_right(places, after)
    return places[index] if index < len(places) else None


def _environments(tokens: list[tuple[int, str]]) -> dict[int, int]:
    r"""Where each \begin that is closed ends; pairs are matched by their order, whatever they are called."""
    ends: dict[int, int] = {}
    opened: list[int] = []
    for place, token in tokens:
        if token.startswith("\\begin"):
            opened.append(place)
        elif token.startswith("\\end") and opened:
            ends[opened.pop()] = place + len(token)
    return ends


def _dollar_end(text: str, place: int, dollars: list[int], pairs: list[int], limit: int) -> int | None:
    """Where the formula that this dollar sign opens ends, or None: it is money, or nothing closes it."""
    if text.startswith("$$", place):
        at = bisect_left(pairs, place + 2)
        return pairs[at] + 2 if at < len(pairs) and pairs[at] < limit else None
    closing = _first(dollars, place)
    if closing is None or closing > limit or _PRICE_BEFORE.match(text, place - 1 if place else 0):
        return None
    end = closing + 1
    doubtful = bool(_MONEY.match(text, place)) or text[place + 1].isspace()
    if doubtful and (
        _SENTENCE_INSIDE.search(text, place, closing) or text[closing - 1] in " \t(\n=" or text[end : end + 1].isdigit()
    ):
        return None
    # A formula may run over the end of a line; between two prices on different lines there are words.
    if "\n" in text[place:end]:
        words = len(_WORD_INSIDE.findall(_TEXT_INSIDE.sub("", text[place:end])))
        return None if words > (0 if doubtful else 1) else end
    return end
