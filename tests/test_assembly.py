"""Assembly: from the stages' lines to the training set, chosen by proportion, cap, repetition and benchmark."""

import json
import random
import subprocess
import sys
from collections import Counter
from dataclasses import asdict, replace
from itertools import product

import pytest

from lemma_train.collection.assembly import assemble
from lemma_train.collection.candidates import reference_rows, sample_rows, trajectory_rows
from lemma_train.collection.records import Attempt, Draft
from lemma_train.collection.stage_files import Line, read_stage
from lemma_train.errors import InputError
from lemma_train.problems import Problem
from lemma_train.template import Renderer
from lemma_train.training.lint import Linter
from lemma_train.training.sources import iterate, read_sources

FIX, RESTART = "fix_and_continue", "fresh_and_restart"
HALVES = {FIX: 0.5, RESTART: 0.5}
ORIGINS = {"student": 0.5, "injected": 0.5}
WORDS = [a + b + c for a in "bdfgk" for b in "aeiou" for c in ("rn", "lt", "st")]


def problem(number, question=None):
    return Problem(
        id=f"q{number}",
        question=question
        or f"Tom has {number} nuts and finds {number + 2} more near tree {number}. How many are there?",
        answer=str(2 * number + 2),
        solution=f"{number} + {number + 2} = {2 * number + 2}. The answer is {2 * number + 2}.",
        source="even" if number % 2 == 0 else "odd",
    )


def draft_line(number, attempt="s0", strategy=FIX, text=None, kept=True, **changes):
    origin = "student" if attempt[0] == "s" else "injected"
    draw = random.Random(f"{number} {attempt} {strategy}")
    told = text or " ".join(draw.choices(WORDS, k=30))
    prefix = f"First some thoughts: {told}. So {number} + {number + 2} = {2 * number + 3}."
    draft = Draft(
        id=f"q{number}/{attempt}/{'fix' if strategy == FIX else 'restart'}",
        problem_id=f"q{number}",
        attempt_id=f"q{number}/{attempt}",
        strategy=strategy,
        error_origin=origin,
        error_type="calculation_error",
        prefix=prefix,
        wrong_span=(prefix.index("So "), len(prefix)),
        reflection="Wait, that sum is off by one.",
        continuation=f"It is {2 * number + 2}. The answer is {2 * number + 2}.",
    )
    return Line(draft.id, draft.problem_id, number, kept, asdict(replace(draft, **changes)))


def lines_of(questions, attempts=("s0", "i0"), strategies=(FIX, RESTART)):
    return [draft_line(*which) for which in product(range(questions), attempts, strategies)]


def run(folder, lines, extras=(), problems=None, **settings):
    of = problems or {f"q{number}": problem(number) for number in range(200)}
    candidates = [*trajectory_rows(lines, of.__getitem__), *extras]
    summary = assemble(candidates, folder, seed=settings.pop("seed", 0), **settings)
    return summary, [json.loads(line) for line in (folder / "dataset.jsonl").read_text().splitlines()]


def cells(rows):
    return Counter((row["strategy"], row["error_origin"]) for row in rows)


def test_row_has_the_fields_of_a_training_row_and_its_span_holds_the_wrong_part(tmp_path):
    summary, (row,) = run(tmp_path, [draft_line(5)])
    assert list(row) == [
        *("id", "instruction", "input", "output", "source", "strategy"),
        *("error_origin", "error_type", "error_span", "answer"),
    ]
    assert (row["id"], row["instruction"], row["input"], row["answer"]) == ("q5/s0/fix", problem(5).question, "", "12")
    start, end = row["error_span"]
    assert row["output"][start:end] == "So 5 + 7 = 13."
    assert row["output"][end:] == " Wait, that sum is off by one. It is 12. The answer is 12."
    assert (row["source"], row["strategy"], row["error_origin"]) == ("odd", FIX, "student")
    assert summary.rows == 1


def test_same_set_whatever_order_the_lines_come_in(tmp_path):
    lines = lines_of(40)
    settings = {"strategies": HALVES, "origins": ORIGINS, "max_per_question": 3, "rows": 70}
    for name, order in (("a", lines), ("b", lines[::-1]), ("c", random.Random(1).sample(lines, len(lines)))):
        run(tmp_path / name, order, **settings)
    for file in ("dataset.jsonl", "dataset.parquet", "stages/assembly.jsonl"):
        assert len({(tmp_path / name / file).read_bytes() for name in "abc"}) == 1


