"""Grading a file of responses."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lemma_train.errors import InputError
from lemma_train.grading.grade_file import grade_file

ROWS = [
    {"id": 1, "response": "The answer is 18.", "reference": "#### 18", "other": {"kept": [1, None]}},
    {"id": 2, "response": r"\boxed{\sqrt{12}}", "reference": r"2\sqrt{3}"},
    {"response": "The answer is 5.", "reference": 6, "id": 3},
    {"id": 4, "response": "Hm.", "reference": 18.0},
    {"id": 5, "response": "The answer is 5.", "reference": ""},
    {"id": 6, "response": "Das macht 5 \N{EURO SIGN}.\ud800", "reference": "5"},
]


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in ROWS) + "\n\n")
    return path


def graded_rows(text):
    return [json.loads(line) for line in text.splitlines()]


def test_rows_keep_their_fields_and_order_and_get_a_verdict(source, tmp_path):
    summary = grade_file(source, tmp_path / "out.jsonl", workers=1)
    rows = graded_rows((tmp_path / "out.jsonl").read_text())
    assert [row["correct"] for row in rows] == [True, True, False, False, None, True]
    assert [row["extracted"] for row in rows] == ["18", r"\sqrt{12}", "5", None, "5", "5"]
    assert [row.get("grade_reason") for row in rows] == [None, None, None, "no_answer", "unreadable_reference", None]
    for row, graded in zip(ROWS, rows, strict=True):
        assert {key: graded[key] for key in row} == row and list(graded)[: len(row)] == list(row)
    assert (summary.rows, summary.correct, summary.wrong, summary.ungraded) == (6, 3, 2, 1)
    assert str(summary) == "6 rows: 3 correct, 2 wrong, 1 ungraded (no_answer 1, unreadable_reference 1)"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl"]


def test_without_an_output_the_rows_go_to_standard_output(source):
    program = "import sys, pathlib; from lemma_train.grading.grade_file import grade_file;"
    program += "print(grade_file(pathlib.Path(sys.argv[1])), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", program, source], capture_output=True, text=True, check=True, timeout=120
    )
    assert len(graded_rows(done.stdout)) == len(ROWS)
    assert done.stderr == "6 rows: 3 correct, 2 wrong, 1 ungraded (no_answer 1, unreadable_reference 1)\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{not json", "in.jsonl:2: every line must be one JSON object"),
        ("[1]", "in.jsonl:2: every line must be one JSON object"),
        ("[" * 100_000, "in.jsonl:2: every line must be one JSON object"),
        ('{"reference": "5"}', "in.jsonl:2: the field 'response' is missing"),
        ('{"response": "5"}', "in.jsonl:2: the field 'reference' is missing"),
        ('{"response": null, "reference": "5"}', "in.jsonl:2: the field 'response' must be text, it is null"),
        (
            '{"response": "5", "reference": true}',
            "in.jsonl:2: the field 'reference' must be text or a number, it is true",
        ),
        ('{"response": "5", "reference": ["5"]}', "in.jsonl:2: the field 'reference' must be text or a number"),
    ],
)
def test_a_bad_line_is_named_and_leaves_no_output(tmp_path, line, message):
    source = tmp_path / "in.jsonl"
    source.write_text(json.dumps(ROWS[0]) + "\n" + line + "\n")
    with pytest.raises(InputError) as fault:
        grade_file(source, tmp_path / "out.jsonl")
    assert message in str(fault.value)
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_an_invalid_encoding_is_named(tmp_path):
    (tmp_path / "in.jsonl").write_bytes(b'{"response": "\xff", "reference": "5"}\n')
    with pytest.raises(InputError, match=r"in\.jsonl:1"):
        grade_file(tmp_path / "in.jsonl", tmp_path / "out.jsonl")


def test_the_input_is_never_written_over(source, tmp_path):
    (tmp_path / "same").symlink_to(source)
    before = source.read_bytes()
    for out in (source, tmp_path / "same", tmp_path / "." / "in.jsonl"):
        with pytest.raises(InputError, match="name another"):
            grade_file(source, out)
    assert source.read_bytes() == before


def test_missing_files_and_folders_are_named(source, tmp_path):
    with pytest.raises(InputError, match="no such file"):
        grade_file(tmp_path / "nowhere.jsonl")
    with pytest.raises(InputError, match="cannot be written"):
        grade_file(source, tmp_path / "nowhere" / "out.jsonl")


def test_an_earlier_output_is_kept_until_all_is_graded(tmp_path):
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    out.write_text("earlier\n")
    source.write_text(json.dumps(ROWS[0]) + "\n{\n")
    with pytest.raises(InputError):
        grade_file(source, out)
    assert out.read_text() == "earlier\n"


@pytest.mark.parametrize("name", [".", "..", "/"])
def test_a_folder_is_no_place_for_graded_rows(source, name):
    with pytest.raises(InputError, match="it is a folder"):
        grade_file(source, Path(name))


def test_a_pipe_is_written_to_and_a_link_followed(source, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE)
    grade_file(source, tmp_path / "pipe")
    assert len(reader.communicate(timeout=30)[0].splitlines()) == len(ROWS)
    (tmp_path / "link").symlink_to(tmp_path / "target")
    grade_file(source, tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "target").is_file()


@pytest.mark.parametrize("name", ["loop", "a" * 5000])
def test_a_name_that_no_file_can_have_is_named(tmp_path, name):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(InputError, match=r"no file|no such file"):
        grade_file(tmp_path / name, tmp_path / name)


@pytest.mark.parametrize(("command", "status"), [("{} > /dev/full", 2), ("{} | head -c1", 1), ("{} >&-", 2)])
def test_a_standard_output_that_ends_early_is_no_crash(source, command, status):
    source.write_text(source.read_text() * 2000)
    call = command.format(f"{sys.executable} -m lemma_train.cli grade {source}")
    done = subprocess.run(["bash", "-o", "pipefail", "-c", call], capture_output=True, text=True, timeout=100)
    assert done.returncode == status and "Traceback" not in done.stderr and "Exception ignored" not in done.stderr
