"""A name of a model that means a folder is told from one on the Hub before anything waits for the Hub."""

import pytest

from lemma_train.collection.models import open_model
from lemma_train.collection.settings import ModelSettings
from lemma_train.errors import InputError
from lemma_train.model_names import missing_folder


@pytest.mark.parametrize(
    "name", ["gpt2", "meta-llama/Meta-Llama-3-8B", "here/model", "here/deep/model/", "~/here/model"]
)
def test_names_on_the_hub_and_folders_that_are_here_are_left_alone(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "here" / "model").mkdir(parents=True)
    (tmp_path / "here" / "deep" / "model").mkdir(parents=True)
    assert missing_folder(name) is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("/nowhere/model", "there is no folder /nowhere/model."),
        ("~nobody-here/model", "there is no folder ~nobody-here/model."),
        ("./model", "there is no folder ./model (paths are taken from the current folder)."),
        ("outputs/run/final", "there is no folder outputs/run/final (paths are taken from the current folder)."),
        ("models/llama", "there is no folder models/llama (paths are taken from the current folder)."),
        ("/" + "x" * 5000, f"there is no folder /{'x' * 5000}."),
        (
            "models/smollm2-135m/",
            "there is no folder models/smollm2-135m here; in the checkout "
            "`python scripts/get_smollm2.py models/smollm2-135m` makes it.",
        ),
        (
            "https://huggingface.co/org/model",
            "https://huggingface.co/org/model is an address; give the model's name on the Hub, OWNER/MODEL.",
        ),
    ],
)
def test_a_folder_that_is_not_here_is_told_with_its_mend(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert missing_folder(name) == message


@pytest.mark.parametrize("engine", ["transformers", "vllm"])
def test_no_engine_waits_for_the_hub_where_a_folder_is_meant(engine):
    with pytest.raises(InputError, match=r"^teacher\.model: there is no folder /nowhere/model\.$"):
        open_model(ModelSettings(engine=engine, model="/nowhere/model"), "teacher", print)
