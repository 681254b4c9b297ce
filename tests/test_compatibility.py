"""Every combination that cannot work is refused with its mend, and those that work are not."""

import json

import pytest

from lemma_train.errors import InputError
from lemma_train.training.compatibility import check_recipe
from lemma_train.training.recipe import load_recipe

DEEPSPEED = {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_CONFIG_FILE": "none"}
PEFT = {"use_peft": True}
SPLIT = {"ACCELERATE_USE_PARALLELISM_CONFIG": "true"}


@pytest.fixture
def recipe(tmp_path):
    """A recipe from keywords; `deepspeed` may be a ZeRO stage, for which a configuration is written."""

    def make(**keys):
        stage = keys.get("deepspeed")
        if isinstance(stage, int):
            zero = {"stage": stage} | ({"stage3_gather_16bit_weights_on_model_save": True} if stage == 3 else {})
            keys["deepspeed"] = str(tmp_path / f"zero{stage}.json")
            (tmp_path / f"zero{stage}.json").write_text(json.dumps({"zero_optimization": zero}))
        path = tmp_path / "r.yaml"
        base = {"model_name_or_path": "m", "train_files": "a.jsonl", "output_dir": "out"}
        path.write_text(json.dumps(base | keys))  # JSON is YAML
        return load_recipe(path)

    return make


CONFLICTS = {
    "lora keys without use_peft": ({"lora_r": 8, "use_dora": True}, {}, "lora_r, use_dora would have no effect"),
    "4-bit full fine-tuning": ({"load_in_4bit": True}, {}, "add use_peft: true"),
    "4-bit and 8-bit": (PEFT | {"load_in_4bit": True, "load_in_8bit": True}, {}, "exclude each other; keep one"),
    "8-bit under ZeRO-3": (PEFT | {"load_in_8bit": True, "deepspeed": 3}, {}, "8-bit weights cannot be partitioned"),
    "QLoRA under ZeRO-3, storage not set": (
        PEFT | {"load_in_4bit": True, "dtype": "bfloat16", "deepspeed": 3},
        {},
        "bnb_4bit_quant_storage",
    ),
    "QLoRA under the launcher's ZeRO-3": (
        PEFT | {"load_in_4bit": True, "dtype": "bfloat16"},
        DEEPSPEED | {"ACCELERATE_DEEPSPEED_ZERO_STAGE": "3"},
        "bnb_4bit_quant_storage",
    ),
    "DoRA under ZeRO-3": (PEFT | {"use_dora": True, "deepspeed": 3}, {}, "DoRA"),
    "bf16 and fp16": ({"bf16": True, "fp16": True}, {}, "bf16 and fp16 exclude each other"),
    "bf16 weights without master copy": ({"dtype": "bfloat16"}, {}, "set dtype: float32"),
    "automatic dtype without master copy": ({"dtype": "auto"}, {}, "set dtype: float32"),
    "null as dtype without master copy": ({"dtype": None}, {}, "set dtype: float32"),
    "QLoRA under ZeRO-3, no dtype": (
        PEFT | {"load_in_4bit": True, "dtype": None, "deepspeed": 3},
        {},
        "bnb_4bit_quant_storage",
    ),
    "hidden dtype as JSON": ({"model_init_kwargs": '{"dtype": "bfloat16"}'}, {}, "must not hold dtype"),
    "model arguments that are no JSON": ({"model_init_kwargs": "{dtype"}, {}, "is not JSON"),
    "model arguments that are a list": ({"model_init_kwargs": "[1]"}, {}, "is no mapping of arguments"),
    "span weight beyond 32 bits": ({"error_span_weight": 1e5}, {}, "must be 0, or from 0.001 to 1000"),
    "span weight that would round to nothing": ({"error_span_weight": 1e-6}, {}, "must be 0, or from 0.001 to 1000"),
    "negative span weight": ({"error_span_weight": -0.1}, {}, "error_span_weight: -0.1 must be 0, or from 0.001 to"),
    "span weight that is no number": ({"error_span_weight": "nan"}, {}, "error_span_weight: nan must be"),
    "packing with unknown attention": ({"packing": True, "attn_implementation": "paged"}, {}, "keeps rows apart"),
    "padding-free with unknown attention": ({"padding_free": True, "attn_implementation": "x"}, {}, "keeps rows apart"),
    "packing that cuts rows": ({"packing": True, "packing_strategy": "wrapped"}, {}, "use packing_strategy: bfd"),
    "packing that splits rows": ({"packing": True, "packing_strategy": "bfd_split"}, {}, "use packing_strategy: bfd"),
    "weights lost in packing": ({"packing": True, "error_span_weight": 0.5}, {}, "drop the weights"),
    "weights lost without padding": ({"padding_free": True, "error_span_weight": 0.5}, {}, "drop the weights"),
    "weights with another loss": ({"loss_type": "dft", "error_span_weight": 0.5}, {}, "loss_type: nll"),
    "weights with smoothing": ({"label_smoothing_factor": 0.1, "error_span_weight": 2.0}, {}, "label smoothing"),
    "packing without length": ({"packing": True, "max_length": None}, {}, "packing fills sequences up to max_length"),
    "negative batch": ({"per_device_train_batch_size": -1}, {}, "per_device_train_batch_size: -1 must be at least 1"),
    "no accumulation": ({"gradient_accumulation_steps": 0}, {}, "gradient_accumulation_steps: 0 must be at least 1"),
    "no steps": ({"max_steps": 0}, {}, "max_steps: 0 must be at least 1, or -1"),
    "infinite rate": ({"learning_rate": "inf"}, {}, "learning_rate: inf must be a number above 0"),
    "negative seed": ({"seed": -1}, {}, "seed: -1 must be between"),
    "idle adapter key": ({"lora_task_type": "CAUSAL_LM"}, {}, "no effect without use_peft: true"),
    "idle quantisation key": ({"bnb_4bit_quant_type": "nf4"}, {}, "no effect without load_in_4bit: true"),
    "hidden dtype": ({"model_init_kwargs": {"dtype": "bfloat16"}}, {}, "model_init_kwargs must not hold dtype"),
    "two names, two values": (
        {"activation_checkpointing": True, "gradient_checkpointing": False},
        {},
        "gradient_checkpointing is the old name",
    ),
    "kept attention without checkpointing": (
        {"activation_checkpointing": False, "activation_checkpointing_kwargs": {"selective": True}},
        {},
        "selective needs activation_checkpointing: true",
    ),
    "choices without checkpointing": (
        {"activation_checkpointing": False, "activation_checkpointing_kwargs": {"every_n_layers": 2}},
        {},
        "activation_checkpointing_kwargs would have no effect",
    ),
    "kept attention in the older way": (
        {"activation_checkpointing_kwargs": {"selective": True, "use_reentrant": True}},
        {},
        "selective does not work with use_reentrant: true",
    ),
    "kept attention of adapters under ZeRO-3": (
        PEFT | {"deepspeed": 3, "activation_checkpointing_kwargs": {"selective": True}},
        {},
        "selective does not work with use_reentrant: true",
    ),
    "inputs of layers to host memory on CPUs": (
        {"use_cpu": True, "activation_checkpointing_kwargs": {"offload": True}},
        {},
        "drop offload",
    ),
    "choices that are no mapping": ({"activation_checkpointing_kwargs": "selective"}, {}, "it must be a mapping"),
    "DeepSpeed key on CPUs": ({"use_cpu": True, "deepspeed": 3}, {}, "DeepSpeed on CPUs"),
    "all rows held out": ({"eval_fraction": 1.0}, {}, "eval_fraction: 1.0 must be in [0, 1)"),
    "negative held-out share": ({"eval_fraction": -0.1}, {}, "eval_fraction: -0.1 must be in [0, 1)"),
    "bad share above one": ({"max_bad_share": 1.5}, {}, "max_bad_share: 1.5 must be in [0, 1]"),
    "bad share that is no number": ({"max_bad_share": "nan"}, {}, "max_bad_share: nan must be"),
    "evaluation without rows": ({"eval_strategy": "steps"}, {}, "set eval_files or eval_fraction"),
    "DeepSpeed and FSDP from the launcher": ({"deepspeed": 2}, {"ACCELERATE_USE_FSDP": "true"}, "FSDP exclude"),
    "a context split over processes": ({}, SPLIT | {"PARALLELISM_CONFIG_CP_SIZE": "2"}, "parallelism_config_cp_size"),
    "tensors split over processes": ({}, SPLIT | {"PARALLELISM_CONFIG_TP_SIZE": "2"}, "its own rows"),
    "DeepSpeed and FSDP in the recipe": ({"deepspeed": 2, "fsdp": "full_shard"}, {}, "FSDP exclude"),
    "two DeepSpeed configurations": (
        {"deepspeed": 2},
        DEEPSPEED | {"ACCELERATE_DEEPSPEED_CONFIG_FILE": "other.json"},
        "(other.json) differ",
    ),
    "DeepSpeed on CPUs by the key": ({"deepspeed": 3}, {"ACCELERATE_USE_CPU": "true"}, "cpu_zero3.yaml"),
    "DeepSpeed on CPUs by use_cpu": ({"deepspeed": 3, "use_cpu": True}, {}, "cpu_zero3.yaml"),
    "only the model while resuming": ({"save_only_model": True}, {}, "set resume: never"),
    "ZeRO-3 that cannot write the model": (
        {"deepspeed": {"zero_optimization": {"stage": 3}}},
        {},
        "stage3_gather_16bit_weights_on_model_save",
    ),
    "no checkpoint to keep": ({"save_total_limit": 0}, {}, "save_total_limit must be at least 1"),
    "compiled layers with ZeRO-3": ({"compile_layers": True, "deepspeed": 3}, {}, "compile_layers"),
    "compiled layers with FSDP": ({"compile_layers": True}, {"ACCELERATE_USE_FSDP": "true"}, "compile_layers"),
}


@pytest.mark.parametrize("name", CONFLICTS)
def test_conflict_is_refused_with_its_mend(recipe, name):
    keys, environ, expected = CONFLICTS[name]
    made = recipe(**keys)
    with pytest.raises(InputError) as caught:
        check_recipe(made, environ)
    lines = str(caught.value).splitlines()
    assert len([line for line in lines if expected in line]) == 1
    assert all(line.startswith(f"{made.path}: ") for line in lines)


def test_conflicts_are_listed_together(recipe):
    with pytest.raises(InputError) as caught:
        check_recipe(recipe(save_only_model=True, packing=True, packing_strategy="wrapped", max_bad_share=2.0), {})
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize(
    ("keys", "environ"),
    [
        ({}, {}),
        ({"deepspeed": 3, "dtype": "bfloat16"}, {}),
        ({"deepspeed": 2}, {}),
        (PEFT | {"lora_r": 8, "dtype": "bfloat16"}, {}),
        (PEFT | {"use_dora": True, "deepspeed": 2}, {}),
        (PEFT | {"load_in_4bit": True, "deepspeed": 2}, {}),
        (PEFT | {"load_in_4bit": True, "deepspeed": 3, "dtype": "bfloat16", "bnb_4bit_quant_storage": "bfloat16"}, {}),
        ({"packing": True}, {}),
        (PEFT | {"compile_layers": True}, {}),
        ({"packing": True, "attn_implementation": "kernels-community/flash-attn2"}, {}),
        ({"packing": True, "error_span_weight": 0.0}, {}),
        ({"error_span_weight": 0.5}, {}),
        ({"save_only_model": True, "resume": "never"}, {}),
        ({}, SPLIT | {"PARALLELISM_CONFIG_DP_SHARD_SIZE": "4", "PARALLELISM_CONFIG_CP_SIZE": "1"}),
        ({"eval_strategy": "epoch", "eval_fraction": 0.1}, {}),
        ({"eval_strategy": "epoch", "eval_files": "b.jsonl"}, {}),
        ({"use_cpu": True}, DEEPSPEED | {"ACCELERATE_DEEPSPEED_ZERO_STAGE": "3", "ACCELERATE_USE_CPU": "true"}),
    ],
)
def test_combination_that_works_is_let_through(recipe, keys, environ):
    check_recipe(recipe(**keys), environ)


def test_same_deepspeed_file_in_recipe_and_launcher_is_no_conflict(recipe):
    made = recipe(deepspeed=2)
    check_recipe(made, DEEPSPEED | {"ACCELERATE_DEEPSPEED_CONFIG_FILE": made["deepspeed"]})


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "does not exist"),
        ("{", "is not readable JSON"),
        ("[]", "must hold one JSON object"),
        ('{"zero_optimization": {"stage": "auto"}}', "stage must be 0 to 3"),
    ],
)
def test_bad_deepspeed_file_is_named(recipe, tmp_path, content, expected):
    if content is not None:
        (tmp_path / "ds.json").write_text(content)
    with pytest.raises(InputError, match=expected):
        check_recipe(recipe(deepspeed=str(tmp_path / "ds.json")), {})
