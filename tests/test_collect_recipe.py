"""Collection recipes: every fault is named with its mend, and what is typed is what is used."""

import json
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
        ("teacher: {engine: openai, model: m, adapter: x}", r"teacher\.adapter: a server applies no adapter"),
        ("student: {engine: offline, extra_body: {a: 1}}", r"student\.extra_body: it goes to servers only"),
        ("sampling: {sample: 3}", r"unknown key 'sampling\.sample'; did you mean sampling\.samples\?"),
        ("samples: 3", r"unknown key 'samples'; did you mean"),
        ("sampling: {samples: three}", r"sampling\.samples: 'three' should be a valid integer"),
        ("sampling: {samples: true}", r"sampling\.samples: True should be a valid integer"),
        ("sampling: {samples: '3'}", r"sampling\.samples: '3' should be a valid integer"),
        ("sampling: {samples: 0}", r"sampling\.samples: it must be above 0, it is 0"),
        ("injection: {types: unifrom}", r"injection\.types: 'unifrom' should be"),
        ("injection: {types: {calculation_error: -1}}", r"injection\.types: shares must not be negative"),
        (
            "assembly: {strategies: {fix: 1}}",
            r"assembly\.strategies: give the shares of fix_and.*'fix' is none",
        ),
        (
            "assembly: {strategies: {fix: 1}, origins: {student: 2}, references: -1}",
            r"(?s)assembly\.strategies: give.*assembly\.origins: the shares must.*assembly\.references: give a",
        ),
        ("assembly: {origins: {student: 0.5}}", r"assembly\.origins: the shares .* add up to 1"),
        ("assembly: {references: -1}", r"assembly\.references: give a share"),
        ("assembly: {near_duplicate_threshold: 2}", r"near_duplicate_threshold: it must be above 0 and at most 1"),
        ("sampling: {enabled: false}\ninjection: {enabled: false}", r"there would be no error to correct"),
        ("correction: {strategies: []}", r"correction\.strategies: it must name at least one"),
        ("budget: -3", r"budget: it must be above 0 or null"),
        ("teacher: {engine: openai}", r"teacher\.model is missing"),
        ("student: {engine: vlm}", r"student\.engine: 'vlm' should be 'openai', 'vllm', 'transformers' or 'offline'"),
        ("student: {engine: vllm}", r"student\.model is missing"),
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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 99999999999999999999", "seed: it must be a number of at most 18 digits"),
        ("budget: .inf", "budget: it must be a number of at most 18 digits"),
        ("attempts: 0x" + "f" * 8000, "attempts: it must be a number of at most 18 digits"),
        ("prompts: &a [*a]", "holds too many values, or values too deep"),
        ("analysis: {2024-01-01: 5}", r"analysis: the key datetime.date\(2024, 1, 1\) must be text"),
        ('currency: "a\\ud800"', r"currency: 'a\\ud800' holds half a character"),
        ("Seed: 5", "unknown key 'Seed'; did you mean seed?"),
        ("sampling: {Samples: 5}", "unknown key 'sampling.Samples'; did you mean sampling.samples?"),
        ("sampling: {samples: 10000000000}", "sampling.samples: it must be at most 100,000"),
        ("prompts: ~nobody-of-this-name/x", "prompts: '~nobody-of-this-name/x' can be no folder"),
        ('prompts: "a\\0b"', "can be no folder: embedded null byte"),
        (f"prompts: {'a' * 5000}", "can be no folder: .*File name too long"),
    ],
)
def test_what_yaml_can_say_and_nobody_can_mean_is_named(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        load(tmp_path, GOOD + text + "\n")


def test_aliases_cannot_make_a_recipe_without_end(tmp_path):
    lines = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}' if i else 'x'] * 10)}]" for i in range(9)]
    with pytest.raises(InputError, match="holds too many values"):
        load(tmp_path, GOOD + "\n".join(lines) + "\n")


@pytest.mark.parametrize("over", ["[" * 3000, "a." * 3000])
def test_an_override_nested_without_end_is_a_fault(tmp_path, over):
    with pytest.raises(InputError):
        load(tmp_path, GOOD, *(["--problems", over] if over[0] == "[" else [f"--{over}b", "1"]))


@pytest.mark.parametrize("url", ["http://a:99999/v1", "http://[::1/v1", "http://a\x07b/v1", "ftp://a/v1", "a:8000", ""])
def test_an_address_that_is_none_is_found_before_anything_is_sent(tmp_path, url):
    with pytest.raises(InputError, match=r"teacher.base_urls: .* is not an address"):
        load(tmp_path, GOOD, f"--teacher.base_urls=[{json.dumps(url)}]")


@pytest.mark.parametrize("url", ["http://u:S3CRET@a/v1", "http://a/v1?key=S3CRET"])
def test_a_secret_in_an_address_is_refused_and_not_repeated(tmp_path, url):
    with pytest.raises(InputError, match="keys belong into the environment") as caught:
        load(tmp_path, GOOD, "--teacher.base_urls", f"['{url}']")
    assert "S3CRET" not in str(caught.value)
