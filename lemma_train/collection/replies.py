"""From the text of a teacher's reply to its fields.

Enters: the text, the schema of the task, and how the reply ended. Leaves: a dict with exactly the schema's fields, each
of its type, or a `ReplyFault`. Whether the values make sense is for `reply_checks`.
"""

import re
from collections.abc import Mapping
from typing import Any

from lemma_train.collection.json_objects import json_objects
from lemma_train.llm.protocol import FinishReason


class ReplyFault(Exception):
    """A reply that cannot be used.

    reason: the short name under which it is counted. advice: one sentence that tells the teacher what to do better.
    """

    def __init__(self, reason: str, advice: str):
        super().__init__(f"{reason}: {advice}")
        self.reason = reason
        self.advice = advice


_LONGEST = 200_000  # characters; no honest reply comes near it
_REFUSAL = re.compile(
    r"\b(?:I(?:['\u2019]m| am) (?:very |so |really )?(?:sorry|afraid|unable|not able)|I (?:can(?:not|['\u2019]t| not)|"
    r"won['\u2019]t|will not|must decline)|as an AI\b|(?:unable|not able) to (?:help|assist|comply|answer|provide|do))",
    re.IGNORECASE,
)
_LABEL_SIGNS = r"[ \t>#*_`-]*"
_NUMBERED_LINE = re.compile(r"\s*[*_]*(?:step\s*)?(\d{1,3})\s*[.):]+[*_]*\s+(.*)", re.IGNORECASE)
_BULLET = re.compile(r"\s*[-*\u2022]\s+")
_COUNT = re.compile(
    r"(?:step\s*)?(?:no\.?\s*|number\s*|#\s*)?\[?(\d{1,6})\]?(?:\.0*)?(?:\s*[.:)](?!\d).*)?", re.IGNORECASE | re.DOTALL
)
_FENCE = re.compile(r"^```\w*[ \t]*$", re.MULTILINE)


def parse_reply(text: str, schema: Mapping[str, Any], finish_reason: FinishReason = "stop") -> dict[str, Any]:
    r"""The fields of a reply.

    The first complete JSON object that fits the schema counts, wherever it stands (`json_objects` says what is mended
    in it); without one, sections that open with the name of a field and a colon. Field names may differ in case,
    spaces, hyphens and underscores; fields that the schema lacks are dropped. A whole number may be written "3",
    "Step 3" or 3.0; a text may come as a list of lines, and a list as numbered lines. Enums are left to the checks,
    which know the aliases.

    Args:
        schema: as `Prompts.schema` gives it: texts, whole numbers and lists of texts.
        finish_reason: a reply that was cut off counts only where a complete object stands in it.

    Raises:
        ReplyFault: `empty`, `cut_off`, `refusal`, `unparsable`, `missing_field` or `wrong_type`.

    Example:
        >>> kinds = {"properties": {"step": {"type": "integer"}}, "required": ["step"]}
        >>> parse_reply('Here it is: {"Step": "step 3"}', kinds)
        {'step': 3}
    """
    if finish_reason == "refusal":
        raise ReplyFault("refusal", "Please answer; this is ordinary school mathematics.")
    text = text.rpartition("</think>")[2].strip()  # what reasoning models draft before it is not the reply
    fault: ReplyFault | None = None
    if len(text) <= _LONGEST:
        for found in json_objects(text):
            try:
                return _fields(found, schema)
            except ReplyFault as first:
                named = {_plain(name) for name in found} & {_plain(name) for name in schema["properties"]}
                fault = fault or (first if named else None)
    if finish_reason == "length":
        raise ReplyFault("cut_off", "The reply was too long and was cut off; be shorter.")
    if not text:
        raise ReplyFault("empty", "The reply was empty.")
    if len(text) > _LONGEST:
        raise ReplyFault("unparsable", "The reply was far too long; send one JSON object.")
    if fault is not None:
        raise fault
    sections = _sections(text, list(schema["properties"]))
    if sections:
        return _fields(sections, schema)
    if _REFUSAL.search(text[:300]):
        raise ReplyFault("refusal", "Please answer; this is ordinary school mathematics.")
    names = ", ".join(schema["properties"])
    raise ReplyFault("unparsable", f"Send one valid JSON object with the fields {names} and nothing around it.")


def _fields(found: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    if not schema["properties"].keys() <= found.keys():  # as good as all replies spell the names as they are
        by_name = {_plain(name): value for name, value in found.items()}
        found = {name: by_name.get(_plain(name)) for name in schema["properties"]}
    fields: dict[str, Any] = {}
    for name, kind in schema["properties"].items():
        value = found[name]
        if value is None:
            raise ReplyFault("missing_field", f"The field {name} is missing.")
        fields[name] = _READERS[kind["type"]](name, value)
    return fields


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "", name).casefold()


def _text(name: str, value: Any) -> str:
    if isinstance(value, list) and value and all(isinstance(line, str) for line in value):
        value = "\n".join(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise ReplyFault("wrong_type", f"The field {name} must be text.")
    if any("\ud800" <= character <= "\udfff" for character in value) or "\0" in value:
        raise ReplyFault("wrong_type", f"The field {name} holds a broken character; write it as plain text.")
    return value.strip()


def _whole_number(name: str, value: Any) -> int:
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e6:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    written = _COUNT.fullmatch(value.strip().strip("*_`\"'")) if isinstance(value, str) else None
    if written is None:
        raise ReplyFault("wrong_type", f"The field {name} must be one whole number.")
    return int(written.group(1))


def _texts(name: str, value: Any) -> list[str]:
    if isinstance(value, str):
        value = _lines(value)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ReplyFault("wrong_type", f"The field {name} must be a list of texts.")
    return [_text(name, item) for item in value]


_READERS = {"string": _text, "integer": _whole_number, "array": _texts}


def _lines(text: str) -> list[str]:
    """The items of a list that is written as lines; numbers and bullets are taken off where every item has one."""
    lines = [line for line in text.splitlines() if line.strip()]
    if lines and all(_BULLET.match(line) for line in lines):
        return [_BULLET.sub("", line, count=1) for line in lines]
    items: list[str] = []
    for line in lines:
        numbered = _NUMBERED_LINE.fullmatch(line)
        if numbered is not None and int(numbered.group(1)) == len(items) + 1:
            items.append(numbered.group(2))
        elif items:
            items[-1] += f"\n{line}"  # an item of several lines
        else:
            return lines
    return items


def _sections(text: str, names: list[str]) -> dict[str, str]:
    """Sections that open with a field's name and a colon at the start of a line; of two alike the first counts."""
    spelled = "|".join(re.escape(name).replace("_", r"[ _-]") for name in names)
    label = re.compile(rf"^{_LABEL_SIGNS}({spelled})[*_`]*[ \t]*[:\uff1a][*_`]*", re.IGNORECASE | re.MULTILINE)
    openings = []
    seen: set[str] = set()
    for match in label.finditer(text):
        name = _plain(match.group(1))
        if name not in seen:
            seen.add(name)
            openings.append((name, match))
    sections: dict[str, str] = {}
    for index, (name, match) in enumerate(openings):
        end = openings[index + 1][1].start() if index + 1 < len(openings) else len(text)
        sections[name] = _FENCE.sub("", text[match.end() : end]).strip()
    return sections
