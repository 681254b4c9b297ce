"""An evaluation recipe: a YAML file and command-line overrides become `EvaluateSettings`.

Enters: a path and `--key value` arguments. Leaves: typed settings, or one message with every fault in it.
"""

from collections.abc import Sequence
from pathlib import Path

from lemma_train.collection.recipe import without_effect
from lemma_train.evaluation.settings import NO_EFFECT, EvaluatedModel, EvaluateSettings
from lemma_train.llm.vllm_arguments import misplaced
from lemma_train.settings_file import folder_fault, read_settings


def load_evaluate_recipe(path: str | Path, overrides: Sequence[str] = ()) -> EvaluateSettings:
    """Read an evaluation recipe and apply overrides.

    Raises:
        InputError: the file or a key is at fault; every fault is named at once.

    Example:
        >>> load_evaluate_recipe("recipes/evaluate/paper.yaml", ["--samples", "1"]).seed  # doctest: +SKIP
        0
    """
    return read_settings(EvaluateSettings, path, overrides, _senseless, "docs/evaluation_keys.md")


def _senseless(settings: EvaluateSettings) -> list[str]:
    """Values of the right type that cannot be meant."""
    model, faults = settings.model, []
    if not settings.output_dir:
        faults.append("the key output_dir is missing; responses and results are kept there.")
    if not settings.benchmarks and not settings.probe.path:
        faults.append("the key benchmarks is missing; it lists what to evaluate on.")
    if model.engine == "offline":
        faults.append("model.engine: the offline rules are no model; use transformers, vllm, or openai for a server.")
    if not model.model:
        faults.append("model.model is missing; it names the model's folder, or the model on its server.")
    for key in NO_EFFECT:
        if getattr(model, key) != getattr(EvaluatedModel(), key):
            faults.append(f"model.{key}: it has no effect on an evaluated model; leave it out.")
    for role, asked in (("model", model), ("teacher", settings.teacher)):
        for key in ("max_tokens", "concurrency", "timeout_seconds", "max_tries", "batch_size", "top_p"):
            if not getattr(asked, key) > 0:
                faults.append(f"{role}.{key}: it must be above 0, it is {getattr(asked, key)}.")
        faults += misplaced(asked.engine_args, role) + without_effect(asked, role)
        if asked.temperature < 0:
            faults.append(f"{role}.temperature: it must not be negative, it is {asked.temperature}.")
    faults += folder_fault("output_dir", settings.output_dir)
    for key, named in (
        ("model.model", model.model),
        ("model.adapter", model.adapter),
        ("model.tokenizer", model.tokenizer),
        ("prompts", settings.prompts),
    ):
        if named and named.startswith("~"):  # whoever says so means a folder; any other text may be a name
            faults += folder_fault(key, named)
    if settings.teacher.engine != "offline" and not settings.teacher.model:
        faults.append("teacher.model is missing; it names the model that names the types of errors.")
    if not 0 <= settings.max_rejected_share <= 1:
        faults.append(f"max_rejected_share: it must be between 0 and 1, it is {settings.max_rejected_share}.")
    if settings.attempts < 1:
        faults.append(f"attempts: it must be at least 1, it is {settings.attempts}.")
    if not 1 <= settings.samples <= 10_000:
        faults.append(f"samples: it must be at least 1 and at most 10,000, it is {settings.samples}.")
    if settings.samples > 1 and not model.temperature:
        faults.append("samples: greedy answers are all the same; set model.temperature, such as 0.7, to draw several.")
    if settings.probe.limit is not None and settings.probe.limit < 1:
        faults.append(f"probe.limit: it must be above 0 or null, it is {settings.probe.limit}.")
    return faults
