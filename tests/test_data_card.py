"""The data card: its numbers are those of the rows, the set loads by its metadata, and the Hub is refused in words."""

import json
from collections import Counter
from dataclasses import asdict

import pytest
import yaml

from lemma_train.collection.assembly import Assembled
from lemma_train.collection.data_card import describe, write_card
from lemma_train.collection.dataset_files import read_dataset, write_dataset
from lemma_train.collection.funnel import funnel, students_error_types
from lemma_train.collection.hub import push
from lemma_train.collection.records import Attempt
from lemma_train.collection.stage_files import Line, write_stage
from lemma_train.errors import InputError

TYPES = ["calculation_error", "question_misinterpretation", "missing_step"]
PNG = b"\x89PNG\r\n\x1a\n"


def row(number, **changes):
    output = f"So {number} + 1 = {number}. Wait, that is off. {number} + 1 = {number + 1}. The answer is {number + 1}."
    return {
        "id": f"q{number // 2}/s{number % 2}/fix",
        "instruction": f"What is {number // 2} and one?",
        "input": "",
        "output": output,
        "source": "made" if number % 3 else "found",
        "strategy": "fix_and_continue" if number % 4 else "fresh_and_restart",
        "error_origin": "student" if number % 2 else "injected",
        "error_type": TYPES[number % 5 % 3],
        "error_span": [0, output.index(" Wait")],
        "answer": str(number + 1),
        **changes,
    }


@pytest.fixture
def rows():
    plain = {"strategy": "reference", "error_origin": None, "error_type": None, "error_span": None}
    return [*(row(number) for number in range(40)), row(40, **plain)]


@pytest.fixture
def collection(tmp_path, rows):
    """A folder with a data set and the files of three stages."""
    write_dataset(tmp_path, rows)
    with write_stage(tmp_path, "problems") as put:
        for number in range(25):
            put(Line(f"q{number}", f"q{number}", number, True, None))
    with write_stage(tmp_path, "grading") as put:
        for number, correct in enumerate([True, False, None, False, None, False]):
            put(Line(f"q0/s{number}", "q0", 0, True, asdict(Attempt("a", "q0", "student", "x", correct=correct))))
        put(Line("q0/s7", "q0", 0, False, None, "empty", "nothing was said"))
    with write_stage(tmp_path, "analysis") as put:
        for number in range(3):
            attempt = Attempt(f"q0/s{number}", "q0", "student", "x", error_type=TYPES[number // 2])
            put(Line(attempt.id, "q0", 0, True, asdict(attempt)))
        put(Line("q0/s5", "q0", 0, False, asdict(attempt), "called_correct", "three times"))
    return tmp_path


def usage(*sums):
    return dict(zip(("replies", "prompt_tokens", "cached_tokens", "completion_tokens", "cost"), sums, strict=True))


def write(folder, **changes):
    values = {
        "name": "Nuts and trees",
        "seed": 0,
        "stages": [asdict(count) for count in funnel(folder)],
        "students_error_types": students_error_types(folder),
        "assembled": asdict(
            Assembled(
                pools=[{"strategy": None, "origin": "student", "at_hand": 30, "taken": 20}],
                benchmarks={"gsm8k.jsonl": 1319},
                overlap=0.5,
                contaminated={"gsm8k.jsonl": {"exact": 2, "overlap": 1}},
            )
        ),
        "models": {"student": "small", "teacher": "large"},
        "prompts": {"analysis": "0123abcd"},
        "usage": {"sampling": usage(9, 900, 0, 90, 0.0), "analysis": usage(3, 3000, 1000, 300, 1.25)},
        "license": "cc-by-4.0",
    }
    return write_card(folder, **{**values, **changes})


def test_numbers_are_those_of_the_rows(collection, rows):
    write(collection)
    numbers = json.loads((collection / "card.json").read_text())
    assert numbers["rows"] == 41
    assert numbers["questions"] == len({row["instruction"] for row in rows}) == 21
    assert numbers["strategies"] == {
        "fix_and_continue": {"injected": 10, "student": 20},
        "fresh_and_restart": {"injected": 10},
        "reference": {"none": 1},
    }
    assert {name: held["rows"] for name, held in numbers["sources"].items()} == Counter(row["source"] for row in rows)
    assert numbers["error_types"] == Counter(row["error_type"] for row in rows[:40])
    chars = sorted(len(row["output"]) for row in rows)
    assert numbers["lengths"]["chars"] == {
        "mean": round(sum(chars) / 41, 1),
        "p50": chars[20],
        "p95": chars[38],
        "max": chars[40],
    }
    assert numbers["wrong_share"] == round(sum(r["error_span"][1] / len(r["output"]) for r in rows[:40]) / 40, 4)


def test_funnel_counts_every_line_once(collection):
    problems, grading, analysis = funnel(collection)
    assert (problems.stage, problems.entered, problems.kept) == ("problems", 25, 25)
    assert (grading.entered, grading.kept, dict(grading.reasons)) == (7, 6, {"empty": 1})
    assert grading.outcomes == {"right": 1, "wrong": 3, "ungraded": 2}
    assert (analysis.entered, analysis.kept, dict(analysis.reasons)) == (4, 3, {"called_correct": 1})
    assert students_error_types(collection) == {TYPES[0]: 2, TYPES[1]: 1}


def test_card_tells_the_numbers_in_its_tables(collection):
    write(collection)
    card = (collection / "README.md").read_text()
    for line in (
        "41 rows over 21 questions.",
        "| fix_and_continue | 10 | 0 | 20 | 30 |",
        "| `calculation_error` | 16 (40.0%) | 2 (66.7%) |",
        "| grading | 7 | 6 | 1 `empty` |",
        "Verdicts on 6 answers, kept or set aside: 1 right, 3 wrong, 2 ungraded.",
        "| student | 30 | 20 |",
        "| gsm8k.jsonl | 1,319 | 2 | 1 |",
        "| teacher | `large` |",
        "| prompt of analysis | `0123abcd` |",
        "| total | 12 | 3,900 | 1,000 | 390 | 1.25 |",
        "![error types](error_types.png)",
        "![funnel](funnel.png)",
    ):
        assert line in card, line
    assert all((collection / name).read_bytes().startswith(PNG) for name in ("error_types.png", "funnel.png"))


def test_front_matter_is_the_hubs(collection):
    write(collection)
    _, block, _ = (collection / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(block) == {
        "license": "cc-by-4.0",
        "pretty_name": "Nuts and trees",
        "task_categories": ["text-generation"],
        "tags": ["math", "lemma", "error-correction", "sft"],
        "size_categories": ["n<1K"],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "dataset.parquet"}]}],
    }
    write(collection, license=None)
    assert "license:" not in (collection / "README.md").read_text()


