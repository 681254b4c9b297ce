"""Worked examples before a question: which ones, and a fingerprint of the whole prompt.

Enters: how many examples, and a file of them. Leaves: pairs of instruction and output for `Renderer.prompt_ids`. It
renders nothing.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from lemma_train.errors import InputError
from lemma_train.recipe_file import read_any_yaml
from lemma_train.template import BETWEEN_SHOTS, Renderer

SHOTS_FILE = Path(__file__).with_name("few_shot.yaml")


def load_shots(count: int, file: Path = SHOTS_FILE) -> list[tuple[str, str]]:
    """The first `count` worked examples of a file, as pairs of instruction and output.

    Args:
        count: 0 for none.
        file: a YAML list of mappings with `instruction` and `output`.

    Raises:
        InputError: the file cannot be read or has another form, or holds fewer examples.

    Example:
        >>> [output.rpartition("\\n")[2] for _, output in load_shots(2)]
        ['The answer is 25.', 'The answer is 39.']
    """
    if count == 0:
        return []
    rows = read_any_yaml(file, f"shots: {file}")
    if not isinstance(rows, list):
        raise InputError(f"shots: {file} must be a YAML list of examples with instruction and output.")
    if not 0 < count <= len(rows):
        raise InputError(f"shots: {count} examples are asked for, {file} has {len(rows)}; ask for 0 to {len(rows)}.")
    for number, row in enumerate(rows, start=1):
        fields = [row.get(name) for name in ("instruction", "output")] if isinstance(row, dict) else []
        if not fields or not all(isinstance(field, str) and field.strip() for field in fields):
            raise InputError(f"shots: example {number} of {file} needs an instruction and an output, both text.")
    return [(row["instruction"].strip(), row["output"].strip()) for row in rows[:count]]


def prompt_fingerprint(renderer: Renderer, shots: Sequence[tuple[str, str]]) -> str:
    """SHA-256 over the template and the worked examples, shortened to 16 hexadecimal digits.

    Two results are comparable only where it is the same.
    """
    between = BETWEEN_SHOTS if shots else ""
    text = json.dumps([renderer.fingerprint, between, *map(list, shots)], ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