def test_another_seed_gives_another_order_of_the_same_rows(tmp_path):
    _, one = run(tmp_path / "a", lines_of(20))
    _, other = run(tmp_path / "b", lines_of(20), seed=1)
    ids = [row["id"] for row in one]
    assert ids != [row["id"] for row in other]
    assert sorted(ids) == sorted(row["id"] for row in other)
    assert ids != sorted(ids)


def test_lines_that_were_set_aside_do_not_come_in(tmp_path):
    summary, rows = run(tmp_path, [draft_line(1), draft_line(2, kept=False)])
    assert [row["id"] for row in rows] == ["q1/s0/fix"]
    assert summary.entered == {f"{FIX}/student": 1}


def test_row_that_training_would_refuse_is_left_out_with_its_reason(tmp_path):
    lines = [
        draft_line(1),
        draft_line(2, continuation="The answer is 7."),
        draft_line(3, wrong_span=(5, 5)),
        draft_line(4, wrong_span=(0, 400)),
        draft_line(5, reflection="half a character: \ud800"),
        draft_line(6, wrong_span=(10, len(draft_line(6).record["prefix"]) + 9)),
    ]
    summary, rows = run(tmp_path, lines)
    assert [row["id"] for row in rows] == ["q1/s0/fix"]
    assert summary.reasons == {"answer_not_in_output": 1, "bad_error_span": 3, "invalid_utf8": 1}
    told = {line.id: (line.kept, line.reason) for line in read_stage(tmp_path, "assembly")}
    assert told["q2/s0/fix"] == (False, "answer_not_in_output")
    assert told["q1/s0/fix"] == (True, None)
    assert all(line.detail for line in read_stage(tmp_path, "assembly") if not line.kept)


def test_training_lint_accepts_every_row_of_both_files(tmp_path, smollm2_tokenizer):
    references = reference_rows(Line(f"q{n}", f"q{n}", n, True, asdict(problem(n))) for n in range(5))
    run(tmp_path, lines_of(10), extras=references, references=5)
    for name in ("dataset.jsonl", "dataset.parquet"):
        linter = Linter(Renderer(smollm2_tokenizer), "refuse", drop_duplicates=True)
        accepted = [linter.accept(row) for source in read_sources(str(tmp_path / name)) for row in iterate(source)]
        assert linter.tally.rows_in == len(accepted) == 45
        assert not linter.tally.reasons


def test_short_side_of_a_proportion_cuts_the_other(tmp_path):
    lines = [*lines_of(30, strategies=(FIX,)), *lines_of(10, strategies=(RESTART,))]
    summary, rows = run(tmp_path, lines, strategies=HALVES)
    # Half of 41 is 20 or 21: shares hold to the nearest row.
    assert Counter(row["strategy"] for row in rows) == {FIX: 21, RESTART: 20}
    assert summary.reasons == {"proportion": 39}
    assert {(pool["strategy"], pool["at_hand"], pool["taken"]) for pool in summary.pools} == {
        (FIX, 60, 21),
        (RESTART, 20, 20),
    }


def test_strategies_and_origins_hold_together(tmp_path):
    _, rows = run(tmp_path, lines_of(20), strategies={FIX: 0.75, RESTART: 0.25}, origins=ORIGINS)
    # 40 rows of Fix & Continue are at hand; three to one is 40 to 13.
    assert cells(rows) == {
        (FIX, "student"): 20,
        (FIX, "injected"): 20,
        (RESTART, "student"): 7,
        (RESTART, "injected"): 6,
    }


def test_row_limit_keeps_as_many_questions_as_possible(tmp_path):
    summary, rows = run(tmp_path, lines_of(30), rows=30, strategies=HALVES, origins=ORIGINS)
    assert len({row["instruction"] for row in rows}) == 30
    assert summary.reasons == {"enough_rows": 90}


