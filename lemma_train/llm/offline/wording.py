"""Words for what is wrong: an explanation from outside, and the reflection of someone who notices their own mistake.

Enters: a finding and a random generator. Leaves: one or more sentences, composed of parts so that rows do not all sound
the same. It says nothing about where the right numbers are known from.
"""

import re
from collections.abc import Sequence
from random import Random
from typing import Literal

from lemma_train.llm.offline.diagnosis import Finding
from lemma_train.llm.offline.equations import equations_of, undoing

_PAST = {"+": "added", "-": "subtracted", "*": "multiplied", "/": "divided"}
_EXPLANATIONS: dict[str, Sequence[str]] = {
    "slip": (
        "The sum is not true: {left} is {right}, not {wrong}.",
        "{left} was worked out wrongly; it makes {right}, not {wrong}.",
        "There is a slip in {left}: the result is {right} and not {wrong}.",
    ),
    "untrue": ("The sum {said} is not true.", "{said} was worked out wrongly."),
    "operator": (
        "The right numbers are joined in the wrong way: it should be {meant}, not {left}.",
        "The step takes {left} where the question calls for {meant}.",
    ),
    "order": ("The numbers stand the wrong way round: it should be {meant}, not {left}.",),
    "reading": (
        "The question says {needed} here, but the step uses {used}.",
        "The step uses {used} where the question has {needed}.",
    ),
    "carried": (
        "The step goes on with {used} where the earlier result {needed} is needed.",
        "It should carry {needed} over from before, but it takes {used}.",
    ),
    "operand": ("The step uses {used} where {needed} belongs.", "The number needed here is {needed}, not {used}."),
    "lacking": ("The sum leaves out {needed}.", "One term is missing from the sum: {needed} was not counted."),
    "extra": ("The sum takes in {used}, which does not belong there.",),
    "missing": (
        "A step was left out: {should} has to come first.",
        "The step goes on with {used}, although {should} was never worked out.",
    ),
    "number": ("The number {used} is not in the question and follows from nothing before.",),
    "statement": ("The answer named is {used}, but the question asks for something else.",),
    "nonsense": ("The text does not work on the question.",),
    "unclear": ("The step does not do what the question describes.", "The step does not follow from the question."),
}
_NOTICED: dict[str, Sequence[str]] = {
    "slip": (
        "{left} is {right}, not {wrong}.",
        "{left} does not make {wrong}. It makes {right}.",
        "I wrote {wrong} for {left}, but it comes to {right}.",
        "If I work out {left} once more, I get {right} instead of {wrong}.",
        "I made a slip: {left} is {right} and not {wrong}.",
        "That {wrong} is wrong, since {left} gives {right}.",
        "The result of {left} should be {right}, not {wrong}.",
    ),
    "untrue": ("{said} is not true.", "The sum {said} does not come out right.", "I got {left} wrong."),
    "operator": (
        "It should be {meant} here, not {left}.",
        "I {did} where I should have {due}.",
        "I worked out {left}, but what is described here is {meant}.",
        "The numbers are the right ones, but I have to take {meant} and not {left}.",
        "{left} is the wrong sum for this. The right one is {meant}.",
        "I should not have {did} here. It has to be {meant}.",
    ),
    "order": (
        "I have the numbers the wrong way round. It should be {meant}, not {left}.",
        "{left} is upside down. What I need is {meant}.",
    ),
    "reading": (
        "The question says {needed}, not {used}.",
        "I misread the question: it has {needed} here, and I used {used}.",
        "I took {used}, but the number in the question is {needed}.",
        "Looking at the question again, this should be {needed} and not {used}.",
        "That {used} is not the right number. The question gives {needed} for this.",
        "I mixed up the numbers. Here it has to be {needed}, not {used}.",
    ),
    "carried": (
        "I used {used}, but what I need here is the {needed} from before.",
        "The number to go on with is {needed}, not {used}.",
        "I picked up {used} by mistake. The earlier result was {needed}.",
        "This should go on from {needed}, and I put in {used}.",
        "{used} is not the number that belongs here. I already found {needed} for that.",
    ),
    "operand": (
        "I used {used} where {needed} belongs.",
        "It should be {needed} here, not {used}.",
        "{used} is the wrong number for this step. I need {needed}.",
        "That works with {used}, but the right number here is {needed}.",
    ),
    "lacking": (
        "I left out {needed} in this sum.",
        "That sum is not complete: {needed} is missing.",
        "I forgot to count {needed} here.",
        "I have not counted everything. {needed} belongs in this sum too.",
    ),
    "extra": (
        "{used} does not belong in this sum.",
        "I put {used} into the sum, but it has nothing to do with what is asked.",
        "The {used} should not be counted here.",
    ),
    "missing": (
        "I skipped something: first I need {should}.",
        "I left out a step. Before this I have to work out {meant}.",
        "I went on with {used}, but {meant} still has to be worked out.",
        "I forgot that {should} comes first.",
        "There is a step missing here, namely {should}.",
        "I cannot use {used} yet, because {meant} was never worked out.",
    ),
    "number": (
        "I don't see where {used} comes from. It is not in the question.",
        "That {used} is not a number from the question, and nothing before gives it.",
        "The {used} came out of nowhere, so this is wrong.",
    ),
    "statement": (
        "The question does not ask for that. What I need is {needed}, not {used}.",
        "{used} is not what was asked for. It should be {needed}.",
        "I named {used}, but that is not the quantity in question. It is {needed}.",
        "I mixed up two quantities at the end. The one asked for is {needed}, not {used}.",
    ),
    "nonsense": ("None of that works on the question.", "That does not make sense as a solution."),
    "unclear": (
        "This step does not fit what the question says.",
        "That is not what the question describes.",
        "I did not follow the question here.",
        "This does not follow from what is known.",
        "I went wrong in this step, because it is not what was asked.",
    ),
}
_DOUBTS = (
    *("Wait,", "Hold on,", "Hmm,", "No, wait,", "Oh, wait,", "Wait a moment,", "Wait a second,", "Hang on,", "Oops,"),
    *("Wait.", "Hold on.", "Hmm.", "That does not look right.", "Something is wrong here.", "Let me check that step."),
    *("Wait, let me look at that again.", "I should check this.", "I am not sure about that.", "Hmm, is that right?"),
    *(
        "Hold on, let me read that once more.",
        "That cannot be right.",
        "Hmm, let me go over this step again.",
        "Hmm, wait,",
    ),
    *("Let me double-check the last step.", "On second thought,", "Looking back,", "Actually,", "Rechecking this,"),
    *("Something does not fit here.", "I think there is a mistake in this step.", "Hang on, that seems wrong."),
)
# When the whole is begun anew it need not be clear what was wrong.
_VAGUE = (
    *(
        "This step does not hold.",
        "I don't trust this step.",
        "This is not going the right way.",
        "This does not add up.",
    ),
    *(
        "Something in this went wrong.",
        "I am not convinced by this step.",
        "I lost my way here, and this step is wrong.",
    ),
)
_MENDING = (
    *("Let me redo this step.", "Let me correct that.", "I will correct this and go on.", "Let me put that right."),
    *(
        "So this step has to be done again.",
        "Let me fix it.",
        "I will fix that step and continue.",
        "Here it is again.",
    ),
    *(
        "I have to correct this step.",
        "I will do this step again.",
        "So the step should read as follows.",
        "Let me write it properly.",
    ),
    *("I go on from there with the right step.", "Let me take it from there.", "Now the same step, corrected.", ""),
)
_ADDING = (
    *("Let me do that first.", "Let me put that step in.", "I go back and do that first.", "So that comes first."),
    *("Let me fill that in and go on.", "I will do that step and then continue.", "Let me take it from there.", ""),
)
_ONCE_MORE = (
    *("Let me start over.", "I will begin again from the start.", "Better to start from scratch."),
    *("I will go back to the question and start again.", "Let me begin afresh and check each step."),
    *("Let me drop this and start again more carefully.", "I would rather start over."),
    *("Let me think about the whole thing again.", "Let me go back to the beginning."),
    *("Let me solve it again from what the question gives.", "Let me do the whole thing anew, step by step."),
    *("I will go through all of it again.", "Let me work it out from the beginning once more."),
)
_ANOTHER_WAY = (
    *("Let me start over and do it another way.", "Let me try a different way.", "Let me set this up anew."),
    *("I will work it out from the beginning in another way.", "Let me take another approach."),
    *("Time for a fresh start.", "I will set it up differently this time.", "Let me begin again in another order."),
    *("I will start over and sort the numbers first.", "Let me go back and group the numbers differently."),
    *("Better to start from scratch, in another order.", "Let me go back to the beginning and arrange it differently."),
)
_FIRST_WORDS = """
The It That This What Before From If There Looking So Then Next Now First He She They In Each Since When Therefore Thus
Something We His Her Their Its After At On For Together Altogether Because As By To All Finally Hence Also Every One
"""
_LOWERED = frozenset(_FIRST_WORDS.split())


