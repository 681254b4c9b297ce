"""Words that give away how a trajectory was made, and other traces of its making.

Enters: a text, and the question that it answers. Leaves: the words found, or None. A phrase that the question itself
uses is no leak: a word problem may well be about a teacher, a chemical solution or an answer key.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Leak:
    """One kind of giveaway. unless: words of a question that make the kind innocent there, beside the phrase itself."""

    name: str
    pattern: re.Pattern[str]
    unless: re.Pattern[str] | None = None

    def innocent_in(self, question: str) -> bool:
        return any(words.search(question) for words in (self.pattern, self.unless) if words is not None)


def _leak(name: str, pattern: str, unless: str | None = None) -> Leak:
    return Leak(name, re.compile(pattern, re.IGNORECASE), None if unless is None else re.compile(unless, re.IGNORECASE))


# What a final answer looks like when it is named; "a whole number" and "5 times as many" are no values.
_VALUE = (
    r"(?:(?:exactly|equal to|indeed) )?(?:\\?\$|\\\(|\*\*|[\u00a3\u20ac])*\s?(?:\\(?:boxed|d?frac)|-?[0-9][0-9.,]*"
    r"(?! ?(?:times|digits?|or more|or less)\b)|\(?(?-i:[A-E])\)?(?=[\s.,;:)]|$))"
)
_IS = r"(?:is|was|must be|should be|has to be|ought to be)"
_TRUE_ANSWER = r"the (?:correct|right|actual|true|known) (?:final )?(?:answer|solution|result)"
_NOTE = r"(?:hint|note|explanation|feedback|comment|remark)"

# The writer of a trajectory knows the question and their own work. These phrases know more.
LEAKS: tuple[Leak, ...] = (
    _leak("ground_truth", r"\bground[- ]truths?\b"),
    _leak(
        "reference",
        r"\ba reference(?=[,.;:]| (?:says|shows|states|gives|uses|has|answer|solution|text))|"
        r"\b(?:the|this|that|your) reference\b(?! (?:angle|axis|circle|direction|frame|length|level|line|number"
        r"|plane|point"
        r"|position|rate|set|square|system|time|to|triangle|value|year)s?\b)|"
        r"\breference (?:solution|answer)s?\b",
        r"\breference\b",
    ),
    _leak(
        "answer_key",
        r"\b(?:answer|solution) keys?\b|\b(?:marking|mark|grading) schemes?\b|\bback of the book\b",
        r"\bkeys?\b|\bschemes?\b|\bbooks?\b",
    ),
    _leak(
        "given_answer",
        r"\b(?:the|a) (?:given|provided|supplied|expected|intended|official|gold(?:en)?|known|model|target"
        r"|stated) answers?\b|"
        r"\b(?:the|a) (?:expected|intended|official|provided|supplied) (?:final )?results?\b|"
        r"\b(?:I|we) (?:was|were|am|are|have been|had been) (?:given|told|shown) the (?:correct |right "
        r"|final )?(?:answer|solution)|"
        r"\bthe answer (?:that )?(?:(?:I|we) )?(?:(?:was|were) )?(?:given|provided|supplied)\b(?! (?:by|as|in|that"
        r"|above|to|for))",
    ),
    _leak(
        "given_solution",
        r"\b(?:the|a) (?:provided|supplied|official|gold(?:en)?|correct|right|expected) solution"
        r"(?= (?:says|shows|states|gives|uses|given|provided|above)|[,.;:]? which|['\u2019]s\b)|"
        r"\b(?:the|a) (?:given|provided|supplied|official|gold(?:en)?) solution(?! sets?\b)",
        r"\bsolutions?\b",
    ),
    _leak(
        "answer_provided",
        r"\b(?:correct|right) (?:answer|solution|result),? (?:(?:that|which) )?(?:(?:is|was|has been) )?"
        r"(?:provided|supplied|known|given(?! (?:by|as|in terms|that|to)\b))\b|"
        r"\b(?:correct|right) answer is (?:known|supposed|said) to be\b",
    ),
    _leak(
        "compared_with_answer",
        rf"\b(?:match|agree|contradict|equal|differ|coincid|conflict|disagree|align|deviat)\w* (?:(?:with|from"
        rf"|to) )?{_TRUE_ANSWER}\b|"
        rf"\b(?:given|knowing|since we know|because we know) (?:that )?{_TRUE_ANSWER}(?= (?:of|is|was|must|should"
        rf"|has)\b|[,.;])|"
        rf"\b(?:I|we) know (?:that )?the (?:(?:correct|right|true|actual) )?(?:final )?answer {_IS} {_VALUE}|"
        rf"\b(?:correct|right|true|actual|known) (?:final )?answer of {_VALUE}",
    ),
    _leak(
        "note",
        rf"\b(?:the|this|that|your) {_NOTE}(?: given| above| provided| here| that was given)? (?:says|shows|states"
        rf"|tells|points out"
        r"|indicates|mentions|notes|explains)\b|"
        rf"\b(?:according to|based on|as (?:stated|shown|given|noted|said) in|following) (?:the|this|that"
        rf"|your) {_NOTE}\b",
        rf"\b{_NOTE}s?\b",
    ),
    _leak(
        "solution_says",
        r"\bthe (?:right |correct |given |full |worked )?solution (?:says|shows|states|tells|explains|indicates"
        r"|mentions)\b",
        r"\bsolutions?\b",
    ),
    _leak(
        "according_to_solution",
        r"\b(?:according to|as (?:stated|shown|given|noted) in) the (?:(?:right|correct) )?"
        r"(?:solution|answer)\b(?! set)",
        r"\bsolutions?\b",
    ),
    _leak(
        "teacher", r"\b(?:the|my|as a|your) (?:teacher|tutor|grader|instructor)\b", r"\b(?:teach|tutor|grad|instruct)"
    ),
    _leak("student", r"\b(?:the|this) (?:student|solver)(?:['\u2019]s)?\b", r"\b(?:student|solver|pupil|class|school)"),
    _leak(
        "model",
        r"\bas an? (?:AI|(?:large )?language model)\b|\bI(?: am|['\u2019]m) an? (?:AI|(?:large )?language model)\b|"
        r"\bAI (?:assistant|language model)\b",
    ),
    _leak("prompt", r"\bthe (?:prompt|instructions?) (?:says?|asks?|states?|tells?|requires?|wants?)\b", r"\binstruct"),
    _leak(
        "error_type",
        r"\b[a-z]{3,}_(?:[a-z]+_)*(?:error|misinterpretation|information|step)\b|\berror types?\b|"
        r"\bfix_and_continue\b|\bfresh_and_restart\b|\bfix (?:&|and) continue\b|\bfresh (?:&|and) restart\b",
    ),
    _leak(
        "planted_mistake",
        r"\b(?:deliberate(?:ly)?|intentional(?:ly)?|injected|planted|on purpose)\b[^.?!\n]{0,40}"
        r"\b(?:mistakes?|errors?|wrong|incorrect)\b|[(\[](?:wrong|incorrect|mistake|error)[)\]]",
    ),
    _leak("bracketed_label", r"(?<!\\)\[[a-z][a-z -]{0,40}\b(?:solution|answer|step|reflection|correction|error)\]"),
)

# Where a step is only doubted, the right answer is not known yet: "The correct answer is 17, so my step is off."
# At the end of a continuation "So the right answer is 17." is honest.
REFLECTION_LEAKS: tuple[Leak, ...] = (
    _leak(
        "known_answer",
        rf"\b(?:correct|right|actual|true|real|proper) (?:final )?(?:answer|solution) {_IS} {_VALUE}|"
        rf"\banswer (?:must|should|has to|ought to) be {_VALUE}|"
        rf"\b(?:to|and) (?:get|reach|obtain|arrive at|end up with) the (?:correct|right"
        rf"|true) (?:final )?answer,? {_VALUE}",
    ),
)

_MARKUP = re.compile(
    r"### ?(?:Instruction|Response|Input)\b"  # the training template
    r"|<<[^<>=\n]{0,200}=[^<>\n]{0,100}>>"  # calculator notes of GSM8K
    r"|<\|[^|\n]{1,60}\|>|</?think>"  # special tokens
    r"|</?(?:question|right_solution|right_answer|student_steps|student_answer|written_so_far|wrong_step|what_is_wrong"
    r"|kind_of_mistake|version|prefix|reflection|continuation|plan)>"  # sections of the prompts
    r"|```"
    r"|\"(?:prefix|reflection|continuation|explanation|verdict|steps|wrong_step|first_wrong_step)\"\s*:"  # JSON
    r"|^[ \t>#*_]*(?:PREFIX|REFLECTION|CONTINUATION|EXPLANATION|VERDICT|ERROR_TYPE|(?:FIRST_)?WRONG_STEP)\b[*_]*[ \t]*:"
    r"|^[ \t>#*_]*(?:Reflection|Continuation)[*_]*:"  # the labels of the plain form
    r"|\{\{ ?[a-z_][a-z_.]{2,40} ?\}\}|\{% ?[a-z]",  # templates
    re.MULTILINE,
)


def leak_in(text: str, question: str, reflection: bool = False) -> str | None:
    """The first giveaway in the text, as written there, or None.

    reflection: the text is a reflection, which knows no final answer yet.

    Example:
        >>> leak_in("Wait, the reference solution has 5 here.", "What is 2 + 3?")
        'reference solution'
        >>> leak_in("Its frame of reference moves.", "What is 2 + 3?") is None
        True
    """
    for leak in LEAKS + (REFLECTION_LEAKS if reflection else ()):
        found = leak.pattern.search(text)
        if found is not None and not leak.innocent_in(question):
            return found.group()
    return None


def markup_in(text: str) -> str | None:
    """The first left-over of a template, a data format or a reply's form, as written there, or None."""
    found = _MARKUP.search(text)
    return found.group().strip() if found is not None else None