def test_cap_per_question_takes_from_its_cells_in_turn(tmp_path):
    lines = lines_of(12, attempts=("s0", "s1", "s2", "i0"))
    summary, rows = run(tmp_path, lines, max_per_question=4)
    assert set(Counter(row["instruction"] for row in rows).values()) == {4}
    assert set(cells(rows).values()) == {12}
    assert summary.reasons == {"question_cap": 48}


def test_cap_can_differ_from_question_to_question(tmp_path):
    _, rows = run(tmp_path, lines_of(3), max_per_question={"q0": 0, "q1": 3})
    assert Counter(row["id"].split("/")[0] for row in rows) == {"q1": 3, "q2": 4}


def test_near_duplicate_within_a_question_keeps_the_first(tmp_path):
    lines = [
        draft_line(1, "s10", text=" ".join(WORDS)),
        draft_line(1, "s2", text=" ".join(WORDS) + " indeed"),
        draft_line(1, "s3"),
    ]
    summary, rows = run(tmp_path, lines, near_duplicate_threshold=0.8)
    assert {row["id"] for row in rows} == {"q1/s2/fix", "q1/s3/fix"}
    assert summary.reasons == {"near_duplicate": 1}
    assert [line.detail for line in read_stage(tmp_path, "assembly") if not line.kept] == [
        "says nearly the same as q1/s2/fix"
    ]
    assert len(run(tmp_path / "off", lines, near_duplicate_threshold=None)[1]) == 3


def test_equal_trajectories_of_different_questions_count_as_one(tmp_path):
    record = {**draft_line(1).record, "id": "q2/s0/fix", "problem_id": "q2"}
    problems = {"q1": problem(1), "q2": replace(problem(1), id="q2", question="How much are 1 and 3?")}
    summary, rows = run(tmp_path, [draft_line(1), Line("q2/s0/fix", "q2", 2, True, record)], problems=problems)
    assert [row["id"] for row in rows] == ["q1/s0/fix"]
    assert summary.reasons == {"duplicate": 1}


def test_question_of_a_benchmark_is_removed_with_all_its_rows(tmp_path):
    planted = (
        "Nina picks 7 plums, then 9 more; she eats 4 of them on her way home. How many plums has she got left at home?"
    )
    (tmp_path / "bench.jsonl").write_text(json.dumps({"question": planted.upper().replace(";", ",")}) + "\n")
    similar = planted.replace("plums", "figs").replace("Nina", "Kim").replace("eats 4 of", "loses 3 of")
    problems = {"q1": problem(1, planted), "q2": problem(2, similar), "q3": problem(3)}
    lines = [draft_line(n, strategy=strategy) for n in (1, 2, 3) for strategy in (FIX, RESTART)]
    summary, rows = run(tmp_path, lines, problems=problems, decontaminate=[str(tmp_path / "bench.jsonl")])
    assert {row["id"].split("/")[0] for row in rows} == {"q2", "q3"}
    assert summary.reasons == {"contaminated": 2}
    assert summary.contaminated == {"bench.jsonl": {"exact": 1, "overlap": 0}}
    assert summary.benchmarks == {"bench.jsonl": 1}
    assert summary.contaminated_examples[0]["problem_id"] == "q1"


def extra_rows():
    problems = [problem(number) for number in range(30)]
    references = reference_rows(Line(p.id, p.id, n, True, asdict(p)) for n, p in enumerate(problems))
    graded = []
    for number, correct in product(range(30), (True, False, None)):
        name = f"q{number}/s{5 + [True, False, None].index(correct)}"
        answer = 2 * number + 2 if correct else 0
        attempt = Attempt(name, f"q{number}", "student", f"I count {answer}. The answer is {answer}.", correct=correct)
        graded.append(Line(name, f"q{number}", number, True, asdict(attempt)))
    return [*references, *sample_rows(graded, {p.id: p for p in problems}.__getitem__)]


def test_references_and_right_samples_come_on_top_by_number(tmp_path):
    summary, rows = run(tmp_path, lines_of(20), extras=extra_rows(), rows=40, references=10, right_samples=99)
    assert Counter(row["strategy"] for row in rows)["reference"] == 10
    assert Counter(row["strategy"] for row in rows)["sample"] == 30
    assert len(rows) == 80
    extra = next(row for row in rows if row["strategy"] == "sample")
    assert (extra["error_span"], extra["error_type"], extra["error_origin"]) == (None, None, None)
    assert summary.kept["reference"] == 10


