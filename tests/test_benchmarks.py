"""Benchmarks: rows in the fields in which they are published become questions with readable references."""

import json
from pathlib import Path

import pytest
import yaml

from lemma_train.errors import InputError
from lemma_train.evaluation.benchmark_entries import load_entry
from lemma_train.evaluation.benchmarks import BENCHMARKS, Question, load_benchmark
from lemma_train.evaluation.samples import NOBODYS_ANSWER
from lemma_train.grading.grader import Grader

# One row of each benchmark in its own fields; the stories are ours.
ROWS = {
    "gsm8k": (
        {"question": "Ada buys 2 + 3 pens.", "answer": "So 2 + 3 = <<2+3=5>>5.\n#### 5"},
        Question("gsm8k-0", "gsm8k", "Ada buys 2 + 3 pens.", "5", None, None, "So 2 + 3 = 5.\nThe answer is 5."),
    ),
    "math": (
        {"problem": "Find $x$ if $2x=1$.", "level": "Level 1", "type": "Algebra", "solution": r"$\boxed{\frac12}$"},
        Question(
            *("math-82f00bcc9707", "math", "Find $x$ if $2x=1$.", r"\frac12", "Level 1", "Algebra"),
            r"$\boxed{\frac12}$",
        ),
    ),
    "math500": (
        {"problem": "Find $x$.", "solution": r"\boxed{3}", "answer": "3", "subject": "Algebra", "level": 2,
         "unique_id": "test/algebra/7.json"},
        Question("math500-test-algebra-7", "math500", "Find $x$.", "3", "Level 2", "Algebra", r"\boxed{3}"),
    ),
    "svamp": (
        {"Body": "Bo has 9 nuts.", "Question": "How many?", "Answer": 9.0, "Type": "Common-Divison", "ID": "chal-3"},
        Question("svamp-chal-3", "svamp", "Bo has 9 nuts. How many?", "9", subject="Common-Division"),
    ),
    "asdiv": (
        {"body": "Bo has 9 nuts.", "question": "How many?", "answer": "9 (nuts)", "solution_type": "Sum", "idx": 4},
        Question("asdiv-4", "asdiv", "Bo has 9 nuts. How many?", "9", subject="Sum"),
    ),
    "mawps": (
        {"sQuestion": "Bo has 9 nuts . How many ? ", "lSolutions": [0.6666666666666666], "id": 12, "iIndex": 3},
        Question("mawps-12", "mawps", "Bo has 9 nuts . How many ?", "2/3"),
    ),
    "deepmind_math": (
        {"question": "List the prime factors of 6.", "answer": "[2, 3]", "id": 5},
        Question("deepmind_math-5", "deepmind_math", "List the prime factors of 6.", "2, 3"),
    ),
    "college_math": (
        {"data_source": "college_math.A Book", "question_number": "exercise.1.2", "question": "Simplify $2x+x$.",
         "answer": "$3x$", "data_topic": "college_math.algebra"},
        Question("college_math-A-Book-exercise.1.2", "college_math", "Simplify $2x+x$.", "$3x$", subject="algebra"),
    ),
}  # fmt: skip


def write(file, rows):
    if file.suffix == ".jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        file.write_text(json.dumps(rows))
    return str(file)


@pytest.mark.parametrize("name", BENCHMARKS)
@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
def test_a_row_in_its_own_fields_becomes_a_question(tmp_path, name, suffix):
    row, question = ROWS[name]
    assert load_benchmark(name, write(tmp_path / f"x{suffix}", [row]), allow_other_count=True) == [question]


