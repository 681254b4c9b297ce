"""The whole loop's parts: what a step depends on, the control's size, the order of steps, and what is refused."""

import json
import sys

import pytest
import yaml
from finished_runs import write_run as finished_run
from launching import ROOT, write_recipe

from lemma_train.errors import InputError
from lemma_train.evaluation.report_text import escaped
from lemma_train.loop import steps, summary
from lemma_train.loop.control import write_control
from lemma_train.loop.fingerprint import fingerprint
from lemma_train.loop.run import WholeRun
from lemma_train.loop.settings import load_run_recipe
from lemma_train.loop.summary import summary_of, write_summary
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
    # A row that the training drops counts for nothing.
    with (tmp_path / "c" / "dataset.jsonl").open("a") as file:
        file.write(json.dumps({**rows[0], "id": "long", "output": rows[0]["output"] + " Slowly." * 600}) + "\n")
    assert write_control(tmp_path / "c", tmp_path / "control", renderer, max_length=512) == weight
    with pytest.raises(InputError, match=r"longer than max_length \(3\)"):
        write_control(tmp_path / "c", tmp_path / "control", renderer, max_length=3)
    (tmp_path / "c" / "dataset.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    # Wrong parts that the loss leaves out are no supervised tokens.
    less = write_control(tmp_path / "c", tmp_path / "control", renderer, error_span_weight=0.0)
    parts = [row["output"][slice(*row["error_span"])] for row in rows if row["error_span"]]
    wrong = sum(len(smollm2_tokenizer(part)["input_ids"]) for part in parts)
    assert (weight - less) * completion_tokens(lines) == pytest.approx(wrong, rel=0.1) and wrong > 100


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"train": ""}, "the key train is missing"),
        ({"train": "no.yaml"}, r"train: the file no\.yaml does not exist"),
        ({"collect": None, "control": "reference"}, "control: it needs the collection's questions"),
        ({"seeds": [1, 1]}, "seeds: a seed stands twice"),
        ({"seeds": [1, -1]}, "seeds: -1 must be between 0 and 4294967295"),
        ({"output_dir": "~no-such-user/x"}, "output_dir: '~no-such-user/x' can be no folder"),
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


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"benchmarks": ["asdiv"]}, r"evaluate: \S+evaluate\.yaml: benchmarks: .*name its file with path"),
        ({"model.engine": "vllm"}, "needs vLLM, which .* does not have; name the Python .* in evaluate_python"),
    ],
)
def test_an_evaluation_that_could_not_be_run_ends_the_run_before_its_collection(tmp_path, tiny_llama, keys, message):
    run = WholeRun(write_run(tmp_path, tiny_llama, overrides={"evaluate": keys}), [], print)
    assert run.state_lines()
    with pytest.raises(InputError, match=message):
        run.do_all()
    assert not (tmp_path / "run").exists()


def test_questions_that_are_trained_on_are_no_test(tmp_path, tiny_llama):
    entry = {"source": "generated", "kind": "word_sums", "size": 8, "seed": 3, "label": "sums"}
    keys = {"collect": {"problems": [{**PROBLEMS[0], "size": 12}]}}
    asked = {"benchmarks": [{**entry, "seed": 0}]}  # draws what the collection draws
    overrides = {**keys, "evaluate": asked}
    run = WholeRun(write_run(tmp_path, tiny_llama, overrides=overrides), [], print)
    with pytest.raises(InputError, match=r"evaluate: 8 of 8 questions are trained on, such as word_sums:.* avoid"):
        run.do_all()
    asked["benchmarks"][0]["avoid"] = {"size": 12, "seed": 0}
    WholeRun(write_run(tmp_path, tiny_llama, overrides=overrides), [], print).plan.check_evaluation()


def test_the_evaluations_run_in_the_python_that_is_named(tmp_path, tiny_llama):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 0\n")
    python.chmod(0o755)
    plan = WholeRun(write_run(tmp_path, tiny_llama, evaluate_python=str(python)), [], print).plan
    plan.check_evaluation()
    programs = {step.name: step.command[0] for step in plan.steps(lambda: None) if step.command}
    assert programs == {
        "collect": sys.executable,
        "evaluate-base": str(python),
        "evaluate-lemma_seed-7": str(python),
    }
    engine = ["--overrides.evaluate.model.engine", "vllm"]
    WholeRun(tmp_path / "run.yaml", engine, print).plan.check_evaluation()  # it answers that it has vLLM
    python.unlink()
    with pytest.raises(InputError, match=r"evaluate_python: the file \S+ does not exist"):
        plan.check_evaluation()


