"""Find where a response stops and doubts what it has written: its first reflection.

Enters: a response in free text. Leaves: the span of the reflecting sentences, and the text on both sides. It does not
judge whether the doubt is to the point, nor whether anything was wrong.

`collection.reflections` judges texts that are known to be reflections. Most of a response is ordinary reasoning, so
precision comes first here. A sentence (of `collection.steps`) reflects where it shows one of these signs:

- an interjection that opens the sentence or is set off inside it: wait, hold on, hmm, oops, sorry, on second thought;
- the writer goes back to his own work: "let me check that", "let's recheck the last step", "I should verify this";
- he rejects what stands there or owns up: "that is not right", "something is wrong", "I made a mistake", "I misread";
- he mends or begins anew: "let me correct that", "let me start over", "let's try a different approach";
- "actually", "looking back" or "on reflection" opens the sentence, and it goes on to deny or correct ("not", "should",
  "instead", "I forgot"). Neither half counts alone; "however", "but" and "not" never count by themselves.

The reflection begins one sentence earlier where that one already faults the step ("That 5 is the wrong number. Let me
correct it."), and runs on over sentences that still doubt or announce what comes. Not counted: sentences that begin
with a quotation mark (somebody's speech), and sentences that stand in the question too.
"""

import re
from dataclasses import dataclass

from lemma_train.collection.reflections import is_reflection
from lemma_train.collection.steps import split_steps
from lemma_train.grading.extraction import states_answer


def _one_of(*patterns: str) -> str:
    return f"(?:{'|'.join(patterns)})"


_CRY = r"(?:wait|hold on|hang on|hmm+|oops|whoops|uh[- ]oh|oh no|not so fast)"
_DASHES = "\u2026\u2013\u2014"
_STOP = rf"[,.!?:;{_DASHES}-]"
_ME = r"(?:let me|let['\u2019]?s|let us)"
_I = _one_of(
    "(?:I|we) (?:should|must|will|can|need to|have to|had better|want to|would rather)",
    r"(?:I|we)['\u2019](?:ll|d better|d rather)",
)
_ANEW = r"(?:over|again|afresh|anew|differently|from scratch)\b"
_WORK = "(?:last|previous|above|steps?|work|answer|result|sums?|calculations?|reasoning|addition|arithmetic|numbers?)"
_MY_WORK = rf"(?:this|that|it|my|our|these|everything|again|the {_WORK})"
# "Let's reconsider the second equation with y = 2" goes on; "let's reconsider" and "let me recompute: ..." doubt.
_OWN = rf"(?:\W*$|\s*[:,.!]| {_MY_WORK}\b(?! (?:of|with|for|at|as)\b))"
_LEAD = (
    rf"[*_(\[\s{_DASHES}-]*"
    rf"(?:(?:but|oh|no|nope|ah|and|well|ok|okay|so|now|um+|uh+)\b(?:{_STOP}|\s)*){{0,3}}"
)
_OPENS = re.compile(
    _LEAD
    + _one_of(
        # "Wait 5 minutes" is an instruction, "Wait, 5 minutes" is not.
        rf"{_CRY}(?: (?:a|one|just a) (?:moment|minute|second|sec))?"
        rf"(?:\W*$|\s*{_STOP}|\s+(?:no|that|this|I|let|is|it|did)\b)",
        r"on second thoughts?\b",
        r"(?:scratch|strike) that\b",
        r"(?:my (?:mistake|apologies|bad)\s*[,.!:]|correction\s*:)",
        r"(?:sorry|apologies)\s*(?:[.!:]|, (?:that|this|it|I|the (?:last|previous|above))\b)",
        r"I apologi[sz]e\b",
        r"not (?:quite|so fast)\s*[,.!:]",
        rf"to (?:correct|fix|mend) (?:{_MY_WORK}|this (?:error|mistake))\b",
        rf"{_ME} (?:pause|stop)\b",
        rf"(?:{_ME}|{_I}) (?:just |quickly |now |please |first )?"
        + _one_of(
            rf"re-?(?:check|examine|consider|calculate|compute|read|visit|trace|evaluate|assess|work|do){_OWN}",
            r"re-?think\b|think (?:this |that |it )?(?:again|over|through again)\b",
            rf"(?:double|cross)[- ]?check{_OWN}",
            rf"take (?:a (?:second|closer|fresh)|another) look(?:\W*$|[:,.]| at {_MY_WORK}\b)",
            rf"(?:go|look|step) back(?:\W*$|[:,.]| (?:to {_MY_WORK}|over|and (?:check|fix|correct|look|see|mend))\b)",
            r"look (?:at (?:this|that|it) )?(?:again|more closely)",
        ),
        rf"(?:let me|{_I}) (?:just )?(?:check|verify|review|go over)"
        rf"(?: {_MY_WORK}\b(?! (?:this|the|it|we|all)\b)|\W*$)",
        r"(?:re-?(?:checking|examining|reading|considering|calculating)|double[- ]checking) (?:this|that|it|the|my)\b",
        rf"(?:{_ME}|{_I}|better to|I) (?:\w+ )?(?:start|begin) {_ANEW}",
        # "Let us fix the first digit" and "we can correct this by adding 3" are mathematics.
        rf"(?:{_ME}|{_I}) (?:\w+ )?(?:fix|correct|mend|redo) "
        rf"(?:(?:this|that|it)\b(?! (?:by|with|at|to)\b)|my\b|the (?:error|mistake|slip|{_WORK})\b)",
        rf"(?:{_ME}|{_I}) (?:\w+ )?(?:try|do|solve|work) (?:(?:this|that|it|the (?:problem|step|whole thing)) )?"
        rf"(?:out )?{_ANEW}",
        rf"(?:{_ME}|{_I}) approach {_MY_WORK}(?: \w+)? {_ANEW}",
        rf"(?:{_ME}|{_I}) (?:try|take|use) (?:a different|another|a new|a fresh|some other) "
        r"(?:approach|way|method|route|angle)\b",
    ),
    re.IGNORECASE,
)
_SET_OFF = re.compile(
    rf"(?<!said)(?<!says)(?<!wait)[,;:.{_DASHES}-]\s*(?P<cry>(?:(?:no|oh|but),? )?\b{_CRY}\s*[,.!{_DASHES}])",
    re.IGNORECASE,
)
# Where a line or a formula runs straight into it, its capital letter tells.
_CAPITAL = re.compile(rf"(?<=\s)(?P<cry>(?:Wait|Hold on|Hang on|Hmm+|Oops)\s*[,.!{_DASHES}])")