@pytest.mark.parametrize(
    ("name", "field", "value", "reference"),
    [
        ("svamp", "Answer", 145.0, "145"),
        ("svamp", "Answer", "145.0", "145"),
        ("svamp", "Answer", 1.5, "1.5"),
        ("mawps", "lSolutions", [9.43], "9.43"),
        ("mawps", "lSolutions", [-0.04545], "-0.04545"),
        ("mawps", "lSolutions", [1.8333333333333335], "11/6"),
        ("mawps", "lSolutions", [10.666666666666666], "32/3"),
        ("mawps", "lSolutions", [3.141592653589793], "3.141592653589793"),
        ("asdiv", "answer", "9 (square feet)", "9"),
        ("asdiv", "answer", "-(1/3)", "-(1/3)"),
        ("asdiv", "answer", "They are equal", "They are equal"),
        ("deepmind_math", "answer", "[7]", "7"),
        ("deepmind_math", "answer", "12 3 0", "12 3 0"),
        ("gsm8k", "answer", "Much.\n#### 1,200", "1,200"),
        ("math", "solution", r"\boxed{1}, no, $\boxed{(1,\frac{2}{3})}$", r"(1,\frac{2}{3})"),
    ],
)
def test_references_are_written_as_by_hand(tmp_path, name, field, value, reference):
    row = {**ROWS[name][0], field: value}
    questions = load_benchmark(name, write(tmp_path / "x.jsonl", [row]), allow_other_count=True)
    assert questions[0].reference == reference


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("svamp", {"Answer": None}, "line 1: the field 'Answer' is missing"),
        ("svamp", {"Answer": "many"}, "line 1: the field 'Answer' must be a number"),
        ("svamp", {"Answer": float("nan")}, "must be a number"),
        ("svamp", {"Body": " "}, "the field 'Body' is empty"),
        ("mawps", {"lSolutions": [1, 2]}, "must be a list with one number"),
        ("mawps", {"lSolutions": 3}, "must be a list with one number"),
        ("asdiv", {"answer": 9.5}, "must be text"),
        ("gsm8k", {"answer": "5"}, "no worked solution"),
        ("math", {"solution": "It is 5."}, "no answer in"),
        ("deepmind_math", {"question": 3.5}, "must be text"),
    ],
)
def test_a_row_at_fault_is_named_with_file_and_line(tmp_path, name, change, message):
    file = write(tmp_path / "x.jsonl", [{**ROWS[name][0], **change}])
    with pytest.raises(InputError, match=message) as caught:
        load_benchmark(name, file, allow_other_count=True)
    assert "x.jsonl, line 1" in str(caught.value)


def test_a_line_that_is_no_json_is_named(tmp_path):
    file = tmp_path / "x.jsonl"
    file.write_text(json.dumps(ROWS["gsm8k"][0]) + "\n{\n")
    with pytest.raises(InputError, match="line 2"):
        load_benchmark("gsm8k", str(file), allow_other_count=True)


def test_another_number_of_rows_is_refused_with_both_numbers_and_the_key(tmp_path):
    file = write(tmp_path / "x.jsonl", [ROWS["gsm8k"][0]] * 2)
    with pytest.raises(InputError, match=r"it has 2 rows where 1319 belong; .*allow_other_count: true"):
        load_benchmark("gsm8k", file, limit=1)
    assert len(load_benchmark("gsm8k", file, limit=1, allow_other_count=True)) == 1


def test_two_rows_with_one_id_are_refused(tmp_path):
    with pytest.raises(InputError, match="a second row has the id svamp-chal-3"):
        load_benchmark("svamp", write(tmp_path / "x.jsonl", [ROWS["svamp"][0]] * 2), allow_other_count=True)


def test_unknown_names_and_missing_files_are_refused():
    with pytest.raises(InputError, match="there is no benchmark 'gsm9k'; the names are gsm8k"):
        load_benchmark("gsm9k")
    with pytest.raises(InputError, match="name its file with path"):
        load_benchmark("mawps")
    with pytest.raises(InputError, match=r"benchmarks: gsm8k: missing\.jsonl does not exist"):
        load_benchmark("gsm8k", "missing.jsonl")


def test_without_network_the_hub_is_named_and_the_way_out(tmp_path):
    with pytest.raises(InputError, match=r"'openai/gsm8k' is no file here and cannot be loaded .* give its path"):
        load_benchmark("gsm8k")