def test_a_fingerprint_takes_no_prompt_for_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    values = {"model": {"system": "", "tokenizer": "~nobody knows", "stop": ["/", ".", "..", "x" * 5000, "a\0b"]}}
    before = fingerprint(values)
    (tmp_path / "new.txt").write_text("nothing that the values name")
    assert fingerprint(values) == before


def test_a_choice_of_a_key_is_itself_on_the_command_line(tmp_path, tiny_llama):
    path = write_run(tmp_path, tiny_llama, control="reference")
    assert load_run_recipe(path, ["--control", "none"]).control == "none"
    assert load_run_recipe(path, ["--collect", "none", "--control=none"]).collect is None


def test_a_text_stays_a_text_and_a_seed_a_whole_number(tmp_path, tiny_llama):
    keys = {"overrides": {"collect": {"student.model": "7"}, "train": {}}}
    path = write_run(tmp_path, tiny_llama, **keys)
    train = yaml.safe_load((tmp_path / "recipe.yaml").read_text())
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump({**train, "seed": 7.0}))
    plan = WholeRun(path, [], print).plan
    assert plan.collection.student.model == "7" and plan.models == ["lemma_seed-7"]


def test_the_base_is_measured_without_the_adapter_of_an_evaluation_recipe(tmp_path, tiny_llama):
    path = write_run(tmp_path, tiny_llama)
    asked = yaml.safe_load((tmp_path / "evaluate.yaml").read_text())
    asked["model"]["adapter"] = str(tmp_path)
    (tmp_path / "evaluate.yaml").write_text(yaml.safe_dump(asked))
    steps = WholeRun(path, [], print).plan.steps(lambda: None)
    adapters = {step.name: step.depends_on["model"]["adapter"] for step in steps if step.name.startswith("evaluate")}
    assert adapters == {"evaluate-base": None, "evaluate-lemma_seed-7": None}


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "[" * 100_000, '{"weight": null}', '{"weight": -1}', '{"weight": "x"}']
)
def test_a_damaged_size_of_the_control_is_refused_with_the_mend(tmp_path, tiny_llama, text):
    run = WholeRun(write_run(tmp_path, tiny_llama, control="reference"), [], print)
    size = tmp_path / "run" / "control" / "size.json"
    size.parent.mkdir(parents=True)
    size.write_text(text)
    with pytest.raises(InputError, match=r"size\.json is damaged; delete it, and the control is made anew"):
        run.state_lines()


@pytest.mark.parametrize(
    ("text", "message"),
    [("", r"dataset\.jsonl has no row; collect from more"), ("{}\n", "line 1 is damaged"), ("[", "line 1 is damaged")],
)
def test_a_control_of_no_or_damaged_rows_is_refused(tmp_path, smollm2_tokenizer, text, message):
    (tmp_path / "dataset.jsonl").write_text(text)
    with pytest.raises(InputError, match=message):
        write_control(tmp_path, tmp_path / "control", Renderer(smollm2_tokenizer))


@pytest.mark.parametrize("text", ["", "[]", "{}", "[" * 100_000, '{"depends_on": [1], "seconds": 1}'])
def test_a_damaged_state_counts_as_a_step_that_is_not_done(tmp_path, tiny_llama, text):
    run = WholeRun(write_run(tmp_path, tiny_llama), [], print)
    for file, content in (("collect/dataset.jsonl", "{}"), ("steps/collect.json", text)):
        (tmp_path / "run" / file).parent.mkdir(parents=True)
        (tmp_path / "run" / file).write_text(content)
    assert run.state_lines()[0] == "to do   collect"


