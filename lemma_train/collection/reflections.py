"""What a reflection sounds like in English: doubt, checking, correction; and what one sounds like that finds no fault.

Enters: the text of a reflection. Leaves: yes or no. It does not judge whether the doubt is to the point.
"""

import re

_DOUBT = re.compile(
    # interjections
    r"\b(?:wait|hold on|hang on|hmm+|oops|on second thoughts?|actually|instead|not so fast|step back)\b"
    # checking and going back
    r"|\b(?:re-?|double[- ]?|cross-?)(?:check|examin|consider|think|calculat|comput|read|visit|trac|evaluat|do\b)"
    r"|\b(?:check|verify|review|go(?:ing)? back|look(?:ing)? (?:back|again|closer)|more (?:carefully|closely))\b"
    # words for a mistake
    r"|\b(?:mistak|error|wrong|incorrect|slip(?:ped)?\b|fault|flaw|inaccurate|mislead|astray|misread|misinterpret"
    r"|misunderst"
    r"|miscalculat|miscount|mistook|misappl|misuse|overlook|forgot|skipped|missed|mixed up|mixing up|confus|swapped"
    r"|left out|contradict|disagree|invented|made up)"
    # correcting, and what should have been
    r"|\b(?:correct (?:this|that|it|the|my|these|myself)|correct(?:ing|ion)|fix(?:ing)?|mend|amend)\b"
    r"|\b(?:should|ought to) (?:be|have|use|add|subtract|multiply|divide|count|take)\b"
    # denials and unease
    r"|\bcan(?:no|['\u2019])t (?:be|hold)\b|(?:,| and| but) not [$\u00a3\u20ac]?[0-9]|\b(?:is|was|seems|looks) off\b"
    r"|\bdo(?:es)?(?:n['\u2019]t| not) (?:match|fit|add up|make sense|hold|work out|agree|give|follow)\b"
    r"|\b(?:right|fine|correct|good) at first\b|\b(?:is|was|looks?|seems?) (?:right|fine|correct|good), (?:but|yet)\b"
    r"|\b(?:really|is (?:that|this|it) (?:right|correct|true|possible))\b[^.?!]{0,40}\?"
    r"|\bnot (?:right|correct|quite|true|add(?:ing)? up|make sense|match|fit|sure|possible|what)\b"
    r"|\b(?:that|this|it|I|we)(?: really| simply)? (?:is|was|does|did|do|can|could|should|have|had)"
    r"(?:n['\u2019]t| ?not)\b"
    r"|\b(?:doubt|suspicious|suspect|uneasy|strange|surpris|unsure|uncertain)"
    r"|\btoo (?:much|many|few|little|big|small|large|high|low|long|short|soon|quick)"
    # beginning again
    r"|\b(?:another|a different|a fresh|a new|an alternative|some other) (?:way|approach|angle|method|route|start)\b"
    r"|\b(?:start|begin|try|work|solv)\w* (?:\w+ ){0,3}(?:over|again|anew|afresh|from scratch|differently)\b|\brethink"
    r"|\bthink (?:\w+ ){1,3}(?:differently|over|again)\b",
    re.IGNORECASE,
)

