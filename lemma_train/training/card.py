"""The model card of a finished run, in Markdown with the Hub's metadata block.

Enters: the recipe and the run's figures. Leaves: text. It claims nothing about quality: `card_results` adds what an
evaluation measured.
"""

from collections.abc import Mapping
from typing import Any

from lemma_train.template import Renderer
from lemma_train.training.recipe import Recipe

_SETTINGS = [
    "learning_rate",
    "lr_scheduler_type",
    "warmup_steps",
    "num_train_epochs",
    "max_steps",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "max_length",
    "error_span_weight",
    "seed",
]
LIMITS = "## Limits"
UNEVALUATED = "No evaluation result is claimed here."


def model_card(recipe: Recipe, renderer: Renderer, report: Mapping[str, Any], figures: Mapping[str, Any]) -> str:
    """The card's text.

    Args:
        report: the data report of `prepare`.
        figures: steps, train_loss, processes, global_batch and seconds of the run.
    """
    base = recipe["model_name_or_path"]
    name = recipe["run_name"] or recipe.output_dir.name
    adapter = bool(recipe["use_peft"])
    settings = "\n".join(f"| {key} | {recipe[key]} |" for key in _SETTINGS)
    loss = figures.get("train_loss")
    lines = [
        "---",
        "library_name: " + ("peft" if adapter else "transformers"),
        "pipeline_tag: text-generation",
        # The Hub takes names of models here, not folders of somebody's disk.
        *([] if base.count("/") != 1 or base.startswith((".", "/", "models/")) else [f"base_model: {base}"]),
        "tags: [lemma, sft, error-corrective-trajectories, math]",
        "---",
        "",
        f"# {name}",
        "",
        f"{'A LoRA adapter for' if adapter else 'A fine-tuning of'} `{base}` on solutions of mathematical problems, "
        "among them error-corrective trajectories (a wrong beginning, a reflection, a right solution) where the data "
        "holds them. The method is LEMMA ([arXiv 2503.17439](https://arxiv.org/abs/2503.17439)); trained with "
        "`lemma_train`.",
        "",
        "## Prompt",
        "",
        f"Template `{renderer.template}`, fingerprint `{renderer.fingerprint}`. The prompt is exactly",
        "",
        "```",
        renderer.prompt_text("{instruction}"),
        "```",
        "",
        "without a trailing space; the answer ends with the EOS token. Another prompt, or a second BOS, is another "
        "input than the model was trained on.",
        "",
        "## Data and training",
        "",
        f"{report['train_rows']} rows, {report['supervised_tokens']} supervised tokens. {figures['steps']} steps with "
        f"{figures['global_batch']} rows each on {figures['processes']} process(es) in {figures['seconds']:.0f} s"
        + (f"; mean training loss {loss:.4f}." if loss is not None else "."),
        "",
        "| key | value |",
        "| --- | --- |",
        settings,
        "",
        "`run.json` in this folder holds the whole recipe, the fingerprints, the versions and the hardware.",
        "",
        LIMITS,
        "",
        f"{UNEVALUATED} The model may state wrong results with confidence, and inherits the "
        "limits and the licence of its base model and its data.",
        "",
    ]
    return "\n".join(lines)
