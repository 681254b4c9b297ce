"""A template that the instruction of a row already holds is taken off, so that it is never put on twice.

Enters: the texts of a row. Leaves: them without the template. It renders nothing: `template` puts its own on.
"""

import re

# With or without the preamble and the opening phrase that circulate.
_WRAPPED = re.compile(
    r"\s*(?:Below is an instruction[^\n]*\s+)?### Instruction:\s*\n(?P<instruction>.*?)\s*\n+"
    r"### Response:(?P<phrase>\s*Let's think step by step\.?)?\s*",
    re.DOTALL,
)
_OPENING_PHRASE = re.compile(r"\s*Let's think step by step\.?\s*")
_INPUT_HEADER = re.compile(r"\n+### Input:[ \t]*\n")  # Alpaca's second field, joined as `records` joins it
_MARKER = re.compile(r"^### (?:Instruction|Response):", re.MULTILINE)


def unwrapped(instruction: str, output: str, opens_with_phrase: bool) -> tuple[str, str, bool]:
    """Take a template off an instruction that holds one.

    Args:
        opens_with_phrase: the template that is put on instead ends in "Let's think step by step."; where the one that
            is found lacks the phrase and the output begins with it, the phrase is taken off the output.

    Returns:
        instruction, output, whether a template was found.

    Raises:
        ValueError: template markers stand in the instruction in a form that is not recognised.

    Example:
        >>> unwrapped("### Instruction:\\nWhat is 2 + 3?\\n\\n### Response:", "It is 5.", True)
        ('What is 2 + 3?', 'It is 5.', True)
    """
    wrapped = _WRAPPED.fullmatch(instruction)
    if wrapped is None:
        if _MARKER.search(instruction):
            raise ValueError("the instruction holds '### Instruction:' or '### Response:' in an unknown form")
        return instruction, output, False
    inner = _INPUT_HEADER.sub("\n", wrapped["instruction"].strip(), count=1)
    if _MARKER.search(inner):
        raise ValueError("the instruction holds the template twice, or several questions")
    if wrapped["phrase"] is None and opens_with_phrase:
        output = output[phrase.end() :] if (phrase := _OPENING_PHRASE.match(output)) else output
    return inner, output, True
