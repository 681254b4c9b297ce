"""The whole loop's parts: what a step depends on, the control's size, the order of steps, and what is refused."""

import json

import pytest
import yaml
from launching import ROOT, write_recipe

from lemma_train.errors import InputError
from lemma_train.loop.control import write_control
from lemma_train.loop.fingerprint import fingerprint
from lemma_train.loop.run import WholeRun
from lemma_train.loop.settings import load_run_recipe
from lemma_train.template import Renderer

SHIPPED = sorted((ROOT / "recipes" / "run").glob("*.yaml"))
PROBLEMS = [{"source": "generated", "kind": "word_sums", "size": 6}]


def write_run(folder, model, **keys):
    """A run recipe with small recipes for its steps."""
    write_recipe(folder, model, template="lemma")
    offline = {"engine": "offline"}
    collection = {"problems": PROBLEMS, "output_dir": "replaced", "student": {**offline, "mistake_share": 0.6}}
    (folder / "collect.yaml").write_text(yaml.safe_dump({**collection, "teacher": offline}))
    asked = {"engine": "transformers", "model": "replaced", "dtype": "float32", "max_tokens": 4}
    benchmark = {"source": "generated", "kind": "word_sums", "size": 8, "seed": 3, "label": "sums"}
    evaluation = {"model": asked, "benchmarks": [benchmark], "output_dir": "replaced"}
    (folder / "evaluate.yaml").write_text(yaml.safe_dump(evaluation))
    named = {"collect": "collect.yaml", "train": "recipe.yaml", "evaluate": "evaluate.yaml"}
    values = {key: str(folder / name) for key, name in named.items()}
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump({**values, "output_dir": str(folder / "run"), **keys}))
    return path


def test_a_fingerprint_is_of_values_and_of_the_files_that_they_name_but_not_of_what_is_made(tmp_path):
    rows, out = tmp_path / "rows.jsonl", tmp_path / "out"
    rows.write_text("one")
    values = {"train_files": [{"path": str(rows)}], "output_dir": str(out), "seed": 1}
    first = fingerprint(values)
    out.mkdir()
    (out / "metrics.jsonl").write_text("made")
    assert fingerprint(values) == first and fingerprint({**values, "seed": 2}) != first
    rows.write_text("two")
    assert fingerprint(values) != first


def test_the_control_has_the_same_questions_and_as_many_supervised_tokens(tmp_path, smollm2_tokenizer):
    from lemma_train.collection.collect import collect
    from lemma_train.collection.recipe import load_collect_recipe

    recipe = ROOT / "recipes" / "collect" / "offline_demo.yaml"
    asked = json.dumps([{"source": "generated", "kind": "word_sums", "size": 30}])
    collect(load_collect_recipe(recipe, ["--output_dir", str(tmp_path / "c"), "--problems", asked]))
    renderer = Renderer(smollm2_tokenizer)
    weight = write_control(tmp_path / "c", tmp_path / "control", renderer)
    lines = [json.loads(line) for line in (tmp_path / "control" / "rows.jsonl").read_text().splitlines()]
    rows = [json.loads(line) for line in (tmp_path / "c" / "dataset.jsonl").read_text().splitlines()]
    assert {row["instruction"] for row in lines} == {row["instruction"] for row in rows} and len(lines) < len(rows)
    assert {row["strategy"] for row in lines} == {"reference"}

    def completion_tokens(rows):  # the completion with EOS, counted without the renderer's masks
        return sum(len(smollm2_tokenizer(" " + row["output"])["input_ids"]) + 1 for row in rows)

    assert weight == pytest.approx(completion_tokens(rows) / completion_tokens(lines), rel=1e-3) and weight > 2


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"train": ""}, "the key train is missing"),
        ({"train": "no.yaml"}, r"train: the file no\.yaml does not exist"),
        ({"collect": None, "control": "reference"}, "control: it needs the collection's questions"),
        ({"seeds": [1, 1]}, "seeds: a seed stands twice"),
        ({"overrides": {"train": {"seed": 3}}}, r"overrides\.train\.seed: the run sets it itself"),
        ({"overrides": {"evaluate": {"model.model": "x"}}}, r"overrides\.evaluate\.model\.model: the run sets it"),
        ({"overrides": {"collect": {"sampling.sample": 3}}}, r"unknown key 'sampling\.sample'; did you mean"),
        ({"overrides": {"train": {"learning_rat": 3}}}, "unknown key 'learning_rat'; did you mean learning_rate"),
        (
            {"overrides": {"evaluate": {"model.engine": "openai"}}},
            "asks a server, where the models of this run are not",
        ),
        (
            {"overrides": {"train": {"template": "alpaca"}}},
            "prompts with the template 'lemma', .* trains with 'alpaca'",
        ),
        ({"contrl": "reference"}, "unknown key 'contrl'; did you mean control"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_done(tmp_path, tiny_llama, keys, message):
    with pytest.raises(InputError, match=message):
        WholeRun(write_run(tmp_path, tiny_llama, **keys), [], print)
    assert not (tmp_path / "run").exists()


def test_the_steps_come_in_the_order_in_which_they_need_each_other(tmp_path, tiny_llama):
    run = WholeRun(write_run(tmp_path, tiny_llama, control="reference", seeds=[1, 2]), [], print)
    assert run.state_lines() == [
        f"to do   {name}"
        for name in (
            *("collect", "control", "evaluate-base", "train-lemma_seed-1", "evaluate-lemma_seed-1"),
            *("train-control_seed-1", "evaluate-control_seed-1", "train-lemma_seed-2", "evaluate-lemma_seed-2"),
            *("train-control_seed-2", "evaluate-control_seed-2", "report"),
        )
    ]
    with pytest.raises(InputError, match="--step report: the step collect comes first and is not done"):
        run.do("report")
    with pytest.raises(InputError, match="--step train: the steps are collect, control"):
        run.do("train")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_run_that_ships_opens_with_its_command_and_its_recipes_go_together(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert path.read_text().startswith(f"# lemma run recipes/run/{path.name}\n")
    settings = load_run_recipe(path)
    assert settings.output_dir.startswith("outputs/run/") and WholeRun(path, [], print).state_lines()