def explanation(finding: Finding, draw: Random) -> str:
    """What is wrong, in one sentence from outside."""
    return _filled(draw.choice(_EXPLANATIONS[_kind(finding)]), finding)


def reflection(finding: Finding, draw: Random, start: Literal["no", "once more", "another way"] = "no") -> str:
    """The doubt, what is wrong, and what is done about it, in the first person.

    start: whether the step alone is mended, or the whole begun again, by the same steps or by others.
    """
    noticed = _filled(draw.choice(_noticed(finding)), finding)
    mending = _ADDING if finding.kind == "missing" else _MENDING
    end = draw.choice({"no": mending, "once more": _ONCE_MORE, "another way": _ANOTHER_WAY}[start])
    parts = [after(draw.choice(_DOUBTS), noticed), end]
    if start != "no" and draw.random() < 0.3:
        parts = [after(draw.choice(_DOUBTS), draw.choice(_VAGUE)), end]
    return " ".join(part for part in parts if part)


def failed_check(finding: Finding, restarts: bool) -> str | None:
    """The doubt that comes of checking a wrong sum by undoing it; None where the sum cannot be undone.

    Always in the same words: where each sum is checked, it is the numbers that tell a right one from a wrong one.

    Example:
        >>> failed_check(Finding(1, "calculation_error", "slip", "7 + 6 = 15", "7 + 6 = 13", "15", "13"), False)
        'Check: 15 - 6 = 9. Wait, 9 is not 7, so 15 is wrong.'
    """
    said = equations_of(finding.said)
    back = undoing(said[0]) if finding.kind == "slip" and said else None
    if back is None:
        return None
    start, result = said[0].left.tokens[0].text, finding.used
    end = " Let me start over." if restarts else ""
    return f"Check: {back[0]} = {back[1]}. Wait, {back[1]} is not {start}, so {result} is wrong.{end}"


