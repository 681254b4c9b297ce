"""A collection recipe: a YAML file and command-line overrides become `CollectSettings`, once, at the edge.

Enters: a path and `--key value` arguments, where a dotted key reaches into a block: `--teacher.model gpt-4o`. Leaves:
typed settings, or one message with every fault in it. It opens no model and reads no question.
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lemma_train.collection.mixing import Shares
from lemma_train.collection.settings import CollectSettings, ModelSettings
from lemma_train.errors import InputError
from lemma_train.llm.endpoint import address
from lemma_train.llm.vllm_arguments import misplaced
from lemma_train.settings_file import folder_fault, read_settings

_POSITIVE = (
    *("attempts", "sampling.samples", "injection.k_max", "filters.max_characters"),
    *(
        f"{role}.{key}"
        for role in ("student", "teacher")
        for key in ("max_tokens", "concurrency", "timeout_seconds", "max_tries", "batch_size", "top_p")
    ),
)
_POSITIVE_OR_NULL = (
    *("budget", "analysis.per_question", "assembly.rows", "assembly.max_per_question"),
    *(f"{role}.{key}" for role in ("student", "teacher") for key in ("requests_per_minute", "tokens_per_minute")),
)
_NOT_NEGATIVE = (
    *("injection.per_question", "filters.min_characters"),
    *(f"{role}.{key}" for role in ("student", "teacher") for key in ("temperature", "outage_minutes")),
    *(f"{role}.prices.{key}" for role in ("student", "teacher") for key in ("input", "output", "cached_input")),
)
_AT_MOST = {
    **dict.fromkeys(("sampling.samples", "injection.per_question", "injection.k_max"), 100_000),
    **dict.fromkeys(("student.top_p", "teacher.top_p", "assembly.decontaminate_overlap"), 1),
}


def load_collect_recipe(path: str | Path, overrides: Sequence[str] = ()) -> CollectSettings:
    """Read a collection recipe and apply overrides.

    Raises:
        InputError: the file cannot be read, a key is unknown (the nearest known one is named), a value has the wrong
            type or makes no sense, or a required key is missing; every fault is named at once.

    Example:
        >>> load_collect_recipe("recipes/collect/offline_demo.yaml", ["--sampling.samples", "2"])   # doctest: +SKIP
    """
    return read_settings(CollectSettings, path, overrides, _senseless, "docs/collection_keys.md")


def without_effect(settings: ModelSettings, role: str) -> list[str]:
    """Keys that the engine would not heed, and that would be believed to have been: one sentence each."""
    faults = []
    if settings.adapter and settings.engine not in ("transformers", "vllm"):
        faults.append(
            f"{role}.adapter: a server applies no adapter of a recipe; serve it, and write its name there into "
            f"{role}.model."
        )
    if settings.extra_body and settings.engine != "openai":
        faults.append(f"{role}.extra_body: it goes to servers only, not to engine {settings.engine}; leave it out.")
    return faults


def _senseless(settings: CollectSettings) -> list[str]:
    """Values of the right type that cannot be meant."""

    def value(key: str) -> Any:
        return functools.reduce(getattr, key.split("."), settings)

    faults = [f"{key}: it must be above 0, it is {value(key)}." for key in _POSITIVE if not value(key) > 0]
    faults += [
        f"{key}: it must be at most {most:,}, it is {value(key)}."
        for key, most in _AT_MOST.items()
        if value(key) > most
    ]
    faults += [
        f"{key}: it must be above 0 or null, it is {value(key)}."
        for key in _POSITIVE_OR_NULL
        if value(key) is not None and not value(key) > 0
    ]
    faults += [f"{key}: it must not be negative, it is {value(key)}." for key in _NOT_NEGATIVE if (value(key) or 0) < 0]
    types, mix = settings.injection.types, settings.assembly
    if isinstance(types, dict) and (not all(share >= 0 for share in types.values()) or not sum(types.values())):
        faults.append(f"injection.types: shares must not be negative, nor all 0; they are {types}.")
    try:
        Shares(mix.rows, mix.strategies, mix.origins, mix.references, mix.right_samples)
    except InputError as error:
        faults += [f"assembly.{fault}" for fault in str(error).split("\n")]
    if not settings.problems:
        faults.append("the key problems is missing; it lists where the questions come from.")
    if not settings.output_dir:
        faults.append("the key output_dir is missing; everything that is collected is kept there.")
    if not settings.sampling.enabled and not settings.injection.enabled:
        faults.append("sampling.enabled and injection.enabled are both false: there would be no error to correct.")
    if not settings.correction.strategies:
        faults.append("correction.strategies: it must name at least one strategy.")
    if settings.injection.allocation == "failure_rate" and not settings.sampling.enabled:
        faults.append("injection.allocation: failure_rate needs the student's samples; set sampling.enabled: true.")
    for role in ("student", "teacher") if settings.sampling.enabled else ("teacher",):
        if getattr(settings, role).engine != "offline" and not getattr(settings, role).model:
            faults.append(f"{role}.model is missing; it names the model that the engine is to use.")
    for role in ("student", "teacher"):
        faults += misplaced(getattr(settings, role).engine_args, role) + without_effect(getattr(settings, role), role)
        for url in getattr(settings, role).base_urls:
            try:
                address(url)  # here already, because the recipe is written to disk before a server is asked
            except InputError as error:
                faults.append(f"{role}.{error}")
    for key in ("output_dir", "prompts"):
        faults += folder_fault(key, value(key) or "")
    threshold = mix.near_duplicate_threshold
    if threshold is not None and not 0 < threshold <= 1:
        faults.append(
            f"assembly.near_duplicate_threshold: it must be above 0 and at most 1, or null; it is {threshold}."
        )
    if not 0 <= settings.student.mistake_share <= 1:
        faults.append(f"student.mistake_share: it must be between 0 and 1, it is {settings.student.mistake_share}.")
    return faults
