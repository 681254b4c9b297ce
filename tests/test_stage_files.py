"""Stage files: whole or not at all, in the order of the questions, joined question by question."""

import pytest

from lemma_train.collection.stage_files import Call, Line, by_question, merge_stages, path_of, read_stage, write_stage
from lemma_train.errors import InputError
from lemma_train.problems import Problem


def write(folder, stage, *lines):
    with write_stage(folder, stage) as put:
        for line in lines:
            put(line)


def line(order, name="", **keys):
    return Line(f"p{order}{name}", f"p{order}", order, True, None, **keys)


def test_lines_come_back_as_they_were(tmp_path):
    asked = Line("p0", "p0", 0, True, Problem("p0", "What?", "4", None, "test"))
    refused = Line("p0/s0", "p0", 0, False, None, "empty", "why", [Call("ab", "analysis", 1, "f", "empty")])
    write(tmp_path, "problems", asked, refused)
    first, second = read_stage(tmp_path, "problems")
    assert Problem(**first.record) == asked.record
    assert second == refused


def test_a_stage_that_fails_leaves_the_old_file(tmp_path):
    write(tmp_path, "grading", line(0))
    with pytest.raises(RuntimeError), write_stage(tmp_path, "grading") as put:
        put(line(1))
        raise RuntimeError
    assert [entry.order for entry in read_stage(tmp_path, "grading")] == [0]
    assert [path.name for path in path_of(tmp_path, "grading").parent.iterdir()] == ["grading.jsonl"]


def test_a_missing_stage_is_named(tmp_path):
    with pytest.raises(InputError, match=r"run the stage grading first \(--stage grading\)"):
        list(read_stage(tmp_path, "grading"))


def test_a_damaged_line_is_named(tmp_path):
    write(tmp_path, "grading", line(0), line(1))
    path_of(tmp_path, "grading").write_bytes(path_of(tmp_path, "grading").read_bytes()[:-9] + b"\n")
    with pytest.raises(InputError, match=r"grading\.jsonl, line 2 is damaged; delete the file"):
        list(read_stage(tmp_path, "grading"))


def test_stages_are_joined_question_by_question(tmp_path):
    write(tmp_path, "problems", line(0), line(2), line(5))
    write(tmp_path, "sampling", line(0, "a"), line(0, "b"), line(5, "c"))
    joined = [
        ([entry.id for entry in asked], [entry.id for entry in sampled])
        for asked, sampled in by_question(tmp_path, "problems", "sampling")
    ]
    assert joined == [(["p0"], ["p0a", "p0b"]), (["p2"], []), (["p5"], ["p5c"])]


def test_shards_are_merged_in_the_order_of_the_questions(tmp_path):
    write(tmp_path / "a", "sampling", line(0, "x"), line(0, "y"), line(2, "x"))
    write(tmp_path / "b", "sampling", line(1, "x"), line(3, "x"))
    write(tmp_path / "whole", "sampling", *(line(n, s) for n, s in [(0, "x"), (0, "y"), (1, "x"), (2, "x"), (3, "x")]))
    merge_stages([tmp_path / "a", tmp_path / "b"], tmp_path / "merged", ["sampling"])
    assert path_of(tmp_path / "merged", "sampling").read_bytes() == path_of(tmp_path / "whole", "sampling").read_bytes()


@pytest.mark.parametrize(
    "text",
    [
        "null",
        "[]",
        "{}",
        '{"id":"p0","problem_id":"p0","order":"x","kept":true,"record":null,"calls":[]}',
        '{"id":"p0","problem_id":"p0","order":0,"kept":true,"record":{},"calls":[]}',
        '{"id":"p0","problem_id":"p0","order":0,"kept":true,"record":{"id":5},"calls":[]}',
    ],
)
def test_a_line_of_another_form_is_damaged(tmp_path, text):
    path_of(tmp_path, "grading").parent.mkdir()
    path_of(tmp_path, "grading").write_text(text + "\n")
    with pytest.raises(InputError, match=r"grading.jsonl, line 1 is damaged; delete the file and run the stage"):
        list(read_stage(tmp_path, "grading"))


def test_stages_of_different_questions_are_not_taken_together(tmp_path):
    write(tmp_path, "problems", line(0))
    write(tmp_path, "sampling", line(0), line(1))
    with pytest.raises(InputError, match=r"sampling.jsonl is about other questions than the stage problems \(p1\)"):
        list(by_question(tmp_path, "problems", "sampling"))
    write(tmp_path, "sampling", Line("q/s0", "q", 0, True, None))
    with pytest.raises(InputError, match=r"about other questions than the stage problems \(q/s0\)"):
        list(by_question(tmp_path, "problems", "sampling"))


def test_folders_in_the_way_of_a_stage_are_named(tmp_path):
    path_of(tmp_path, "grading").with_name(".grading.jsonl.unfinished").mkdir(parents=True)
    with pytest.raises(InputError, match=r"grading.jsonl cannot be written: .*Is a directory"):
        write(tmp_path, "grading", line(0))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "stages").touch()
    with pytest.raises(InputError, match=r"grading.jsonl cannot be written"):
        write(tmp_path / "other", "grading", line(0))