def test_what_was_half_trained_on_other_inputs_is_moved_aside_and_never_over_another(tmp_path, tiny_llama):
    run = WholeRun(write_run(tmp_path, tiny_llama), [], print)
    step = next(step for step in run.plan.steps(lambda: None) if step.name == "train-lemma_seed-7")
    folder, earlier = tmp_path / "run" / "train" / "lemma_seed-7", tmp_path / "run" / "earlier"
    (tmp_path / "run" / "steps").mkdir(parents=True)
    for taken in (2, 3):
        (earlier / f"lemma_seed-7-{taken}").mkdir(parents=True)
    for inputs, place in (("before", 1), ("then", 4)):
        folder.mkdir(parents=True)
        (folder / "metrics.jsonl").write_text(inputs)
        run._note(step, inputs, None)  # it began with these, and was killed
        run._set_aside(step, inputs)
        assert folder.exists()
        run._set_aside(step, "now")
        assert not folder.exists()
        assert (earlier / f"lemma_seed-7-{place}" / "metrics.jsonl").read_text() == inputs


def _samples(plan, model):
    file = plan.evaluation_folder(model) / "samples.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_one_seeds_difference_carries_its_exact_p():
    one = {"questions": 150, "difference": 4 / 150, "low": 0.007, "high": 0.053, "p": 0.125}
    assert "+0.7 to +5.3, exact p 0.125." in summary._sentence({"over_seeds": None, "seeds": {"1": one}}, "x")[0]
    certain = {"over_seeds": None, "seeds": {"1": {**one, "p": 1e-9}}}
    assert "exact p below 0.001." in summary._sentence(certain, "x")[0]


def test_another_version_of_the_grader_grades_again(tmp_path, tiny_llama, monkeypatch):
    run = WholeRun(write_run(tmp_path, tiny_llama), [], print)
    before = {step.name: fingerprint(step.depends_on) for step in run._steps()}
    monkeypatch.setattr(steps, "GRADER_VERSION", "another")
    after = {step.name: fingerprint(step.depends_on) for step in run._steps()}
    changed = [name for name in before if before[name] != after[name]]
    assert changed == ["collect", "evaluate-base", "evaluate-lemma_seed-7"]


def test_a_models_words_are_no_markup_in_the_summary():
    said = summary._quoted({"question": "What is 2*3*4?", "response": "<img src=x>\n[ok](javascript:1)"})
    assert "> What is 2\\*3\\*4?\n>\n> &lt;img src=x>\n> \\[ok\\](javascript:1)\n" in said


def test_the_summary_tells_what_its_intervals_are_of(tmp_path, tiny_llama):
    plan = WholeRun(write_run(tmp_path, tiny_llama, control="reference", seeds=[1, 2]), [], print).plan
    shares = {"base": 0.2, "lemma_seed-1": 0.7, "lemma_seed-2": 0.8, "control_seed-1": 0.5, "control_seed-2": 0.5}
    for model, right in shares.items():
        finished_run(plan.evaluation_folder(model), model, right, ("gsm8k",), 40)
    told = summary_of(plan)
    gains = [told["against_base"]["seeds"][seed]["difference"] for seed in ("1", "2")]
    assert gains == [told["accuracy"][f"lemma_seed-{seed}"] - told["accuracy"]["base"] for seed in (1, 2)]
    over = told["against_base"]["over_seeds"]
    assert over["high"] - over["difference"] == pytest.approx(12.706 * abs(gains[0] - gains[1]) / 2, rel=1e-3)
    write_summary(plan)
    text = (tmp_path / "run" / "summary.md").read_text()
    assert text.count("over 2 seeds") == 2 and "the training's seed, not of other questions" in text
    for model in ("base", "control_seed-1", "lemma_seed-1"):
        repaired = [line for line in _samples(plan, model) if line["outcome"] == "repaired"]
        shown = min(repaired, key=lambda line: len(line["response"]))
        assert summary._example(plan.evaluation_folder(model)) == {key: shown[key] for key in ("question", "response")}
    assert told["example"]["response"] == shown["response"]
    assert f"> {escaped(shown['question'])}\n>\n> " in text
    assert f"> {escaped(shown['response'].splitlines()[-1])}\n" in text
    (plan.evaluation_folder("base") / "results.json").write_text("[[")
    with pytest.raises(InputError, match=r"results\.json"):
        write_summary(plan)
