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


# The writer of a trajectory knows the question and their own work. These phrases know more.
LEAKS: tuple[Leak, ...] = (
    _leak("ground_truth", r"\bground[- ]truths?\b"),
    _leak(
        "reference",
        r"\b(?:the|a|this|that|your) reference(?=[,.;:]| (?:says|shows|states|gives|uses|has|answer|solution|text))|"
        r"\breference (?:solution|answer)s?\b",
        r"\breference\b",
    ),
    _leak("answer_key", r"\b(?:answer|solution) keys?\b", r"\bkeys?\b"),
    _leak(
        "given_answer",
        r"\b(?:the|a) (?:given|provided|supplied|expected|official|gold(?:en)?|known|model|target|stated) answers?\b",
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


def leak_in(text: str, question: str) -> str | None:
    """The first giveaway in the text, as written there, or None.

    Example:
        >>> leak_in("Wait, the reference solution has 5 here.", "What is 2 + 3?")
        'reference solution'
        >>> leak_in("Its frame of reference moves.", "What is 2 + 3?") is None
        True
    """
    for leak in LEAKS:
        found = leak.pattern.search(text)
        if found is not None and not leak.innocent_in(question):
            return found.group()
    return None


def markup_in(text: str) -> str | None:
    """The first left-over of a template, a data format or a reply's form, as written there, or None."""
    found = _MARKUP.search(text)
    return found.group().strip() if found is not None else None
