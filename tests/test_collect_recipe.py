"""Collection recipes: every fault is named with its mend, and what is typed is what is used."""

from pathlib import Path

import pytest

from lemma_train.collection.recipe import load_collect_recipe
from lemma_train.errors import InputError

RECIPES = sorted((Path(__file__).parents[1] / "recipes" / "collect").glob("*.yaml"))

GOOD = """
problems: [{source: generated, kind: word_sums, size: 10}]
output_dir: out
student: {engine: offline}
teacher: {engine: offline}
"""


def load(tmp_path, text, *overrides):
    path = tmp_path / "r.yaml"
    path.write_text(text)
    return load_collect_recipe(path, overrides)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipe_loads_and_opens_with_its_command(path):
    settings = load_collect_recipe(path)
    assert path.read_text().startswith(f"# lemma collect recipes/collect/{path.name}\n")
    assert settings.output_dir == f"outputs/collect/{path.stem}"


def test_blocks_and_dotted_overrides(tmp_path):
    settings = load(
        tmp_path, GOOD, "--sampling.samples", "2", "--teacher.model", "m", "--teacher.engine=openai", "--seed", "7"
    )
    assert (settings.sampling.samples, settings.teacher.model, settings.seed) == (2, "m", 7)
    assert settings.student.engine == "offline"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sampling: {sample: 3}", r"unknown key 'sampling\.sample'; did you mean sampling\.samples\?"),
        ("samples: 3", r"unknown key 'samples'; did you mean"),
        ("sampling: {samples: three}", r"sampling\.samples: 'three' should be a valid integer"),
        ("sampling: {samples: true}", r"sampling\.samples: True should be a valid integer"),
        ("sampling: {samples: '3'}", r"sampling\.samples: '3' should be a valid integer"),
        ("sampling: {samples: 0}", r"sampling\.samples: it must be above 0, it is 0"),
        ("injection: {types: unifrom}", r"injection\.types: 'unifrom' should be"),
        ("injection: {types: {calculation_error: -1}}", r"injection\.types: shares must not be negative"),
        ("assembly: {strategies: {fix: 1}}", r"assembly\.strategies: 'fix' is none of fix_and_continue"),
        ("assembly: {near_duplicate_threshold: 2}", r"near_duplicate_threshold: it must be above 0 and at most 1"),
        ("sampling: {enabled: false}\ninjection: {enabled: false}", r"there would be no error to correct"),
        ("correction: {strategies: []}", r"correction\.strategies: it must name at least one"),
        ("budget: -3", r"budget: it must be above 0 or null"),
        ("teacher: {engine: openai}", r"teacher\.model is missing"),
        ("student: {engine: vllm}", r"student\.engine: 'vllm' should be 'openai', 'transformers' or 'offline'"),
        ("problems: []", r"the key problems is missing"),
        ("output_dir: ''", r"the key output_dir is missing"),
        ("injection: {allocation: failure_rate}\nsampling: {enabled: false}", r"failure_rate needs the student"),
    ],
)
def test_a_fault_is_named_with_its_key(tmp_path, text, message):
    import yaml

    values = yaml.safe_load(GOOD) | yaml.safe_load(text)
    with pytest.raises(InputError, match=message):
        load(tmp_path, yaml.safe_dump(values))


def test_all_faults_are_named_at_once(tmp_path):
    with pytest.raises(InputError) as caught:
        load(tmp_path, GOOD + "sed: 3\nsampling: {sample: 3}\nbudget: much\n")
    assert str(caught.value).count("r.yaml:") == 3


def test_an_override_into_a_single_value_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"--seed\.x reaches into a key that holds a single value"):
        load(tmp_path, GOOD + "seed: 3\n", "--seed.x", "1")