def test_a_sample_keeps_the_order_and_follows_the_seed(tmp_path):
    file = write(tmp_path / "x.jsonl", [{**ROWS["svamp"][0], "ID": f"chal-{i}"} for i in range(50)])
    drawn = [[question.id for question in load_benchmark("svamp", file, 40, 10, seed, True)] for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    numbers = [int(name.removeprefix("svamp-chal-")) for name in drawn[0]]
    assert len(numbers) == 10 and numbers == sorted(numbers) and max(numbers) < 40
    with pytest.raises(InputError, match="sample asks for 51 questions of 50"):
        load_benchmark("svamp", file, sample=51, allow_other_count=True)


# --- the benchmarks themselves --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def grader():
    with Grader(workers=1) as grader:
        yield grader


def published(shared_data, name):
    folder = shared_data / "benchmarks"
    return str(next(folder / (name + suffix) for suffix in (".json", ".jsonl") if (folder / (name + suffix)).is_file()))


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_published_files_are_whole_and_every_answer_equals_itself(shared_data, grader, name):
    questions = load_benchmark(name, published(shared_data, name))
    assert len(questions) == BENCHMARKS[name].rows
    assert all("/" not in question.id and question.id.startswith(f"{name}-") for question in questions)
    stated = [(question.id, grader.submit_answer(question.reference, question.reference)) for question in questions]
    assert [name for name, grade in stated if grade.result().correct is not True] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", BENCHMARKS)
def test_an_answer_of_nobody_is_wrong_beside_every_reference_but_those_that_are_listed(shared_data, grader, name):
    questions = load_benchmark(name, published(shared_data, name))
    grades = [(question.id, grader.submit_answer(NOBODYS_ANSWER, question.reference)) for question in questions]
    verdicts = {name: grade.result().correct for name, grade in grades}
    assert True not in verdicts.values()
    listed = yaml.safe_load((Path(__file__).parent / "unreadable_references.yaml").read_text()).get(name, [])
    assert sorted(name for name, verdict in verdicts.items() if verdict is None) == listed


# --- entries of a recipe --------------------------------------------------------------------------------------------


def test_an_entry_is_a_name_or_a_mapping(shared_data):
    path = published(shared_data, "svamp")
    chosen = load_entry({"name": "svamp", "path": path, "limit": 3}, seed=0)
    assert (chosen.name, len(chosen.shots), len(chosen.questions)) == ("svamp", 4, 3)
    assert load_entry({"name": "svamp", "path": path, "limit": 3, "shots": 0}, seed=0).shots == []
    with pytest.raises(InputError, match="name its file with path"):
        load_entry("asdiv", seed=0)


def test_own_questions_come_through_the_room_of_problems(tmp_path):
    file = write(tmp_path / "mine.jsonl", [{"question": f"How much is {i} + 1?", "answer": i + 1} for i in range(9)])
    chosen = load_entry({"source": "file", "path": file, "sample": 2}, seed=0)
    assert chosen.name == "mine" and chosen.shots == [] and len(chosen.questions) == 2
    asked = chosen.questions[0]
    number = int(asked.id.removeprefix("mine-"))
    assert asked == Question(asked.id, "mine", f"How much is {number} + 1?", str(number + 1))
    assert load_entry({"source": "file", "path": file, "label": "sums"}, seed=0).questions[0].benchmark == "sums"


def test_generated_questions_avoid_those_of_the_training_seed():
    entry = {"source": "generated", "kind": "word_sums", "size": 60, "seed": 7}
    trained_on = {question.id for question in load_entry(entry, seed=0).questions}
    same_seed = load_entry({**entry, "avoid": {"size": 60, "seed": 7}}, seed=0)
    assert same_seed.name == "word_sums" and len(same_seed.questions) == 60
    assert not trained_on & {question.id for question in same_seed.questions}
    assert all(question.solution for question in same_seed.questions)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (3, "an entry is a name"),
        ({"name": "gsm9k"}, "there is no benchmark 'gsm9k'"),
        ({"path": "x.jsonl"}, "there is no benchmark None"),
        ({"name": "gsm8k", "limits": 3}, "'limits' is no key of such an entry .did you mean limit"),
        ({"name": "gsm8k", "limit": 0}, "limit must be a whole number of at least 1"),
        ({"name": "gsm8k", "shots": True}, "shots must be a whole number"),
        ({"name": "gsm8k", "path": 3}, "path must be text"),
        ({"name": "gsm8k", "allow_other_count": "yes"}, "allow_other_count must be true or false"),
        ({"source": "benchmark", "name": "gsm8k"}, "source must be generated or file"),
        ({"source": ["file"]}, "source must be generated or file"),
        ({"source": "generated", "kind": "word_sums"}, "needs the key 'size'"),
        ({"source": "generated", "kind": "word_sums", "size": 2, "avoid": 3}, "avoid must hold the size and the seed"),
        ({"source": "generated", "kind": "word_sums", "size": 2, "label": "math"}, "label must be text"),
        ({"source": "generated", "kind": "word_sums", "size": 2, "sample": 3}, "sample asks for 3 questions of 2"),
        ({"source": "generated", "kind": "word_sums", "size": 2, "shots": 5}, "5 examples are asked for"),
    ],
)
def test_an_entry_at_fault_is_refused(entry, message):
    with pytest.raises(InputError, match=message):
        load_entry(entry, seed=0)
