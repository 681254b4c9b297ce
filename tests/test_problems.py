"""Problems from files, folders and generators: cleaned, with lasting ids, and every fault named with its place."""

import json
import re
from pathlib import Path

import pytest

from lemma_train.errors import InputError
from lemma_train.problem_rows import read_problem_row
from lemma_train.problems import Problem, load_problems
from lemma_train.records import RowError

GSM8K_ROW = {
    "question": "Ida buys 3 bags with 8 nuts each and eats 4 nuts. How many are left?",
    "answer": "She buys 3*8=<<3*8=24>>24 nuts.\nOf these 24-4=<<24-4=20>>20 are left.\n#### 20",
}
MATH_ROW = {
    "problem": "Write half of a third as a fraction.",
    "level": "Level ?",
    "type": "Prealgebra",
    "solution": r"It is $\frac{1}{2} \cdot \frac{1}{3} = \boxed{\frac{1}{6}}$.",
    "unique_id": "train/prealgebra/12.json",
}


def write(path: Path, rows: list) -> str:
    text = "".join(json.dumps(row) + "\n" for row in rows) if path.suffix == ".jsonl" else json.dumps(rows)
    path.write_text(text, encoding="utf-8")
    return str(path)


def numbered(count: int, start: int = 0) -> list[dict]:
    return [{"question": f"How much is {n} + 1?", "answer": n + 1} for n in range(start, start + count)]


def test_gsm8k_row_loses_its_annotations_and_its_marker(tmp_path):
    path = write(tmp_path / "g.jsonl", [GSM8K_ROW])
    assert load_problems([{"source": "gsm8k", "path": path}], seed=0).problems == [
        Problem(
            id="gsm8k-train-0",
            question=GSM8K_ROW["question"],
            answer="20",
            solution="She buys 3*8=24 nuts.\nOf these 24-4=20 are left.\nThe answer is 20.",
            source="gsm8k",
        )
    ]


