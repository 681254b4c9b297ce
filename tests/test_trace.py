"""The trace of a row: everything that led to it, on one page, and nothing that could steer a terminal."""

from dataclasses import asdict, replace

import orjson
import pytest

from lemma_train.collection.dataset_files import write_dataset
from lemma_train.collection.records import Attempt, Draft
from lemma_train.collection.stage_files import STAGES, Call, Line, path_of, write_stage
from lemma_train.collection.trace import trace
from lemma_train.errors import InputError
from lemma_train.problems import Problem

PROBLEM = Problem("q7", "Eve has 3 pens and buys 4. How many has she?", "7", "3 + 4 = 7. The answer is 7.", "made")
TEXT = "Eve starts with 3. So 3 + 4 = 8. The answer is 8."
SPAN = (TEXT.index("So"), TEXT.index(" The answer"))
STUDENT = Attempt("q7/s0", "q7", "student", TEXT, extracted="8", correct=False)
JUDGED = replace(STUDENT, error_type="calculation_error", explanation="The sum is off by one.", wrong_span=SPAN)
INJECTED = replace(JUDGED, id="q7/i1", origin="injected")
ENTRY = {"finish_reason": "stop", "prompt_tokens": 100, "completion_tokens": 20, "cached_tokens": 0, "model": "large"}


def draft(attempt, suffix, reflection):
    return Draft(
        id=f"{attempt.id}/{suffix}",
        problem_id="q7",
        attempt_id=attempt.id,
        strategy="fix_and_continue",
        error_origin=attempt.origin,
        error_type="calculation_error",
        prefix=TEXT[: SPAN[1]],
        wrong_span=SPAN,
        reflection=reflection,
        continuation="3 + 4 = 7. The answer is 7.",
        extracted="7",
    )


def line(record, *calls, kept=True, name=None, **changes):
    return Line(name or record.id, "q7", 7, kept, asdict(record) if record else None, calls=list(calls), **changes)


def call(key, task, attempt=0, fault=None):
    return Call(key, task, attempt, "abcd1234" if task != "sampling" else None, fault)


def collection(folder, ends=True):
    """A student's error and an injected one of one question, and neighbours with ids that look alike."""
    rough, smooth = draft(STUDENT, "fix", "Hm, wrong."), draft(STUDENT, "fix", "Wait, that is not right.")
    other = draft(INJECTED, "fix", "Wait, let me count again.")
    replies = {
        "k1": ("sampling", TEXT),
        "k2": ("analysis", "I would say it is fine."),
        "k3": ("analysis", orjson.dumps({"verdict": "wrong", "first_wrong_step": 2}).decode()),
        "k4": ("fix_and_continue", '{"reflection": "Hm, wrong.", "continuation": "3 + 4 = 7.\\nThe answer is 7."}'),
        "k5": ("injection", '{"steps": ["Eve starts with 3.", "So 3 + 4 = 8."], "wrong_step": 2}'),
    }
    stages = {
        "problems": [line(replace(PROBLEM, id="q70")), line(PROBLEM)],
        "sampling": [line(STUDENT, call("k1", "sampling"))],
        "grading": [line(STUDENT)],
        "analysis": [line(JUDGED, call("k2", "analysis", 0, "unparsable"), call("k3", "analysis", 1))],
        "injection": [line(INJECTED, call("k5", "injection"))],
        "correction": [
            line(rough, call("k4", "fix_and_continue")),
            line(None, call("gone", "fresh_and_restart", 2, "leak"), kept=False, name="q7/s0/restart", reason="leak"),
            line(other),
        ],
        "smoothing": [line(smooth), line(other)],
        "assembly": [
            Line("q7/s0/fix", "q7", 7, True, None),
            Line("q7/i1/fix", "q7", 7, False, None, "near_duplicate", "says nearly the same as q7/s0/fix"),
        ],
    }
    assert tuple(stages) == STAGES
    for stage, lines in stages.items():
        with write_stage(folder, stage) as put:
            for entry in lines:
                put(entry)
    (folder / "journal").mkdir()
    (folder / "journal" / "replies.jsonl").write_bytes(
        b"".join(
            orjson.dumps({"key": key, "task": task, "text": text, "prompt": None, **ENTRY}) + b"\n"
            for key, (task, text) in replies.items()
        )
        + b'{"key": "torn'
    )
    if ends:
        end(folder, smooth)
    return folder


def end(folder, smooth=None):
    smooth = smooth or draft(STUDENT, "fix", "Wait, that is not right.")
    row = {"id": smooth.id, "instruction": PROBLEM.question, "input": "", "output": smooth.output, "source": "made"}
    row |= {"strategy": smooth.strategy, "error_origin": "student", "error_type": smooth.error_type}
    row |= {"error_span": list(SPAN), "answer": "7"}
    write_dataset(folder, [{**row, "id": "q70/s0/fix", "output": "another"}, row, {**row, "id": "q8/s1/restart"}])