def test_references_as_a_share_are_part_of_the_whole(tmp_path):
    _, rows = run(tmp_path, lines_of(30), extras=extra_rows(), references=0.25, rows=80)
    assert Counter(row["strategy"] == "reference" for row in rows) == {True: 20, False: 60}


def test_control_set_holds_references_alone(tmp_path):
    summary, rows = run(tmp_path, lines_of(30), extras=extra_rows(), references=1.0)
    assert {row["strategy"] for row in rows} == {"reference"}
    assert len(rows) == 30
    assert summary.reasons == {"not_wanted": 30, "proportion": 120}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"strategies": {FIX: 0.5}}, ["strategies", "add up to 1"]),
        ({"strategies": {"fix": 1.0}}, ["strategies", FIX, RESTART]),
        ({"origins": {"student": 2.0, "injected": -1.0}}, ["origins", "at least 0"]),
        ({"references": 1.5}, ["references"]),
        ({"references": 0.6, "right_samples": 0.6}, ["right_samples", "more than 1.0"]),
        ({"near_duplicate_threshold": 0}, ["near_duplicate_threshold"]),
        ({"origins": {"student": 0.5, "injected": 0.5}}, ["no row is left", "4 student", "origins"]),
    ],
)
def test_settings_that_make_no_sense_are_named(tmp_path, settings, words):
    with pytest.raises(InputError) as caught:
        run(tmp_path, lines_of(2, attempts=("s0",)), **settings)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert not (tmp_path / "dataset.jsonl").exists()


def test_same_id_twice_is_refused(tmp_path):
    with pytest.raises(InputError, match="'q1/s0/fix' comes twice"):
        run(tmp_path, [draft_line(1), draft_line(1)])


def test_failed_assembly_leaves_the_last_set_as_it_was(tmp_path):
    run(tmp_path, lines_of(3))
    before = (tmp_path / "dataset.jsonl").read_bytes()
    with pytest.raises(InputError):
        run(tmp_path, [])
    assert (tmp_path / "dataset.jsonl").read_bytes() == before
    assert not [path for path in tmp_path.iterdir() if "unfinished" in path.name]


def test_parquet_holds_the_same_rows(tmp_path):
    import pyarrow.parquet

    _, rows = run(tmp_path, lines_of(10))
    assert pyarrow.parquet.read_table(tmp_path / "dataset.parquet").to_pylist() == rows


LARGE = """
import json, random, sys
from pathlib import Path
from lemma_train.collection.assembly import assemble
from lemma_train.collection.candidates import Candidate

draw = random.Random(0)
words = [f"{a}{b}{c}" for a in "bdfgkl" for b in "aeiou" for c in "mnrst"]

def candidates():
    for number in range(100_000):
        question, strategy = number // 5, ("fix_and_continue", "fresh_and_restart")[number % 2]
        name = f"q{question}/s{number % 5}/{strategy[:3]}"
        row = {"id": name, "source": "made", "strategy": strategy, "error_origin": "student", "answer": "7"}
        row["instruction"] = f"Question {question}: " + " ".join(random.Random(question).choices(words, k=45))
        row["output"] = " ".join(draw.choices(words, k=300)) + " The answer is 7."
        yield Candidate(name, f"q{question}", question, {**row, "error_type": "missing_step", "error_span": [0, 80]})

strategies = {"fix_and_continue": 0.5, "fresh_and_restart": 0.5}
rows = assemble(candidates(), Path(sys.argv[1]), seed=0, strategies=strategies, max_per_question=4).rows
status = Path("/proc/self/status").read_text()  # getrusage would count the memory of the process that forked this one
print(json.dumps({"rows": rows, "peak_kib": int(status.split("VmHWM:")[1].split()[0])}))
"""


@pytest.mark.slow
def test_100_000_rows_are_assembled_in_less_than_a_gibibyte(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", LARGE, str(tmp_path)], capture_output=True, text=True, timeout=280, check=True
    )
    told = json.loads(done.stdout)
    print(told)
    assert told["rows"] > 70_000
    assert told["peak_kib"] < 2**20
    assert (tmp_path / "dataset.jsonl").stat().st_size > 100e6