def test_a_table_of_the_users_own_needs_only_the_names_of_its_columns(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("Task,Result\nHow much is 1 + 1?,2\n")
    entry = {"path": str(path), "columns": {"question": "Task", "answer": "Result"}}
    assert load_problems([entry], seed=0).problems == [Problem("mine-0", "How much is 1 + 1?", "2", None, "mine")]
    with pytest.raises(InputError, match=r"line 2: no known fields are in it, but Task, Result\. Mend the row"):
        load_problems([str(path)], seed=0)
    with pytest.raises(InputError, match="problems, entry 1: columns must map"):
        load_problems([{"path": str(path), "columns": 3}], seed=0)


def test_math_row_has_its_boxed_answer_and_an_id_without_slashes(tmp_path):
    path = write(tmp_path / "m.jsonl", [MATH_ROW])
    assert load_problems([{"source": "math", "path": path}], seed=0).problems == [
        Problem(
            id="math-train-prealgebra-12",
            question=MATH_ROW["problem"],
            answer=r"\frac{1}{6}",
            solution=MATH_ROW["solution"],
            source="math",
            level="Level ?",
            subject="Prealgebra",
        )
    ]


def test_math_rows_without_a_marked_answer_are_counted_and_keep_their_number(tmp_path):
    rows = [
        {"problem": "One?", "solution": "No box."},
        {"problem": "Two?", "solution": r"So \boxed{}."},
        {"problem": "Three?", "solution": r"So \boxed{3}."},
    ]
    loaded = load_problems([{"source": "math", "path": write(tmp_path / "m.jsonl", rows)}], seed=0)
    assert [problem.id for problem in loaded.problems] == ["math-train-2"]
    assert [(row.id, row.reason) for row in loaded.set_aside] == [
        ("math-train-0", "no_boxed_answer"),
        ("math-train-1", "no_boxed_answer"),
    ]


@pytest.mark.parametrize(
    ("row", "answer", "solution"),
    [
        ({"question": "Q?", "answer": "7"}, "7", None),
        ({"question": "Q?", "answer": 7}, "7", None),
        ({"question": "Q?", "answer": 7.0}, "7", None),
        ({"question": "Q?", "answer": 0.25, "solution": None}, "0.25", None),
        ({"question": "Q?", "answer": "7", "solution": " 3+4=7 "}, "7", "3+4=7"),
        ({"question": "Q?", "answer": "#### 1,080"}, "1,080", None),
        ({"problem": "Q?", "solution": "So 7.", "answer": "7", "question": None}, "7", "So 7."),
    ],
)
def test_rows_of_all_shapes_are_read(row, answer, solution):
    read = read_problem_row(row)
    assert (read.question, read.answer, read.solution) == ("Q?", answer, solution)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"question": "Q?"}, "missing_field"),
        ({"question": " ", "answer": "7"}, "empty_field"),
        ({"question": "Q?", "answer": "  "}, "empty_field"),
        ({"question": "Q?", "answer": "steps\n####"}, "empty_field"),
        ({"question": "Q?", "answer": True}, "wrong_type"),
        ({"question": "Q?", "answer": ["7"]}, "wrong_type"),
        ({"question": "Q?", "answer": float("nan")}, "wrong_type"),
        ({"question": "Q?", "answer": "\ud800"}, "invalid_utf8"),
        ({"instruction": "Q?", "output": "7"}, "unknown_format"),
        (["Q?", "7"], "wrong_type"),
    ],
)
def test_bad_rows_are_refused_with_a_reason(row, reason):
    with pytest.raises(RowError) as refused:
        read_problem_row(row)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('{"question": "Q?"}', "the field 'answer' is missing"),
        ('{"question": ', "line 2"),
        ('{"question": "Q?", "answer": "7", "id": "a b"}', "white space"),
        ("[]", "JSON object"),
    ],
)
def test_a_bad_row_of_the_users_file_is_named_with_its_line_and_the_mend(tmp_path, line, fault):
    path = tmp_path / "mine.jsonl"
    path.write_text(f'{{"question": "Fine?", "answer": "1"}}\n{line}\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"questions: .*mine\.jsonl, line 2: .*Mend the row") as refused:
        load_problems(str(path), seed=0, key="questions")
    assert fault in str(refused.value)


def test_a_gsm8k_row_without_a_worked_solution_is_named(tmp_path):
    path = write(tmp_path / "g.jsonl", [GSM8K_ROW, {"question": "Q?", "answer": "7"}])
    with pytest.raises(InputError, match=r"g\.jsonl, line 2: .*####"):
        load_problems([{"source": "gsm8k", "path": path}], seed=0)


def test_ids_are_the_rows_own_or_the_files_name_and_number(tmp_path):
    rows = [{**row, **({"id": f"set/{n}"} if n == 1 else {})} for n, row in enumerate(numbered(3))]
    loaded = load_problems([write(tmp_path / "my file.jsonl", rows)], seed=0)
    assert [problem.id for problem in loaded.problems] == ["my-file-0", "set-1", "my-file-2"]
    assert {problem.source for problem in loaded.problems} == {"my-file"}


def test_a_folder_of_all_file_types_is_read_in_order(tmp_path):
    import pyarrow
    import pyarrow.parquet

    (tmp_path / "b").mkdir()
    write(tmp_path / "a.json", numbered(2))
    write(tmp_path / "b" / "c.jsonl", numbered(2, start=2))
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(numbered(2, start=4)), tmp_path / "d.parquet")
    loaded = load_problems({"path": str(tmp_path)}, seed=0)
    assert [problem.id for problem in loaded.problems] == ["a-0", "a-1", "b-c-0", "b-c-1", "d-0", "d-1"]
    assert [problem.answer for problem in loaded.problems] == list("123456")


def test_limit_takes_the_first_rows_and_sample_draws_from_these_by_the_seed(tmp_path):
    path = write(tmp_path / "p.jsonl", numbered(100))

    def numbers(seed: int, **entry) -> list[int]:
        loaded = load_problems([{"source": "file", "path": path, **entry}], seed)
        return [int(problem.id.removeprefix("p-")) for problem in loaded.problems]

    assert numbers(0, limit=5) == [0, 1, 2, 3, 4]
    drawn = numbers(0, sample=20, limit=50)
    assert len(drawn) == 20 and drawn == sorted(drawn) and max(drawn) < 50
    assert drawn == numbers(0, sample=20, limit=50) != numbers(1, sample=20, limit=50)
    assert set(numbers(0, sample=10, limit=50)) < set(drawn)
    with pytest.raises(InputError, match="sample asks for 101 problems of 100"):
        numbers(0, sample=101)


