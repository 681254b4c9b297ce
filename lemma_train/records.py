"""The training row: one dataclass, and the readers that bring every accepted row format to it.

Enters: one decoded JSON object, as a mapping. Leaves: a `Trajectory`, or a `RowError` that names the reason. It opens
no files and knows no tokenizer.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

STRATEGIES = ("fix_and_continue", "fresh_and_restart", "reference", "sample")
ERROR_ORIGINS = ("student", "injected")

_QUOTED, _LONGEST_LIST = 60, 4  # characters and entries of a value that a message repeats


class RowError(ValueError):
    """A row that cannot be trained on. `reason` is the short name under which it is counted."""

    def __init__(self, reason: str, detail: str):
        super().__init__(detail)
        self.reason = reason


def quoted(value: Any) -> str:
    """A value of a row as a message repeats it: in few words, because rows may hold values without end.

    Example:
        >>> quoted([3, "four"]), quoted([[3]] * 1000)
        ("[3, 'four']", 'list')
    """
    if isinstance(value, list | tuple) and len(value) <= _LONGEST_LIST:
        return f"[{', '.join(map(_quoted_alone, value))}]"
    return _quoted_alone(value)


def _quoted_alone(value: Any) -> str:
    if isinstance(value, str):
        return repr(value) if len(value) <= _QUOTED else f"{value[:_QUOTED]!r}..."
    if isinstance(value, int) and abs(value) >= 10**_QUOTED:
        return "a number of many digits"  # Python refuses to write out the longest ones
    return repr(value) if value is None or isinstance(value, int | float) else type(value).__name__


@dataclass(frozen=True)
class Trajectory:
    """A training row; absent fields are None.

    instruction: the question, without any template, stripped.
    output: the solution, stripped; begins with the wrong part where there is one.
    error_span: `(start, end)` characters of `output` that hold the wrong part, end exclusive.
    answer: the reference answer as text.
    """

    instruction: str
    output: str
    id: str | None = None
    source: str | None = None
    strategy: str | None = None
    error_origin: str | None = None
    error_type: str | None = None
    error_span: tuple[int, int] | None = None
    answer: str | None = None


def read_row(row: Mapping[str, Any]) -> Trajectory:
    """Bring one row of any accepted format to a `Trajectory`.

    Accepted: instruction/input/output (Alpaca, and the published LEMMA set), prompt/completion, messages, ShareGPT
    conversations, question/answer(/solution) and problem/solution(/answer) (GSM8K's and MATH's own files).

    Raises:
        RowError: with the reason `unknown_format`, `missing_field`, `empty_field`, `wrong_type`, `invalid_utf8`,
            `bad_error_span`, `no_answer` or `answer_not_in_output`.

    Example:
        >>> read_row({"question": "What is 2 + 3?", "answer": "2 + 3 = 5\\n#### 5"}).answer
        '5'
    """
    if not isinstance(row, Mapping):
        raise RowError("wrong_type", f"a row must be a JSON object, this one is of type {type(row).__name__}")
    held = [key for key in _FORMATS if key in row]
    # Tables that join several sets fill the fields of the other formats with nulls.
    for key in [key for key in held if row[key] is not None] or held:
        instruction, output, answer = _FORMATS[key](row)
        break
    else:
        raise RowError("unknown_format", f"no known format has the fields {', '.join(map(str, row))[:200] or '(none)'}")
    written = output
    instruction, output = instruction.strip(), output.strip()
    for field, text in (("instruction", instruction), ("output", output)):
        if not text:
            raise RowError("empty_field", f"the {field} is empty")
    trajectory = Trajectory(
        instruction=instruction,
        output=output,
        id=_optional(row, "id"),
        source=_optional(row, "source"),
        strategy=_one_of(row, "strategy", STRATEGIES),
        error_origin=_one_of(row, "error_origin", ERROR_ORIGINS),
        error_type=_optional(row, "error_type"),
        error_span=_error_span(row, written),
        answer=answer,
    )
    _check_answer(trajectory)
    return trajectory


def _text(row: Mapping[str, Any], field: str) -> str:
    if field not in row or row[field] is None:
        raise RowError("missing_field", f"the field {field!r} is missing")
    value = row[field]
    if not isinstance(value, str):
        raise RowError("wrong_type", f"the field {field!r} must be text, it is of type {type(value).__name__}")
    try:
        value.encode()
    except UnicodeEncodeError as error:  # JSON can spell half of a surrogate pair, which no tokenizer takes
        raise RowError("invalid_utf8", f"the field {field!r} holds half a character, {value[error.start]!r}") from None
    return value


def _optional(row: Mapping[str, Any], field: str) -> str | None:
    value = row.get(field)
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return number_as_text(value, field)  # ids and answers are often written as bare numbers
    return _text(row, field)


def number_as_text(value: float, field: str) -> str:
    """A number as Python writes it.

    Raises:
        RowError: `wrong_type`; it has more digits than Python writes (4,300).
    """
    try:
        return str(value)
    except ValueError:
        raise RowError("wrong_type", f"the field {field!r} is a number of too many digits") from None


def _one_of(row: Mapping[str, Any], field: str, known: tuple[str, ...]) -> str | None:
    value = _optional(row, field)
    if value is not None and value not in known:
        raise RowError("wrong_type", f"the field {field!r} must be one of {', '.join(known)}, it is {quoted(value)}")
    return value


def _from_instruction(row: Mapping[str, Any]) -> tuple[str, str, str | None]:
    instruction, extra = _text(row, "instruction"), row.get("input")
    if extra is not None and _text(row, "input").strip():
        instruction = f"{instruction.rstrip()}\n{extra.strip()}"
    return instruction, _text(row, "output"), _promised_answer(row)


def _from_prompt(row: Mapping[str, Any]) -> tuple[str, str, str | None]:
    prompt, completion = row["prompt"], row.get("completion")
    if isinstance(prompt, list) or isinstance(completion, list):
        if not (isinstance(prompt, list) and isinstance(completion, list)):
            raise RowError("wrong_type", "prompt and completion must both be text or both be lists of turns")
        return *_single_exchange([*prompt, *completion], "role", "content"), _promised_answer(row)
    return _text(row, "prompt"), _text(row, "completion"), _promised_answer(row)


def _from_messages(row: Mapping[str, Any]) -> tuple[str, str, str | None]:
    return *_single_exchange(row["messages"], "role", "content"), _promised_answer(row)


def _from_conversations(row: Mapping[str, Any]) -> tuple[str, str, str | None]:
    return *_single_exchange(row["conversations"], "from", "value"), _promised_answer(row)


def _from_question(row: Mapping[str, Any]) -> tuple[str, str, str | None]:
    if row.get("solution") is not None:
        return _text(row, "question"), _text(row, "solution"), _promised_answer(row)
    worked = _text(row, "answer")
    before, marker, final = worked.rpartition("####")  # GSM8K: the worked solution, then "#### answer"
    if marker and not final.strip():
        raise RowError("no_answer", "the answer ends in '####' with nothing after it")
    if marker and not before.strip():
        raise RowError("empty_field", "the answer holds no worked solution before '####'")
    return _text(row, "question"), worked, final.strip() if marker else None


def _from_problem(row: Mapping[str, Any]) -> tuple[str, str, str | None]:
    return _text(row, "problem"), _text(row, "solution"), _promised_answer(row)


# The first key that a row has decides its format.
_FORMATS: dict[str, Callable[[Mapping[str, Any]], tuple[str, str, str | None]]] = {
    "instruction": _from_instruction,
    "prompt": _from_prompt,
    "messages": _from_messages,
    "conversations": _from_conversations,
    "question": _from_question,
    "problem": _from_problem,
}
_SPEAKERS = {"user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant", "system": "system"}


def _single_exchange(turns: Any, role_key: str, text_key: str) -> tuple[str, str]:
    """One question and one reply; a system turn before them is joined to the question."""
    if not isinstance(turns, list) or not all(isinstance(turn, Mapping) for turn in turns):
        raise RowError("wrong_type", "a conversation must be a list of turns")
    roles = [turn.get(role_key) for turn in turns]
    speakers = [_SPEAKERS.get(role, quoted(role)) if isinstance(role, str) else quoted(role) for role in roles]
    spoken = [speaker for speaker in speakers if speaker != "system"]
    if spoken != ["user", "assistant"] or "system" in speakers[1:]:
        told = ", ".join(speakers[:_LONGEST_LIST]) + (", ..." if len(speakers) > _LONGEST_LIST else "")
        raise RowError("unknown_format", f"one question and one reply are needed, this conversation has {told}")
    texts = [_text(turn, text_key) for turn in turns]
    return "\n".join(texts[:-1]), texts[-1]


def _promised_answer(row: Mapping[str, Any]) -> str | None:
    answer = _optional(row, "answer")
    if answer is not None and not answer.strip():
        raise RowError("no_answer", "the field 'answer' is there but empty; write the answer or null")
    return answer.strip() if answer is not None else None


def _error_span(row: Mapping[str, Any], written: str) -> tuple[int, int] | None:
    """The span as it lies in the stripped output; the row counts characters of the output as written."""
    span = row.get("error_span")
    if span is None:
        return None
    whole = isinstance(span, list | tuple) and len(span) == 2 and all(type(edge) is int for edge in span)
    if whole and 0 <= span[0] < span[1] <= len(written):
        lead, kept = len(written) - len(written.lstrip()), len(written.strip())
        start, end = max(0, span[0] - lead), min(kept, span[1] - lead)
        if start < end:
            return start, end
    raise RowError(
        "bad_error_span",
        f"error_span {quoted(span)} must be [start, end) with 0 <= start < end <= {len(written)}, the output's length, "
        "and hold more than white space",
    )


_WHOLE_NUMBER = re.compile(r"[-\u2212]?\$?\d[\d,]*")
_NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
_LATEX_THOUSANDS = re.compile(r"(?<=\d)(?:\{,\}|\\[,! ])(?=\d{3})")


def _check_answer(trajectory: Trajectory) -> None:
    """A row that promises a whole number must reach it after its wrong part.

    Other answers have too many spellings to be held to without a grader; signs are left out of the comparison because
    "20-15" reads as 20 and 15.
    """
    if trajectory.answer is None or not _WHOLE_NUMBER.fullmatch(trajectory.answer):
        return
    right_part = trajectory.output[trajectory.error_span[1] if trajectory.error_span else 0 :]
    if _stands_alone(trajectory.answer, right_part):
        return
    stated = {float(found.replace(",", "")) for found in _NUMBER.findall(_LATEX_THOUSANDS.sub("", right_part))}
    if float(trajectory.answer.lstrip("-\u2212$").replace(",", "")) not in stated:
        raise RowError("answer_not_in_output", f"the output never reaches the promised answer {trajectory.answer!r}")


def _stands_alone(number: str, text: str) -> bool:
    """Whether the last place that spells `number` is surely that number whole; a quick yes to most rows.

    No only means that the text has to be read: the number may be written in another way, or stand elsewhere.
    """
    start = text.rfind(number)
    if start < 0 or not number.isdecimal():
        return False
    before, after = text[max(0, start - 2) : start], text[start + len(number) : start + len(number) + 2]
    part_of_longer = before[-1:] in ("}", ".", ",") or before[-1:].isdigit() or before[:1] == "\\"
    goes_on = after[:1] in (",", "{", "\\") or after[:1].isdigit() or (after[:1] == "." and after[1:].isdigit())
    return not (part_of_longer or goes_on)