def test_folder_loads_with_datasets(collection, rows, tmp_path_factory):
    import datasets

    write(collection)
    loaded = datasets.load_dataset(str(collection), cache_dir=str(tmp_path_factory.mktemp("cache")))
    assert list(loaded) == ["train"]
    assert loaded["train"].to_list() == rows


def test_examples_are_drawn_with_the_seed_and_mark_the_wrong_part(collection, rows):
    one, again, other = (describe(read_dataset(collection), seed)["examples"] for seed in (0, 0, 1))
    assert one == again != other
    assert len({row["id"] for row in one}) == 10
    assert [row["id"] for row in one] == [row["id"] for row in describe(rows[::-1], 0)["examples"]]
    numbers = write(collection)
    card = (collection / "README.md").read_text()
    marked = next(row for row in numbers["examples"] if row["error_span"])
    end = marked["error_span"][1]
    assert f"[[{marked['output'][:end]}]]{marked['output'][end:]}" in card


def test_text_of_rows_cannot_break_out_of_the_card(tmp_path):
    write_dataset(tmp_path, [row(1, output="```\n# Injected heading\n````", error_span=None, source="a|b <script>")])
    write_card(tmp_path, name="Set | of\nnuts", seed=0)
    card = (tmp_path / "README.md").read_text()
    assert "`````text\n" in card
    assert "| a\\|b &lt;script> | 1 | 1 |" in card
    assert "# Set \\| of nuts" in card


def test_card_is_the_same_bytes_twice(collection):
    names = ("README.md", "card.json", "error_types.png", "funnel.png")
    write(collection)
    first = [(collection / name).read_bytes() for name in names]
    write(collection)
    assert first == [(collection / name).read_bytes() for name in names]


def test_plain_set_gets_a_card_without_pictures(tmp_path):
    plain = {"strategy": "reference", "error_origin": None, "error_type": None, "error_span": None}
    write_dataset(tmp_path, [row(1, **plain)])
    (tmp_path / "error_types.png").write_bytes(b"of an earlier run")
    write_card(tmp_path, name="Plain", seed=0)
    assert "![" not in (tmp_path / "README.md").read_text()
    assert not (tmp_path / "error_types.png").exists()


def test_missing_or_empty_set_is_named(tmp_path):
    with pytest.raises(InputError, match=r"dataset\.jsonl cannot be read.*Run the stage assembly first"):
        write_card(tmp_path, name="x", seed=0)
    (tmp_path / "dataset.jsonl").write_text("")
    with pytest.raises(InputError, match="holds no row"):
        write_card(tmp_path, name="x", seed=0)


def test_upload_is_refused_in_words(collection, monkeypatch):
    import huggingface_hub.constants

    with pytest.raises(InputError, match="no README"):
        push(collection, "owner/name")
    write(collection)
    with pytest.raises(InputError, match="owner/name"):
        push(collection, "name")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="HF_HUB_OFFLINE is set"):
        push(collection, "owner/name")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with pytest.raises(InputError, match="HF_TOKEN"):
        push(collection, "owner/name")


def test_unreachable_hub_is_refused_without_the_token_in_the_message(collection, monkeypatch):
    import huggingface_hub.constants

    write(collection)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with pytest.raises(InputError, match="push_to_hub: owner/name cannot be uploaded") as caught:
        push(collection, "owner/name")
    assert "hf_secret" not in str(caught.value)
    monkeypatch.setenv("HF_TOKEN", "hf_sec\nret")
    with pytest.raises(InputError, match="HF_TOKEN holds characters") as caught:
        push(collection, "owner/name")
    assert "ret" not in str(caught.value)


def test_text_from_outside_becomes_no_picture_and_steers_no_terminal(tmp_path):
    write_dataset(tmp_path, [row(1, source="![x](http://a/x.png)", answer="[7](http://a)", instruction="\x1b[2J?")])
    write_card(tmp_path, name="made", seed=0)
    card = (tmp_path / "README.md").read_text()
    assert r"!\[x\](http://a/x.png)" in card and r"\[7\](http://a)" in card and "\x1b" not in card