_I_HAVE = r"\b(?:I|we)(?:['\u2019]ve| have| had| must have| may have)? (?:\w+ )?"
_NOT = r"(?:['\u2019]s not| (?:really |simply |just )?(?:(?:is|was|does|did|ca|could)(?:n['\u2019]t| not)|can ?not))"
_HAVE = r"(?:have |had |must have )?"
_AT_ONCE = r"^\W*(?:(?:but|no|hmm+|so)\W+)?"
# "This is not correct for n = 2" and "this cannot be right, since 3 is not 4" are mathematics.
_FLATLY = r"\b(?!,? (?:for|when|if|since|because|as|in|unless|so|by)\b)"
_REJECTS = re.compile(
    _one_of(
        rf"{_I_HAVE}(?:made|see|spot(?:ted)?|noticed?|found|(?:think|believe) (?:that )?(?:there is|I made)) "
        r"(?:[a-z]+ ){0,3}(?:mistakes?|errors?|slip|miscalculation|miscount|oversight)\b"
        r"(?! (?:of|term|bound|in (?:the )?measur))",
        rf"{_I_HAVE}(?:misread|misunderstood|misinterpreted|mistook|miscalculated|miscounted|misapplied|overlooked"
        r"|mixed up|went wrong|lost my way|forgot (?:to|that|the|about))\b",
        r"\bI(?: am|['\u2019]m) (?:not (?:\w+ )?(?:sure|convinced|certain)|unsure) (?:about|of|by) (?:this|that|my)\b",
        rf"\bI {_HAVE}(?:used|took|taken|wrote|written|put|named|picked|multiplied by|added|subtracted) the wrong\b",
        rf"\bI {_HAVE}(?:added|subtracted|multiplied|divided|counted|worked|read|computed|calculated)\b[^.]{{0,40}}"
        r"\b(?:incorrectly|wrongly|the wrong way)\b",
        rf"\b(?:the above|(?:my|our|the|this|that) (?:(?:last|previous|earlier|first|above) )?{_WORK})"
        r"(?:['\u2019]s| is| was| must be| seems(?: to be)?| looks) (?:\w+ )?"
        rf"(?:wrong|incorrect|mistaken|off|flawed){_FLATLY}",
        rf"{_AT_ONCE}(?:that|this|it){_NOT} (?:\w+ )?(?:be )?"
        rf"(?:right|correct|add up|make (?:any )?sense|(?:look|seem) (?:right|correct)){_FLATLY}",
        rf"{_AT_ONCE}(?:that|this)(?:['\u2019]s| seems| looks| sounds| must be| is) (?:\w+ )?"
        rf"(?:wrong|incorrect|off){_FLATLY}",
        r"^\W*(?:but |hmm\W+)?(?:that|this)(?: result| answer| number)? (?:seems|looks|sounds) (?:\w+ )?off\W*$",
        r"\bsomething (?:\w+ )?(?:is|was|went|must be|seems|looks) (?:wrong|off|amiss)\b",
        r"\bsomething (?:\w+ )?does(?:n['\u2019]t| not) (?:\w+ )?(?:fit|add up)\b",
        r"\bthere (?:is|was|must be|seems to be) an? (?:\w+ )?(?:mistake|error|slip) "
        r"(?:in (?:my|this|that|the (?:step|last|previous|calculation|above))|here|above)\b",
    ),
    re.IGNORECASE,
)
_TURNS = re.compile(
    rf"{_LEAD}(?:actually|looking back(?! \d)|in hindsight"
    r"|(?:up)?on (?:(?:closer |further )?reflection(?! (?:in|across|about|over)\b)"
    r"|(?:closer |further )(?:inspection|examination(?! of\b)|review)))\b",
    re.IGNORECASE,
)
_CORRECTS = re.compile(
    r"\b(?:not|should|wrong|mistaken?|error|instead|missing|incorrect|again|once more|has to be|cannot)\b|n['\u2019]t\b"
    r"|\bI (?:forgot|used|took|wrote|put|picked|named|left|skipped|mixed|got|made|misread|worked|went|see|realize"
    r"|have (?:to|the))\b",
    re.IGNORECASE,
)
_FAULTS = re.compile(
    r"^\W*(?:that|this|the (?:last|previous) (?:step|line|sum))\b[^.]*\b(?:not|wrong|incorrect|mistaken?|error)\b"
    r"|^\W*I (?:forgot|misread|mixed|left out|skipped|used the wrong|took the wrong)\b",
    re.IGNORECASE,
)
# Says what comes next, so that the sentences before it belong to the reflection too.
_ANNOUNCES = re.compile(
    rf"\W*(?:(?:so|but|now|ok|okay|all right)\W+)?(?:{_ME}|{_I}|I (?:go on|start|begin))\b(?![^.]*=)"
    r"|\W*(?:so|now|here|better to|time (?:for|to))\b"
    r"[^=]*\b(?:step|again|corrected|over|scratch|fresh|follows|once more)\b[^=]*$",
    re.IGNORECASE,
)
_BRIDGED = 2  # most sentences between a reflecting one and what it announces
_READ = 400  # characters of a sentence that are looked at
_SPEECH = '"\u201c\u2018\u00ab'


