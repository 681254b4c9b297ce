"""Rows of any JSON whatever: read, or refused with the one error that is counted; and what is written comes back."""

import dataclasses
import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lemma_train import records
from lemma_train.problem_rows import read_problem_row
from lemma_train.records import ERROR_ORIGINS, STRATEGIES, RowError, Trajectory, read_row
from lemma_train.training.sources import Source, iterate

settings.register_profile("json", max_examples=200, deadline=None, derandomize=True, database=None)
JSON_ROWS = settings.get_profile("json")

_REASONS = {
    *("unknown_format", "missing_field", "empty_field", "wrong_type", "invalid_utf8", "bad_error_span", "no_answer"),
    *("answer_not_in_output", "no_boxed_answer"),
}
_KEYS = st.sampled_from(
    [
        *("instruction", "input", "output", "prompt", "completion", "messages", "conversations", "question", "answer"),
        *("solution", "problem", "id", "source", "strategy", "error_origin", "error_type", "error_span", "role"),
        *("content", "from", "value", "unique_id", "level", "subject", "type"),
    ]
)
_TEXTS = st.sampled_from(
    ["", " ", "#### 5", "2 + 3\n#### ", "####", "\\boxed{5}", "\\boxed{", "5", "-1,000", "\ud800", "user", "assistant"]
) | st.text(max_size=8)
_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | _TEXTS
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS | _TEXTS, inner, max_size=4),
    max_leaves=12,
)
ROWS = st.dictionaries(_KEYS, _VALUES, max_size=8) | _VALUES


@pytest.mark.parametrize("read", [read_row, read_problem_row])
@JSON_ROWS
@given(row=ROWS)
def test_a_row_is_read_or_refused_with_its_reason(read, row):
    try:
        found = read(row)
    except RowError as error:
        assert error.reason in _REASONS and 0 < len(str(error)) < 1000
        return
    for field in dataclasses.fields(found):
        value = getattr(found, field.name)
        if field.name == "error_span":
            assert value is None or 0 <= value[0] < value[1] <= len(found.output)
        else:
            assert value is None or isinstance(value, str)
        if isinstance(value, str):
            value.encode()
    assert read(json.loads(json.dumps(dataclasses.asdict(found)))) == found or not isinstance(found, Trajectory)


def _nested(depth: int) -> list:
    value: list = []
    for _ in range(depth):
        value = [value]
    return value


_ENDLESS = {  # found by the properties above: what cannot be written out, and so must not be quoted
    "span": {"instruction": "q", "output": "a", "error_span": _nested(900)},
    "question": {"question": _nested(900), "answer": "5"},
    "role": {"messages": [{"role": _nested(900), "content": "q"}, {"role": "assistant", "content": "a"}]},
    "many roles": {"messages": [{"role": "x" * 100, "content": "q"}] * 10_000},
    "answer": {"question": "q", "answer": 10**5000},
    "id": {"instruction": "q", "output": "a", "id": 10**5000},
    "strategy": {"instruction": "q", "output": "a", "strategy": "x" * 100_000},
    "key": {"x" * 100_000: 1},
}


@pytest.mark.parametrize("read", [read_row, read_problem_row])
@pytest.mark.parametrize("name", _ENDLESS)
def test_values_without_end_are_refused_in_a_few_words(read, name):
    def deeper(frames: int) -> None:  # rows are read further down than they were decoded
        if frames:
            return deeper(frames - 1)
        with pytest.raises(RowError) as refused:
            read(_ENDLESS[name])
        assert refused.value.reason in _REASONS and len(str(refused.value)) < 1000

    deeper(100)


_WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).map(str.strip).filter(bool)
_NAMES = st.none() | _WORDS


@st.composite
def trajectories(draw) -> Trajectory:
    output = draw(_WORDS)
    start = draw(st.integers(0, len(output) - 1))
    span = (start, draw(st.integers(start + 1, len(output))))
    chosen = span if output[span[0] : span[1]].strip() and draw(st.booleans()) else None
    return Trajectory(
        instruction=draw(_WORDS),
        output=output,
        id=draw(_NAMES),
        source=draw(_NAMES),
        strategy=draw(st.none() | st.sampled_from(STRATEGIES)),
        error_origin=draw(st.none() | st.sampled_from(ERROR_ORIGINS)),
        error_type=draw(_NAMES),
        error_span=chosen,
        answer=None,
    )


@JSON_ROWS
@given(row=trajectories(), blank=st.sampled_from(["", " ", "\n\t"]))
def test_every_format_says_the_same_and_comes_back_as_it_was(row, blank):
    whole = dataclasses.asdict(row)
    lead = len(blank)
    told = {key: value for key, value in whole.items() if key not in ("instruction", "output")}
    if row.error_span:  # the span counts the characters as they are written
        told["error_span"] = [edge + lead for edge in row.error_span]
    asked, written = blank + row.instruction + blank, blank + row.output + blank
    forms = (
        {"instruction": asked, "input": "", "output": written},
        {"prompt": asked, "completion": written},
        {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": written}]},
        {"conversations": [{"from": "human", "value": asked}, {"from": "gpt", "value": written}]},
        {"question": asked, "solution": written},
        {"problem": asked, "solution": written},
    )
    for form in forms:
        assert read_row(json.loads(json.dumps({**told, **form}))) == row


@settings(JSON_ROWS, max_examples=60)
@given(lines=st.lists(st.binary(max_size=30) | ROWS.map(lambda row: json.dumps(row).encode()), max_size=6))
@example(lines=[b"[" * 100_000, b"1" * 5000, b'"\\ud800"', b"\xff", b"NaN"])
def test_a_file_of_anything_gives_a_row_or_a_fault_for_each_line(tmp_path_factory, lines):
    path = tmp_path_factory.getbasetemp() / "lines.jsonl"
    path.write_bytes(b"\n".join(line.replace(b"\n", b" ") for line in lines))
    for located in iterate(Source(str(path))):
        assert (located.fault is None) or (located.fault[0] in ("invalid_utf8", "invalid_json"))
        if located.fault is None:
            for read in (read_row, read_problem_row):
                try:
                    read(located.row)
                except RowError as error:
                    assert error.reason in _REASONS


_PIECES = [
    "0",
    "7",
    "42",
    "100",
    "007",
    ",",
    ".",
    " ",
    "-",
    "$",
    "{,}",
    "\\,",
    "\\ ",
    "\\!",
    "x",
    "\u0667",
    "\u00b2",
    "%",
]


@JSON_ROWS
@given(
    answer=st.sampled_from(["0", "7", "42", "42000", "1007", "100", "007", "1,000", "-7", "\u0667"]),
    text=st.lists(st.sampled_from(_PIECES), min_size=1, max_size=9).map("".join),
)
@example(answer="42", text="1\\ 042")
@example(answer="100", text="1{,}100")
@example(answer="100", text="100{,}100")
@example(answer="7", text="7.0 7.")
def test_the_quick_look_for_an_answer_changes_no_verdict(answer, text):
    def verdict() -> object:
        try:
            return read_row({"question": "Q", "solution": f"So {text}", "answer": answer})
        except RowError as error:
            return error.reason

    quick = verdict()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(records, "_stands_alone", lambda number, text: False)
        assert quick == verdict()
