"""Decontamination: which questions are taken for one of a benchmark, and how the files of benchmarks are read."""

import json
from pathlib import Path

import pytest

from lemma_train.collection.decontamination import Benchmarks
from lemma_train.errors import InputError

LONG = (
    "A baker fills 14 trays with 12 rolls each before noon, and in the afternoon he fills half as many trays with "
    "buns. How many rolls and buns does he bake in all on that day?"
)
SHORT = "What is 14 - 9?"


@pytest.fixture
def index(tmp_path):
    def build(*rows, name="test.jsonl", overlap=0.5, **entry):
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return Benchmarks([{"path": str(path), **entry} if entry else str(path)], overlap)

    return build


def test_planted_question_is_found_whatever_its_case_and_punctuation(index):
    found = index({"question": "Another one."}, {"question": LONG}).find(
        LONG.upper().replace(",", " -").replace(".", ";")
    )
    assert found is not None
    assert (found.file, found.row, found.kind) == ("test.jsonl", 2, "exact")


def test_short_question_is_compared_exactly(index):
    benchmarks = index({"question": SHORT})
    assert benchmarks.find("what is 14\u22129").kind == "exact"
    assert benchmarks.find("What is 14 + 9?") is None
    assert benchmarks.find("What is 14 - 9 + 1?") is None


def test_question_within_a_longer_one_is_found(index):
    found = index({"question": LONG}).find(f"Read this carefully. {LONG} Give the number only, with no words at all.")
    assert (found.kind, found.overlap) == ("overlap", 1.0)


def test_same_question_with_another_ending_is_found(index):
    assert index({"question": LONG}).find(LONG.replace("on that day", "by the evening")).kind == "overlap"


def test_similar_but_different_question_stays(index):
    other = (
        LONG.replace("14 trays with 12", "9 trays with 20").replace("half as many", "three").replace("A baker", "Jo")
    )
    assert index({"question": LONG}).find(other) is None


def test_a_shared_phrase_alone_is_not_enough_unless_asked_for(index):
    phrase = "the smaller of the two angles that the hands of a clock form when the time is"
    one, other = (
        f"Find, in degrees, {phrase} ten past four in the morning, given that it runs.",
        f"Is {phrase} 7 obtuse?",
    )
    long = f"{one} Then tell how much that is as a part of the whole circle, and draw it on a sheet of paper with care."
    assert (
        index({"question": long}).find(f"{other} Say why, and compare with the angle a full hour later, please.")
        is None
    )
    assert index({"question": long}, overlap=0).find(f"{other} Say why, and compare with it.") is not None
    assert index({"question": long}, overlap=0).find("How many sheep are there?") is None


@pytest.mark.parametrize(
    "row",
    [
        {"Body": LONG.split(". How")[0] + ".", "Question": "How" + LONG.split(". How")[1], "Answer": 1},
        {"body": LONG.split(". How")[0] + ".", "question": "How" + LONG.split(". How")[1]},
        {"problem": LONG, "solution": "unused"},
        {"sQuestion": LONG, "lSolutions": [3.0]},
        {"instruction": LONG, "output": "unused"},
    ],
)
def test_question_fields_are_found_by_shape(index, row):
    assert index(row).find(LONG).kind == "exact"


def test_field_can_be_named(index):
    assert index({"ask": LONG, "question": "?"}, field="ask").find(LONG).kind == "exact"


def test_list_in_a_json_file_is_read(tmp_path):
    (tmp_path / "b.json").write_text(json.dumps([{"question": LONG}]))
    assert Benchmarks([tmp_path / "b.json"]).find(LONG) is not None


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("missing.jsonl", ["decontaminate", "missing.jsonl", "does not exist"]),
        ({"path": "b.jsonl", "fields": "x"}, ["a path or a mapping with path and field"]),
        ({"path": "b.jsonl", "field": "nope"}, ["row 1", "'nope'", "ask"]),
        ("b.jsonl", ["row 1", "{path: ..., field: NAME}", "ask"]),
        ("torn.jsonl", ["torn.jsonl, line 1", "decontaminate"]),
    ],
)
def test_faults_of_entries_name_the_mend(tmp_path, monkeypatch, entry, words):
    monkeypatch.chdir(tmp_path)
    Path("b.jsonl").write_text('{"ask": "x"}\n')
    Path("torn.jsonl").write_text('{"question": \n')
    with pytest.raises(InputError) as caught:
        Benchmarks([entry])
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_overlap_out_of_range_is_refused():
    with pytest.raises(InputError, match="decontaminate_overlap"):
        Benchmarks([], overlap=1.5)


def test_published_benchmark_files_are_read_and_found_again(shared_data):
    folder = shared_data / "benchmarks"
    sizes = {"asdiv.jsonl": 2215, "college_math.jsonl": 2818, "deepmind_math.json": 1000, "gsm8k.jsonl": 1319}
    sizes |= {"math.jsonl": 5000, "math500.jsonl": 500, "mawps.json": 2354, "svamp.jsonl": 1000}
    benchmarks = Benchmarks([folder / name for name in sizes])
    assert dict(benchmarks.questions) == sizes
    first = json.loads((folder / "gsm8k.jsonl").read_text().splitlines()[0])["question"]
    assert benchmarks.find(first.lower()).file == "gsm8k.jsonl"


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path):
    for folder, question in (("gsm8k", LONG), ("math", SHORT)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "test.jsonl").write_text(json.dumps({"question": question}) + "\n")
    found = Benchmarks([str(tmp_path / "gsm8k" / "test.jsonl"), str(tmp_path / "math")])
    assert found.questions == {"test.jsonl": 1, "math/test.jsonl": 1}
    match = found.find(SHORT)
    assert match is not None and match.file == "math/test.jsonl"
