"""Every accepted row format, every reason for refusing a row, and error spans that survive stripping."""

import pytest

from lemma_train.records import RowError, Trajectory, read_row

Q, A = "What is 2 + 3?", "It is 5."


def reason(row):
    with pytest.raises(RowError) as caught:
        read_row(row)
    assert str(caught.value)
    return caught.value.reason


@pytest.mark.parametrize(
    "row",
    [
        {"instruction": Q, "output": A},
        {"instruction": Q, "input": "", "output": A},
        {"instruction": Q, "input": None, "output": A},
        {"instruction": f"  {Q}\n", "output": f"\n {A} "},
        {"prompt": Q, "completion": A},
        {"prompt": [{"role": "user", "content": Q}], "completion": [{"role": "assistant", "content": A}]},
        {"messages": [{"role": "user", "content": Q}, {"role": "assistant", "content": A}]},
        {"conversations": [{"from": "human", "value": Q}, {"from": "gpt", "value": A}]},
        {"conversations": [{"from": "user", "value": Q}, {"from": "assistant", "value": A}]},
        {"question": Q, "answer": A},
        {"problem": Q, "solution": A, "level": "Level 1", "type": "Algebra"},
        # a table joined from several sets: the other formats' fields are there, and null
        {"instruction": None, "output": None, "messages": None, "question": Q, "answer": A},
    ],
)
def test_every_format_gives_the_same_row(row):
    assert read_row(row) == Trajectory(instruction=Q, output=A)


def test_input_is_joined_to_the_instruction():
    assert read_row({"instruction": "Add. ", "input": " 2, 3 ", "output": A}).instruction == "Add.\n2, 3"


def test_system_turn_is_joined_to_the_question():
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": Q}]
    row = read_row({"messages": [*turns, {"role": "assistant", "content": A}]})
    assert row.instruction == f"Be brief.\n{Q}"


def test_gsm8k_row_gives_its_answer():
    row = read_row({"question": Q, "answer": "2 + 3 = 5\n#### 5"})
    assert (row.output, row.answer) == ("2 + 3 = 5\n#### 5", "5")


@pytest.mark.parametrize("key", ["question", "problem"])
def test_solution_and_answer_may_stand_apart(key):
    row = read_row({key: Q, "solution": A, "answer": 5})
    assert (row.output, row.answer) == (A, "5")


def test_every_field_of_a_trajectory_is_read():
    fields = {
        "instruction": Q,
        "output": "It is 6. Wait, it is 5.",
        "id": 7,
        "source": "gsm8k",
        "strategy": "fix_and_continue",
        "error_origin": "student",
        "error_type": "calculation_error",
        "error_span": [0, 8],
        "answer": "5",
    }
    assert read_row(fields) == Trajectory(**(fields | {"id": "7", "error_span": (0, 8)}))


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ([Q, A], "wrong_type"),
        ("text", "wrong_type"),
        (None, "wrong_type"),
        ({}, "unknown_format"),
        ({"text": A}, "unknown_format"),
        ({"instruction": Q}, "missing_field"),
        ({"instruction": None, "output": A}, "missing_field"),
        ({"instruction": Q, "output": None}, "missing_field"),
        ({"prompt": Q}, "missing_field"),
        ({"question": Q}, "missing_field"),
        ({"problem": Q, "answer": "5"}, "missing_field"),
        ({"instruction": " \n", "output": A}, "empty_field"),
        ({"instruction": Q, "output": ""}, "empty_field"),
        ({"question": Q, "answer": "#### 5"}, "empty_field"),
        ({"instruction": 5, "output": A}, "wrong_type"),
        ({"instruction": Q, "output": [A]}, "wrong_type"),
        ({"instruction": Q, "input": 5, "output": A}, "wrong_type"),
        ({"instruction": Q, "output": A, "id": [1]}, "wrong_type"),
        ({"instruction": Q, "output": A, "id": True}, "wrong_type"),
        ({"instruction": Q, "output": A, "strategy": "fix"}, "wrong_type"),
        ({"instruction": Q, "output": A, "error_origin": "teacher"}, "wrong_type"),
        ({"messages": "hello"}, "wrong_type"),
        ({"messages": [Q, A]}, "wrong_type"),
        ({"prompt": 5, "completion": [{"role": "assistant", "content": A}]}, "wrong_type"),
        ({"prompt": [{"role": "user", "content": Q}], "completion": A}, "wrong_type"),
        ({"messages": [{"role": "user", "content": Q}]}, "unknown_format"),
        ({"messages": [{"role": "user", "content": Q}, {"role": "tool", "content": A}]}, "unknown_format"),
        ({"messages": [{"role": r, "content": Q} for r in ("user", "assistant") * 2]}, "unknown_format"),
        ({"messages": [{"role": r, "content": Q} for r in ("user", "system", "assistant")]}, "unknown_format"),
        ({"messages": [{"role": "user"}, {"role": "assistant", "content": A}]}, "missing_field"),
        ({"instruction": Q, "output": "a \ud83e b"}, "invalid_utf8"),
        ({"question": Q, "answer": "2 + 3 = 5\n####"}, "no_answer"),
        ({"instruction": Q, "output": A, "answer": " "}, "no_answer"),
        ({"instruction": Q, "output": A, "answer": "6"}, "answer_not_in_output"),
    ],
)
def test_bad_row_is_refused_with_its_reason(row, expected):
    assert reason(row) == expected


@pytest.mark.parametrize(
    "span", [[0], [0, 1, 2], [3, 3], [4, 2], [-1, 3], [0, 99], [0, 9], [0.0, 3.0], [True, 3], "0-3", {"start": 0}, 3]
)
def test_bad_error_span_is_refused(span):
    assert reason({"instruction": Q, "output": A, "error_span": span}) == "bad_error_span"


@pytest.mark.parametrize(
    ("output", "span", "marked"),
    [
        ("It is 6. No, 5.", [0, 8], "It is 6."),
        ("\n  It is 6. No, 5.", [3, 11], "It is 6."),
        ("\n  It is 6. No, 5.", [0, 11], "It is 6."),
        ("  It is 6.   ", [0, 13], "It is 6."),
        ("It is 6. No, 5.", [9, 15], "No, 5."),
        ("\u00a0 5€ 🧮 no", [3, 6], "\u20ac 🧮"),
    ],
)
def test_error_span_follows_the_text_when_the_output_is_stripped(output, span, marked):
    row = read_row({"instruction": Q, "output": output, "error_span": span})
    assert row.output[slice(*row.error_span)] == marked
    assert row.output == output.strip()


@pytest.mark.parametrize("span", [[0, 2], [10, 12]])
def test_error_span_of_white_space_only_is_refused(span):
    assert reason({"instruction": Q, "output": "  It is 6.  ", "error_span": span}) == "bad_error_span"


@pytest.mark.parametrize(
    ("answer", "output"),
    [
        ("1000", "It costs $1,000."),
        ("1,000", "It costs 1000 dollars"),
        ("1000", "so 1{,}000"),
        ("-5", "20 - 25 = -5"),
        ("\u22125", "It is -5"),
        ("$5", "It is 5.00"),
        ("\\frac{1}{2}", "It is a half."),  # not a whole number: left to the grader
        ("5.5", "unknown"),
    ],
)
def test_promised_answer_is_found_however_it_is_written(answer, output):
    assert read_row({"instruction": Q, "output": output, "answer": answer}).answer == answer


def test_promised_answer_must_follow_the_wrong_part():
    row = {"instruction": Q, "output": "It is 5. No, it is 6.", "answer": "5", "error_span": [0, 8]}
    assert reason(row) == "answer_not_in_output"