@dataclass(frozen=True)
class Transition:
    """The first reflection of a response.

    start, end: `[start, end)` characters of the response that reflect.
    reflection: these characters. before, after: what stands on both sides of them, stripped.
    """

    start: int
    end: int
    reflection: str
    before: str
    after: str


def find_reflection(response: str, question: str = "") -> Transition | None:
    """The first reflection of a response, or None.

    Args:
        response: as the model wrote it.
        question: a sentence of the response that stands in it is a quotation.

    Example:
        >>> found = find_reflection("3 + 4 = 8. Wait, that is not right. 3 + 4 = 7. The answer is 7.")
        >>> found.before, found.reflection, found.after
        ('3 + 4 = 8.', 'Wait, that is not right.', '3 + 4 = 7. The answer is 7.')
    """
    steps = split_steps(response)
    said = [response[start : min(end, start + _READ)] for start, end in steps]
    for i, (start, end) in enumerate(steps):
        sign = _sign(said[i])
        if sign is None or (question and response[start:end] in question):
            continue
        earlier = i > 0 and sign == 0 and _FAULTS.search(said[i - 1]) is not None
        start = steps[i - 1][0] if earlier else start + sign
        end = steps[_last(said, i)][1]
        return Transition(start, end, response[start:end], response[:start].strip(), response[end:].strip())
    return None


def admits_fault(reflection: str) -> bool:
    """Whether a reflection says that something is wrong, rather than only wanting to look again.

    Example:
        >>> admits_fault("Wait, I misread the question."), admits_fault("Wait, let me check that.")
        (True, False)
    """
    return any(_REJECTS.search(reflection[start:end]) for start, end in split_steps(reflection))


def _sign(sentence: str) -> int | None:
    """The character of a sentence where it begins to reflect, or None."""
    if sentence[0] in _SPEECH:
        return None
    turn = _TURNS.match(sentence)
    if _OPENS.match(sentence) or _REJECTS.search(sentence) or (turn and _CORRECTS.search(sentence, turn.end())):
        return 0
    inside = _SET_OFF.search(sentence) or _CAPITAL.search(sentence)
    return inside.start("cry") if inside else None


def _last(said: list[str], first: int) -> int:
    """The last sentence of the reflection that the first one opens; none that states an answer belongs to it."""
    last = first
    for i in range(first + 1, len(said)):
        if states_answer(said[i]) or i > last + 1 + _BRIDGED:
            break
        if _ANNOUNCES.match(said[i]) or (i == last + 1 and is_reflection(said[i])):
            last = i
    return last
