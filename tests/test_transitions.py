"""Where a response reflects: found in trajectories, not in plain solutions."""

from pathlib import Path

import pytest
import yaml

from lemma_train.collection.collect import collect
from lemma_train.collection.recipe import load_collect_recipe
from lemma_train.collection.stage_files import read_stage
from lemma_train.evaluation.transitions import find_reflection
from lemma_train.problems import load_problems

TEXTS = yaml.safe_load((Path(__file__).parent / "transition_texts.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("response", TEXTS["reflecting"])
def test_a_text_that_goes_back_on_itself_reflects(response):
    assert find_reflection(response) is not None


@pytest.mark.parametrize("response", TEXTS["plain"])
def test_ordinary_reasoning_with_such_words_does_not(response):
    assert find_reflection(response) is None


def test_what_is_known_to_be_judged_wrongly_is_still_so():
    """Once one of these is judged rightly, it belongs into the other list."""
    assert [text for text in TEXTS["taken_wrongly"] if find_reflection(text) is None] == []
    assert [text for text in TEXTS["missed"] if find_reflection(text) is not None] == []


@pytest.mark.parametrize(
    ("response", "reflection"),
    [
        ("3 + 4 = 8. Wait, that is not right. 3 + 4 = 7. The answer is 7.", "Wait, that is not right."),
        ("It is 8. Hold on. Let me check: 3 + 4 = 7.", "Hold on."),
        ("So x = 8.\nHmm, I made a mistake there.\nx = 7.", "Hmm, I made a mistake there."),
        ("3 * 4 = 13. Let me start over. 3 * 4 = 12.", "Let me start over."),
    ],
)
def test_a_reflection_is_found_where_it_begins(response, reflection):
    found = find_reflection(response)
    assert found is not None
    assert found.start == response.index(reflection) and found.reflection.startswith(reflection)
    assert response[: found.start].strip() == found.before and response[found.end :].strip() == found.after


@pytest.mark.parametrize(
    "response",
    [
        "",
        "3 + 4 = 7. The answer is 7.",
        "However, she gives 2 away, so 5 remain. The answer is 5.",
        "It is not possible to share 7 equally. She actually keeps 1. The answer is 1.",
        "They wait 5 minutes. Then they wait 3 more. 5 + 3 = 8.",
    ],
)
def test_plain_reasoning_is_no_reflection(response):
    assert find_reflection(response) is None


def test_a_sentence_of_the_question_is_a_quotation():
    asked = 'Tom says: "Wait, that is wrong." How many words does he say?'
    assert find_reflection(f"{asked} He says 4 words.", asked) is None


def test_the_reflections_of_collected_trajectories_are_found_at_their_place(tmp_path):
    recipe = tmp_path / "r.yaml"
    kinds = [{"source": "generated", "kind": kind, "size": 40} for kind in ("word_sums", "gsm_symbolic")]
    values = {"problems": kinds, "output_dir": str(tmp_path / "c"), "correction": {"restart_shows": "reference"}}
    recipe.write_text(yaml.safe_dump({**values, "student": {"engine": "offline"}, "teacher": {"engine": "offline"}}))
    collect(load_collect_recipe(recipe))
    drafts = [line.record for line in read_stage(tmp_path / "c", "smoothing") if line.kept]
    exact = 0
    for draft in drafts:
        parts = (draft["prefix"], draft["reflection"], draft["continuation"])
        output = ("\n" if any("\n" in part for part in parts) else " ").join(parts)
        found = find_reflection(output)
        exact += found is not None and found.start == len(draft["prefix"]) + 1
    assert len(drafts) > 200 and exact / len(drafts) >= 0.95


def test_worked_solutions_of_real_benchmarks_raise_no_alarm(shared_data):
    entries = [
        {"source": "gsm8k", "path": str(shared_data / "gsm8k_train.jsonl"), "limit": 2500},
        {"source": "math", "path": str(shared_data / "math_train.jsonl"), "limit": 2500},
    ]
    problems = load_problems(entries, 0).problems
    alarms = [problem.id for problem in problems if find_reflection(problem.solution or "", problem.question)]
    assert len(problems) > 4900 and len(alarms) / len(problems) < 0.005, alarms[:20]
