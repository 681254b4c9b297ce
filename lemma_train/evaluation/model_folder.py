"""What a model's folder says about how it wants to be asked: its base, its adapter, and the prompt it was trained with.

Enters: the settings of a recipe. Leaves: settings with base and adapter told apart, the renderer of its prompts, and
what of it disagrees with the folder. It loads a tokenizer and no model.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from lemma_train.collection.models import IN_PROCESS, open_renderer
from lemma_train.errors import InputError, first_line
from lemma_train.evaluation.settings import EvaluatedModel
from lemma_train.template import Renderer

RUN_FILE = "run.json"


def with_adapter_apart(model: EvaluatedModel) -> EvaluatedModel:
    """The settings, where `model` is the folder of a LoRA adapter, with its base as model and it as adapter.

    Raises:
        InputError: the adapter does not say what it was trained on.
    """
    config = Path(model.model).expanduser() / "adapter_config.json"
    if model.engine not in IN_PROCESS or model.adapter is not None or not config.is_file():
        return model
    base = _read(config).get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise InputError(
            f"model.model: {config} names no base model; name it in model.model and this in model.adapter."
        )
    tokenizer = model.tokenizer or (model.model if (config.parent / "tokenizer.json").is_file() else base)
    return replace(model, model=base, adapter=model.model, tokenizer=tokenizer)


def trained_template(model: EvaluatedModel) -> dict[str, Any] | None:
    """What `run.json` of the model or adapter says about the template that it was trained with, or None."""
    for name in (model.adapter, model.model, model.tokenizer):
        record = Path(name).expanduser() / RUN_FILE if name else None
        if record is not None and record.is_file():
            template = _read(record).get("template")
            return template if isinstance(template, dict) else None
    return None


def open_prompts(model: EvaluatedModel, other_template: str) -> Renderer:
    """The renderer of the model's prompts.

    Raises:
        InputError: there is no tokenizer, or the model was trained with another prompt and `other_template` refuses.
    """
    renderer = open_renderer(model, "model")
    if renderer is None:
        raise InputError(
            "model.tokenizer is missing: behind a server prompts travel as token ids, made with the model's own "
            "tokenizer; name its folder."
        )
    trained = trained_template(model)
    if trained and trained.get("fingerprint") != renderer.fingerprint and other_template == "refuse":
        if trained.get("template") == model.template:
            raise InputError(
                f"model.template: {model.model} was trained with this template as another tokenizer or an earlier "
                f"version rendered it ({trained.get('fingerprint')}, here {renderer.fingerprint}); set other_template: "
                "allow if that is meant, or train again."
            )
        raise InputError(
            f"model.template: {model.model} was trained with the template {trained.get('template')!r} "
            f"({trained.get('fingerprint')}), this evaluation would use {model.template!r} ({renderer.fingerprint}); "
            "set model.template to the former, or other_template: allow."
        )
    return renderer


def _read(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"model.model: {file} cannot be read: {first_line(error)}.") from error
    if not isinstance(values, dict):
        raise InputError(f"model.model: {file} holds no JSON object.")
    return values