def test_trace_tells_the_whole_history_in_order(tmp_path):
    told = trace(collection(tmp_path), "q7/s0/fix", terminal=False)
    expected = [
        "== Question q7 ==",
        "reference answer: 7",
        "    Eve has 3 pens and buys 4. How many has she?",
        "== Student's answer q7/s0 ==",
        "reply to sampling, attempt 1, 100 + 20 tokens, by large: accepted",
        "    Eve starts with 3. [[So 3 + 4 = 8.]] The answer is 8.",
        "extracted answer: 8",
        "verdict: wrong",
        "error type: calculation_error",
        "why: The sum is off by one.",
        "reply to analysis, attempt 1, prompt abcd1234, 100 + 20 tokens, by large: set aside as unparsable:",
        "    I would say it is fine.",
        "reply to analysis, attempt 2, prompt abcd1234, 100 + 20 tokens, by large: accepted:",
        "    first_wrong_step: 2",
        "== Correction q7/s0/fix ==",
        "graded answer: 7",
        "    continuation: 3 + 4 = 7.",
        "    The answer is 7.",
        "    Hm, wrong.",
        "== Smoothing q7/s0/fix ==",
        "graded answer: 7",
        "    Wait, that is not right.",
        "== Assembly q7/s0/fix ==",
        "kept: every check of this stage was passed",
        "== Training row q7/s0/fix ==",
        "error_span: [19, 32]",
        "    Eve starts with 3. [[So 3 + 4 = 8.]] Wait, that is not right. 3 + 4 = 7. The answer is 7.",
    ]
    place = 0
    lines = told.splitlines()
    for wanted in expected:
        assert wanted in lines[place:], wanted
        place = lines.index(wanted, place) + 1
    assert "injected" not in told.lower()


def test_student_sample_is_shown_once_although_it_is_also_the_reply(tmp_path):
    told = trace(collection(tmp_path), "q7/s0/fix", terminal=False)
    assert told.count("Eve starts with 3. [[So 3 + 4 = 8.]] The answer is 8.") == 1


def test_data_set_can_be_named_by_its_file(tmp_path):
    folder = collection(tmp_path)
    assert trace(folder / "dataset.jsonl", "q7/s0/fix", terminal=False) == trace(folder, "q7/s0/fix", terminal=False)


def test_item_that_was_set_aside_says_where_and_why(tmp_path):
    folder = collection(tmp_path)
    told = trace(folder, "q7/s0/restart", terminal=False)
    assert "reply to fresh_and_restart, attempt 3, prompt abcd1234: set aside as leak; it is not in the journal" in told
    assert told.endswith("== Not in the data set ==\nq7/s0/restart: set aside: leak\n")
    told = trace(folder, "q7/i1/fix", terminal=False)
    assert "== Injected error q7/i1 ==\nerror type asked for: calculation_error\n" in told
    assert "    steps: \n      - Eve starts with 3." in told.replace("steps:\n", "steps: \n")
    assert "== Assembly q7/i1/fix ==\nset aside: near_duplicate" in told
    assert told.endswith("q7/i1/fix: set aside: near_duplicate (says nearly the same as q7/s0/fix)\n")


def test_shards_are_searched_where_the_whole_has_no_stage_files(tmp_path):
    whole = trace(collection(tmp_path / "whole"), "q7/s0/fix", terminal=False)
    collection(tmp_path / "spread" / "shards" / "1-of-2", ends=False)
    (tmp_path / "spread" / "shards" / "0-of-2").mkdir()
    end(tmp_path / "spread")
    assert trace(tmp_path / "spread", "q7/s0/fix", terminal=False) == whole


def test_unknown_row_names_the_nearest_ids(tmp_path):
    folder = collection(tmp_path)
    with pytest.raises(InputError, match=r"no row 'q8/s1/fix'; the nearest ids are q8/s1/restart, ") as caught:
        trace(folder, "q8/s1/fix")
    assert "q70/s0/fix" in str(caught.value)
    with pytest.raises(InputError, match="no row 'q7/'"):
        trace(folder, "q7/")


def test_folder_that_is_no_collection_is_named(tmp_path):
    with pytest.raises(InputError, match="is no collection"):
        trace(tmp_path, "q7/s0/fix")


def test_damaged_line_is_named(tmp_path):
    folder = collection(tmp_path)
    path = path_of(folder, "grading")
    path.write_bytes(path.read_bytes()[:-20] + b"\n")
    with pytest.raises(InputError, match=r"grading\.jsonl, line 1 is damaged"):
        trace(folder, "q7/s0/fix")


def test_text_cannot_steer_the_terminal_or_the_markup(tmp_path):
    folder = collection(tmp_path)
    said = {**ENTRY, "key": "k4", "text": "\x1b[2J\x07 [red]not markup[/red] [/] \u202e \u200b end\ttab"}
    (folder / "journal" / "replies.jsonl").write_bytes(orjson.dumps(said) + b"\n")
    for terminal in (False, True):
        told = trace(folder, "q7/s0/fix", terminal=terminal)
        assert "\x1b[2J" not in told and "\x07" not in told and "\u202e" not in told
        assert "\\x1b[2J\\x07 [red]not markup[/red] [/] \\u202e \\u200b end" in told


def test_terminal_gets_frames_and_the_wrong_part_in_red(tmp_path, monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("COLUMNS", "110")
    told = trace(collection(tmp_path), "q7/s0/fix", terminal=True)
    assert "\x1b[1;31m[[So 3 + 4 = 8.]]\x1b[0m" in told
    assert "╭─" in told


def test_files_and_pipes_get_plain_text(tmp_path):
    # Under pytest the standard output is no terminal.
    assert "\x1b" not in trace(collection(tmp_path), "q7/s0/fix")


@pytest.mark.parametrize("text", ['{"id":"q7/s0/fix"}', '["id","q7/s0/fix"]'])
def test_a_row_of_another_form_is_a_fault_of_the_folder(tmp_path, text):
    (tmp_path / "dataset.jsonl").write_text(text + "\n")
    with pytest.raises(InputError, match=r"a line about q7/s0/fix .* is damaged"):
        trace(tmp_path, "q7/s0/fix")


@pytest.mark.parametrize("name", ["\udcff", "\x1b[2J", "a\0"])
def test_an_id_that_none_can_be_is_named_without_its_signs(tmp_path, name):
    (tmp_path / "dataset.jsonl").touch()
    with pytest.raises(InputError, match="has no row") as caught:
        trace(tmp_path, name)
    assert str(caught.value).isprintable()
