"""A training recipe's evaluations: found to be at fault before the training, run after it, and told in the card."""

import json

import pytest
import yaml
from huggingface_hub import ModelCard
from launching import run, write_recipe

from lemma_train.errors import InputError
from lemma_train.template import Renderer
from lemma_train.training.card_results import with_evaluations
from lemma_train.training.evaluate_after import check_evaluations
from lemma_train.training.launcher import without_launcher
from lemma_train.training.recipe import load_recipe

ENTRY = {"source": "generated", "kind": "word_sums", "size": 6, "seed": 3, "label": "sums"}


def evaluation(folder, name="quick", **keys):
    model = {
        "engine": "transformers",
        "model": "replaced",
        "dtype": "float32",
        "max_tokens": 8,
        **keys.pop("model", {}),
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({"model": model, "benchmarks": [ENTRY], "output_dir": "replaced", **keys}))
    return str(path)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"model": {"engine": "openai"}}, r"asks a server, where the model of this run is not"),
        ({"model": {"template": "alpaca"}}, r"prompts with the template 'alpaca', this run trains with 'lemma'"),
        ({"benchmarks": [{"name": "gsm8k", "path": "nowhere.jsonl"}]}, r"quick\.yaml: .*nowhere\.jsonl"),
        ({"sample": 3}, r"unknown key 'sample'"),
        ({"model": {"engine": "vllm"}}, r"needs vLLM in this environment"),
    ],
)
def test_what_could_not_be_evaluated_is_refused_before_the_training(
    tmp_path, tiny_llama, smollm2_tokenizer, keys, message
):
    recipe = load_recipe(write_recipe(tmp_path, tiny_llama, evaluate_after=evaluation(tmp_path, **keys)))
    with pytest.raises(InputError, match=r"^evaluate_after: ") as raised:
        check_evaluations(recipe, Renderer(smollm2_tokenizer, recipe["template"]))
    assert raised.match(f"evaluate_after: .*{message}")


def test_two_recipes_of_one_name_are_refused(tmp_path, tiny_llama, smollm2_tokenizer):
    (tmp_path / "other").mkdir()
    both = [evaluation(tmp_path), evaluation(tmp_path / "other")]
    recipe = load_recipe(write_recipe(tmp_path, tiny_llama, evaluate_after=both))
    with pytest.raises(InputError, match="two recipes are called quick"):
        check_evaluations(recipe, Renderer(smollm2_tokenizer, "lemma"))


def test_a_rank_of_a_launcher_starts_an_evaluation_of_its_own():
    ranks = {
        "RANK": "0",
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "TORCHELASTIC_RUN_ID": "x",
        "OMP_NUM_THREADS": "1",
    }
    assert without_launcher({**ranks, "ACCELERATE_USE_DEEPSPEED": "true", "HF_HOME": "/h"}) == {"HF_HOME": "/h"}
    assert without_launcher({"OMP_NUM_THREADS": "4"}) == {"OMP_NUM_THREADS": "4"}


def share(value):
    low, high = (None, None) if value is None else (value / 2, value + 0.1)
    return {"value": value, "low": low, "high": high, "n": 8, "k": 4}


def result(accuracy):
    told = {"questions": 8, "shots": 4, "metrics": {"accuracy": share(accuracy)}, "authors": {"accuracy": share(0.5)}}
    told["scorecard"] = {"reflects": share(0.25), "repair_rate": share(None)}
    return {
        "decoding": {"temperature": 0.0, "samples": 1, "max_tokens": 64},
        "template": {"template": "lemma"},
        "grader_version": 9,
        "benchmarks": {"gsm8k": told},
        "probe": {"recovered": share(0.75), "reflected": share(0.5)},
    }


def test_a_card_holds_the_latest_figures_once_and_says_them_to_the_hub(tmp_path):
    card = tmp_path / "README.md"
    card.write_text(
        "---\nlibrary_name: transformers\n---\n\n# mine\n\n## Data\n\nRows.\n\n## Limits\n\nNo evaluation result is "
        "claimed here. It may err.\n"
    )
    with_evaluations(card, {"paper": result(0.25)})
    with_evaluations(card, {"paper": result(0.5)})
    told = ModelCard.load(card)
    assert "| gsm8k | 8 | 4 | 50.0 (25.0-60.0) | 50.0 (25.0-60.0) | 25.0 (12.5-35.0) | - |" in told.text
    assert told.text.count("## Evaluation") == 1 and "12.5-35.0" in told.text and "claimed here" not in told.text
    assert told.text.index("## Data") < told.text.index("## Evaluation") < told.text.index("## Limits")
    assert "ends right in 75.0 (37.5-85.0)% of 8 cases" in told.text
    (metric,) = told.data.eval_results
    assert (metric.dataset_name, metric.metric_type, metric.metric_value) == ("gsm8k", "accuracy", 50.0)
    assert told.data.library_name == "transformers" and told.data.model_name == "mine"


@pytest.mark.slow
def test_the_finished_model_is_evaluated_once_and_its_card_tells_the_result(tmp_path, tiny_llama):
    recipe = write_recipe(tmp_path, tiny_llama, max_steps=2, evaluate_after=[evaluation(tmp_path)])
    out = tmp_path / "out"
    first = run(recipe, config="cpu_ddp.yaml")
    assert first.returncode == 0, first.stdout[-3000:] + first.stderr[-3000:]
    results = json.loads((out / "evaluation" / "quick" / "results.json").read_text())
    assert results["model"] == str(out / "final") and results["benchmarks"]["sums"]["questions"] == 6
    (metric,) = ModelCard.load(out / "final" / "README.md").data.eval_results
    assert metric.metric_value == pytest.approx(100 * results["benchmarks"]["sums"]["metrics"]["accuracy"]["value"])
    journal = out / "evaluation" / "quick" / "journal" / "replies.jsonl"
    before = journal.read_bytes()
    assert len(before.splitlines()) == 6
    again = run(recipe, config="cpu_ddp.yaml")
    assert again.returncode == 0 and "nothing is left to train" in again.stderr + again.stdout
    assert journal.read_bytes() == before
    assert (out / "final" / "README.md").read_text().count("## Evaluation") == 1
