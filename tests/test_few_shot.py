"""The worked examples before a question."""

import json

import pytest

from lemma_train.errors import InputError
from lemma_train.evaluation.few_shot import load_shots, prompt_fingerprint
from lemma_train.grading.extraction import extract_answer
from lemma_train.template import Renderer


def test_there_are_four_and_each_states_its_answer_last():
    shots = load_shots(4)
    assert [extract_answer(output) for _, output in shots] == ["25", "39", "77", "6"]
    for _, output in shots:
        assert output.endswith(f"\nThe answer is {extract_answer(output)}.")


def test_no_answer_holds_what_ends_an_answer():
    for instruction, output in load_shots(4):
        assert "\n\n" not in output and "#" not in instruction + output


def test_the_examples_stand_in_no_benchmark(shared_data):
    from lemma_train.collection.decontamination import Benchmarks

    benchmarks = Benchmarks([str(shared_data / "benchmarks"), str(shared_data / "gsm8k_train.jsonl")], overlap=0)
    assert [benchmarks.find(instruction) for instruction, _ in load_shots(4)] == [None] * 4


def test_fewer_are_the_first_ones_and_none_reads_no_file(tmp_path):
    assert load_shots(2) == load_shots(4)[:2]
    assert load_shots(0, tmp_path / "missing.yaml") == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- {instruction: a, output: b}", "2 examples are asked for, .* has 1"),
        ("instruction: a", "must be a YAML list"),
        ("- a\n- b", "example 1 of .* needs an instruction and an output"),
        ("- {instruction: a, output: b}\n- {instruction: a, output: 3}", "example 2"),
        ("- {instruction: a, output: b}\n- {instruction: a, output: ' '}", "example 2"),
        ("- [", "shots: .*line 1 is not valid YAML"),
        ("- {instruction: a, instruction: b}", "the key 'instruction' stands twice"),
    ],
)
def test_a_file_at_fault_is_named(tmp_path, text, message):
    file = tmp_path / "shots.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=message):
        load_shots(2, file)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"shots: .*missing\.yaml does not exist"):
        load_shots(1, tmp_path / "missing.yaml")


def test_fingerprint_follows_template_and_examples(smollm2_tokenizer):
    shots = load_shots(4)
    prints = [
        prompt_fingerprint(Renderer(smollm2_tokenizer, template), chosen)
        for template in ("lemma", "alpaca")
        for chosen in ((), shots, shots[:3], shots[::-1])
    ]
    assert len(set(prints)) == 8
    assert prompt_fingerprint(Renderer(smollm2_tokenizer), json.loads(json.dumps(shots))) == prints[1]