_VERDICT = (
    r"(?:right|correct|fine|good|in order|okay|ok|accurate|sound|valid|consistent|on track|as it should be|as expected"
    r"|perfect|reasonable)"
)
# A verdict on the first step alone is none on the last one.
_SUBJECT = (
    r"(?:everything|all(?: of (?:it|this|that))?|this|it|they|both(?: \w+)?|(?:the|my|our|this|these)"
    r" (?:(?!first|second|earlier|previous|initial|opening)\w+ ){0,2}"
    r"(?:work|steps?|reasoning|solutions?|calculations?|results?|numbers?|answers?|sums?|additions?|subtractions?"
    r"|multiplications?|divisions?|products?|units|logic|setup)(?: so far| above)?)"
)
_TROUBLE = r"(?:mistakes?|errors?|problems?|issues?|slips?|faults?|flaws?|contradictions?)"
_NO_FAULT = re.compile(
    rf"\b(?:no|not any|without(?: any)?|zero)(?: \w+)? {_TROUBLE}\b|n['\u2019]?t (?:see|find|spot"
    rf"|notice)(?: \w+)? {_TROUBLE}\b"
    r"|\bnothing (?:here )?(?:(?:is|was|seems|looks) )?(?:wrong|off|amiss|to (?:fix|correct|change|mend))\b"
    r"|\b(?:no need|no reason|not necessary) to (?:change|correct|fix|mend|redo|doubt|worry|start)(?: over| again)?\b"
    r"|\b(?:not|n['\u2019]t) wrong\b|\bfalse alarm\b|\bas it should be\b",
    re.IGNORECASE,
)
# "no mistake in the first step" leaves room for one in the next.
_IN_PART = re.compile(
    rf"\b(?:no|not any|without(?: any)?) {_TROUBLE} (?:there|before|until|up to|in (?:the|my) (?:first|earlier"
    rf"|previous)"
    r"[^.?!;,]*)",
    re.IGNORECASE,
)
_CONTENT = re.compile(
    rf"\b{_SUBJECT} (?:(?:is|are|was|were|looks?|seems?)(?: \w+){{0,2}}? {_VERDICT}|checks? out|adds? up|holds?"
    r"|works?(?: out)?)\b"
    r"|\b(?:all|so far so) good\b"
    r"|(?:^|[.!?:]\s+)(?:yes|yep|yeah|correct|good|great|perfect|fine)\b\s*(?:[.!]|$|, (?:let['\u2019]?s |let me "
    r"|I(?:['\u2019]ll)? "
    r"|we |now |so )?(?:continue|go on|move on|carry on|keep going|proceed|that|it|this)\b)"
    r"|(?:^|[.!?:]\s+)(?:right|ok(?:ay)?)\s*[.!]?\s*$"
    r"|\byes, (?:that|it|this) (?:matches|fits|works)\b",
    re.IGNORECASE,
)
# However it began, these settle that the step stands.
_SETTLED = re.compile(
    r"\b(?:is|was|are|were|looks?|seems?) (?:indeed |in fact |actually |still )?(?:right|correct|fine|good|true"
    r"|valid) after all\b"
    r"|\b(?:is|was|are) indeed (?:right|correct|fine|true|valid)\b"
    r"|\bmy (?:doubts?|worry|worries) (?:was|were) (?:unfounded|needless|wrong|mistaken|for nothing)\b"
    r"|\b(?:no need|no reason) to (?:change|correct|fix|redo) (?:it|this|that|anything)\b",
    re.IGNORECASE,
)
# "that" as a pronoun becomes "this", so that clauses after the conjunction can be cut off.
_PRONOUN_THAT = re.compile(
    r"(^|[.?!,;:]\s*|\b(?:so|yes|and|yes,|indeed,) )that(?= (?:is|was|looks?|seems?|checks?|adds?|holds?|works?)\b)",
    re.IGNORECASE,
)
# A question that asks for trouble is answered the other way round.
_ANSWERED = re.compile(
    r"(?P<question>[^.?!]{0,400})\?\s+(?P<answer>yes|yep|yeah|no|nope)\b(?P<end>\s*(?:[.!]|$))?", re.IGNORECASE
)
_ASKS_FOR_TROUBLE = re.compile(
    rf"\b{_TROUBLE}\b|\b(?:wrong|off|incorrect|should|instead|miss\w*|mis(?:read|took|count)\w*|forg[eo]t\w*"
    rf"|overlook\w*|skip\w*"
    r"|too \w+|strange|odd|impossible)\b|n['\u2019]t\b",
    re.IGNORECASE,
)
# What is only asked or supposed.
_SUPPOSED = re.compile(r"\b(?:if|whether|that)\b[^.?!;,]*|[^.?!]{0,400}\?", re.IGNORECASE)
_OBJECTION = re.compile(
    r"\b(?:but|yet|however|instead|rather than|wrong\w*|mistakes?|mistaken|mistook|errors?|slip\w*|flaw\w*|fault\w*"
    r"|incorrect|off"
    r"|should|except|although|though|not|cannot|never|nor|mis(?:read|count|calculat|understood|interpret|appl)\w*"
    r"|forgot\w*|left out"
    r"|overlook\w*|missed|missing|skipped|mixed up|mix(?:ing)? up|anew|another|different\w*|until|up to"
    r"|contradict\w*|impossible"
    r"|strange|odd|suspicious|doubt\w*|unless|re-?do|re-?work|re-?calculate|fix|mend|correct (?:this|that|it|the"
    r"|my))\b|n['\u2019]t\b"
    r"|\btoo (?:much|many|few|little|big|small|large|high|low|long|short)\b|\bno, "
    r"|\b(?:try|start|begin|solve|work|do)\w* (?:\w+ ){0,3}(?:again|over|from scratch)\b",
    re.IGNORECASE,
)


def is_reflection(text: str) -> bool:
    """Whether a text doubts or corrects.

    One sign is enough: an interjection (wait, hold on, hmm, actually), checking or going back, a word for a mistake,
    correcting or what should have been, a denial ("that is not", "this doesn't"), or beginning again in another way.

    Example:
        >>> is_reflection("Hmm, 84 - 50 is 34."), is_reflection("So 84 - 50 = 34.")
        (True, False)
    """
    return _DOUBT.search(text) is not None


def finds_all_well(text: str) -> bool:
    """Whether a reflection ends up content: it says that the work is right or without mistake, and objects to nothing.

    What is asked or stands after "if", "whether" and "that" is not said; "Is this right? Yes." and "Is anything wrong?
    No." say it all the same. An objection is a word like "but", "not" or "instead", or a new beginning; "it is right
    after all" overrides what was objected before.

    Example:
        >>> finds_all_well("Let me check. Yes, that is correct."), finds_all_well("Let me check if this is correct.")
        (True, False)
    """
    answered = [_says_fine(found) for found in _ANSWERED.finditer(text)]
    settled = _SETTLED.search(text)
    if settled is not None:
        return not _objects(_said(text[settled.end() :]))
    said = _said(text)
    content = _CONTENT.search(said) or _NO_FAULT.search(_IN_PART.sub(" ", said)) or any(answered)
    return bool(content) and not (answered and not all(answered)) and not _objects(said)


def objects(text: str) -> bool:
    """Whether a text says that something is wrong or has to change; "no mistake" and "whether it is wrong" do not."""
    return not all(_says_fine(found) for found in _ANSWERED.finditer(text)) or _objects(_said(text))


def _said(text: str) -> str:
    answers = _ANSWERED.sub(lambda found: f"{found['question']}? " + (". " if found["end"] else ""), text)
    return _SUPPOSED.sub(" ", _PRONOUN_THAT.sub(r"\1this", answers))


def _objects(said: str) -> bool:
    return _OBJECTION.search(_NO_FAULT.sub(" ", said)) is not None


def _says_fine(found: re.Match[str]) -> bool:
    """Whether the answer to a question says that all is well."""
    return found["answer"].lower().startswith("y") != bool(_ASKS_FOR_TROUBLE.search(found["question"]))