def test_a_question_that_came_before_is_set_aside_whatever_its_white_space(tmp_path):
    rows = [*numbered(2), {"question": " How much is\n0 + 1? ", "answer": "1"}]
    path = write(tmp_path / "p.jsonl", rows)
    loaded = load_problems([path, {"path": path, "limit": 1}], seed=0)
    assert [problem.id for problem in loaded.problems] == ["p-0", "p-1"]
    assert [(row.id, row.reason) for row in loaded.set_aside] == [
        ("p-2", "duplicate_question"),
        ("p-0", "duplicate_question"),
    ]
    assert "p-0" in loaded.set_aside[0].detail


def test_one_id_for_two_questions_is_an_error(tmp_path):
    (tmp_path / "other").mkdir()
    first, second = write(tmp_path / "p.jsonl", numbered(2)), write(tmp_path / "other" / "p.jsonl", numbered(2, 7))
    with pytest.raises(InputError, match=r"two different questions have the id p-0; .* files of the same name"):
        load_problems([first, second], seed=0)


def test_generated_entries_use_the_seed_and_never_share_an_id():
    pytest.importorskip("reasoning_gym", reason="generated problems need the extra demo")
    entry = {"source": "generated", "kind": "word_sums", "size": 40}
    first = load_problems([entry], seed=3).problems
    assert first == load_problems([{**entry, "seed": 3}], seed=9).problems
    assert first != load_problems([entry], seed=4).problems
    both = load_problems([entry, {**entry, "seed": 3}], seed=3).problems
    assert both[:40] == first and len({problem.id for problem in both}) == 80


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([{"source": "gsm8k", "lmit": 3}], r"entry 1: 'lmit' is no key of source gsm8k \(did you mean limit\?\)"),
        ([{"source": "generatd", "kind": "word_sums"}], r"'generatd' \(did you mean generated\?\)"),
        ([{"kind": "word_sums", "size": 3}], "source must be one of"),
        ([{"source": "generated", "kind": "word_sums"}], "needs the key 'size'"),
        ([{"source": "file"}], "needs the key 'path'"),
        (["nowhere.jsonl"], r"problems: nowhere\.jsonl does not exist"),
        ([{"path": "p.jsonl", "limit": 0}], "limit must be a whole number of at least 1; it is 0"),
        ([{"path": "p.jsonl", "sample": True}], "sample must be a whole number"),
        ([{"path": 7}], "path must be text"),
        ([7], "entry 1 must be a path"),
        ([], "there is no problem"),
    ],
)
def test_what_an_entry_gets_wrong_is_named(entries, message):
    with pytest.raises(InputError, match=message):
        load_problems(entries, seed=0)


def test_the_hub_is_asked_for_by_the_data_sets_name_and_its_absence_is_explained(monkeypatch):
    """Without a network the message names the data set and the way out; datasets' own switch keeps it from retrying."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    for source, name in (("gsm8k", "openai/gsm8k"), ("math", "EleutherAI/hendrycks_math")):
        with pytest.raises(InputError, match=rf"problems: '{name}' .*give its path"):
            load_problems([source], seed=0)


def test_all_of_gsm8k_and_math_is_read_clean(shared_data):
    gsm8k = {"source": "gsm8k", "path": str(shared_data / "gsm8k_train.jsonl")}
    math = {"source": "math", "path": str(shared_data / "math_train.jsonl")}
    loaded = load_problems([gsm8k, math], seed=0)
    by_source = {name: [p for p in loaded.problems if p.source == name] for name in ("gsm8k", "math")}
    assert len(by_source["gsm8k"]) == 7473
    # Two rows have an empty box, and one question is in it twice.
    assert len(by_source["math"]) == 7497
    assert sorted(row.reason for row in loaded.set_aside) == ["duplicate_question"] + 2 * ["no_boxed_answer"]
    for problem in by_source["gsm8k"]:
        assert problem.solution.endswith(f"\nThe answer is {problem.answer}.")
        assert not re.search(r"<<|>>|####", problem.solution) and re.fullmatch(r"-?[\d,]+(\.\d+)?", problem.answer)
    for problem in by_source["math"]:
        assert problem.answer.count("{") == problem.answer.count("}") and problem.subject and problem.level
    assert not [p.id for p in loaded.problems if re.search(r"[\s/]", p.id)]