def after(opener: str, sentence: str) -> str:
    """A sentence after an opener: in lower case where the opener ends in a comma and the first word allows it."""
    if not opener:
        return sentence
    first = re.match(r"[A-Za-z]+", sentence)
    if opener.endswith(",") and first is not None and first.group() in _LOWERED:
        sentence = sentence[0].lower() + sentence[1:]
    return f"{opener} {sentence}"


def can_follow(sentence: str) -> bool:
    """Whether `after` can put "Then," and the like before it: it opens with no name and no link."""
    first = re.match(r"[A-Za-z]+|[-$\d(]", sentence)
    if first is None:
        return False
    opens = {"First", "Then", "Next", "Now", "So", "Therefore", "Thus", "Finally", "Hence", "Also", "After"}
    return first.group() in _LOWERED - opens


def _kind(finding: Finding) -> str:
    return "untrue" if finding.kind == "slip" and not finding.needed else finding.kind


def _noticed(finding: Finding) -> list[str]:
    signs = _signs_changed(finding)
    return [words for words in _NOTICED[_kind(finding)] if signs is not None or "{did}" not in words]


def _signs_changed(finding: Finding) -> tuple[str, str] | None:
    """The wrong sign and the right one, where exactly one differs."""
    mine, theirs = (re.findall(r" ([-+*/]) ", side.partition(" = ")[0]) for side in (finding.said, finding.should))
    changed = [(a, b) for a, b in zip(mine, theirs, strict=False) if a != b]
    return changed[0] if len(changed) == 1 and len(mine) == len(theirs) else None


def _filled(words: str, finding: Finding) -> str:
    did, due = _signs_changed(finding) or ("", "")
    text = words.format(
        said=finding.said,
        should=finding.should,
        left=finding.said.partition(" = ")[0],
        meant=finding.should.partition(" = ")[0],
        wrong=finding.used,
        right=finding.needed,
        used=finding.used,
        needed=finding.needed,
        did=_PAST.get(did, ""),
        due=_PAST.get(due, ""),
    )
    return text[0].upper() + text[1:]
