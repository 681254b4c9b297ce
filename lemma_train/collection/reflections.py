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
    r"|\b(?:mistak|error|wrong|incorrect|slip(?:ped)?\b|fault|flaw|inaccurate|mislead|astray|misread|misinterpret|misunderst"
    r"|miscalculat|miscount|mistook|misappl|misuse|overlook|forgot|skipped|missed|mixed up|mixing up|confus|swapped"
    r"|left out|contradict|disagree|invented|made up)"
    # correcting, and what should have been
    r"|\b(?:correct (?:this|that|it|the|my|these|myself)|correct(?:ing|ion)|fix(?:ing)?|mend|amend)\b"
    r"|\b(?:should|ought to) (?:be|have|use|add|subtract|multiply|divide|count|take)\b"
    # denials and unease
    r"|\bnot (?:right|correct|quite|true|add(?:ing)? up|make sense|match|fit|sure|possible|what)\b"
    r"|\b(?:that|this|it|I|we)(?: really| simply)? (?:is|was|does|did|do|can|could|should|have|had)"
    r"(?:n['\u2019]t| ?not)\b"
    r"|\b(?:doubt|suspicious|suspect|uneasy|strange|surpris|unsure|uncertain)"
    r"|\btoo (?:much|many|few|little|big|small|large|high|low|long|short|soon|quick)"
    # beginning again
    r"|\b(?:another|a different|a fresh|a new|an alternative|some other) (?:way|approach|angle|method|route|start)\b"
    r"|\b(?:start|begin|try|work|solv)\w* (?:\w+ ){0,3}(?:over|again|anew|afresh|from scratch|differently)\b|\brethink",
    re.IGNORECASE,
)

_VERDICT = r"(?:right|correct|fine|good|in order|okay|ok|accurate|sound)"
_SUBJECT = (
    r"(?:everything|all(?: of (?:it|this|that))?|this|it|they|(?:the|my|our|this|these) (?:\w+ ){0,2}"
    r"(?:work|steps?|reasoning|solutions?|calculations?|results?|numbers?|answers?)(?: so far| above)?)"
)
_CONTENT = re.compile(
    rf"\b{_SUBJECT} (?:(?:is|are|was|were|looks?|seems?)(?: \w+){{0,2}}? {_VERDICT}|checks? out|adds? up|holds?)\b"
    r"|\b(?:no|not any|without(?: any)?) (?:mistakes?|errors?|problems?)\b",
    re.IGNORECASE,
)
# "that" as a pronoun becomes "this", so that clauses after the conjunction can be cut off.
_PRONOUN_THAT = re.compile(
    r"(^|[.?!,;:]\s*|\b(?:so|yes|and|yes,|indeed,) )that(?= (?:is|was|looks?|seems?|checks?|adds?|holds?)\b)",
    re.IGNORECASE,
)
# What is only asked or supposed.
_SUPPOSED = re.compile(r"\b(?:if|whether|that)\b[^.?!;,]*|[^.?!]{0,400}\?", re.IGNORECASE)
_OBJECTION = re.compile(
    r"\b(?:but|however|instead|wrong|mistake|error|incorrect|should|except|although|though|not|cannot|misread|forgot"
    r"|overlooked|missed|anew|another|different|until|up to)\b|n['\u2019]t\b"
    r"|\b(?:try|start|begin|solve|work|do)\w* (?:\w+ ){0,3}(?:again|over)\b",
    re.IGNORECASE,
)
_NO_FAULT = re.compile(r"\b(?:no|not any|without(?: any)?) (?:mistakes?|errors?|problems?)\b", re.IGNORECASE)


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

    What is asked or stands after "if", "whether" and "that" is not said; an objection is a word like "but", "not"
    or "instead", or a new beginning.

    Example:
        >>> finds_all_well("Let me check. Yes, that is correct."), finds_all_well("Let me check if this is correct.")
        (True, False)
    """
    said = _SUPPOSED.sub(" ", _PRONOUN_THAT.sub(r"\1this", text))
    return _CONTENT.search(said) is not None and _OBJECTION.search(_NO_FAULT.sub(" ", said)) is None
