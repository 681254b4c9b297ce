"""What evaluations measured becomes part of a model's card: a table to read, and the Hub's metadata.

Enters: the README.md of a finished model, and `results.json` of evaluations. Leaves: the same file with both. It
measures nothing.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lemma_train.training.card import LIMITS, UNEVALUATED
from lemma_train.whole_file import whole_file

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

_EVALUATED = "What the evaluation above does not measure is not claimed."
_SECTION = re.compile(r"## Evaluation\n.*?(?=^## )", re.DOTALL | re.MULTILINE)
_HEAD = """| benchmark | questions | worked examples | accuracy | by the authors' rules | reflects | repair rate |
| --- | ---: | ---: | ---: | ---: | ---: | ---: |"""


def with_evaluations(card: Path, results: Mapping[str, Mapping[str, Any]]) -> None:
    """Put the results of evaluations into a card, in the place of those that it holds.

    Args:
        card: the README.md of a model folder; replaced in one step.
        results: the name of each evaluation -> its results.json.
    """
    from huggingface_hub import ModelCard, ModelCardData

    text = _SECTION.sub("", card.read_text(encoding="utf-8")).replace(UNEVALUATED, _EVALUATED)
    sections = [_section(name, result) for name, result in results.items()]
    text = text.replace(LIMITS, "\n".join(["## Evaluation\n", *sections, LIMITS]), 1)
    told = ModelCard(text)
    found = [one for result in results.values() for one in _metadata(result)]
    if found and isinstance(told.data, ModelCardData):
        title = re.search(r"^# (.+)$", told.text, re.MULTILINE)
        told.data.model_name = title[1].strip() if title else card.parent.name
        told.data.eval_results = found
    with whole_file(card, key=None) as out:
        out.write(str(told).encode())


def _section(name: str, result: Mapping[str, Any]) -> str:
    """One evaluation as Markdown."""
    lines = [
        f"`{name}`: {_draws(result)}, at most {result['decoding']['max_tokens']} new tokens, template "
        f"`{result['template']['template']}`, grader {result['grader_version']}. In %, with 95% intervals.",
        "",
        _HEAD,
    ]
    for benchmark, told in result["benchmarks"].items():
        shares = [told["metrics"]["accuracy"], told["authors"]["accuracy"]]
        shares += [told["scorecard"]["reflects"], told["scorecard"]["repair_rate"]]
        cells = [benchmark.replace("|", "\\|"), told["questions"], told["shots"], *map(_percent, shares)]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    if probe := result["probe"]:
        recovered, reflected = probe["recovered"], probe["reflected"]
        lines += [
            "",
            f"After a wrong beginning that was put into its mouth it ends right in {_percent(recovered)}% of "
            f"{recovered['n']} cases and reflects in {_percent(reflected)}%.",
        ]
    return "\n".join([*lines, ""])


def _metadata(result: Mapping[str, Any]) -> "list[EvalResult]":
    """The accuracies as the Hub's `model-index` takes them."""
    from huggingface_hub import EvalResult

    return [
        EvalResult(
            task_type="text-generation",
            dataset_type=benchmark,
            dataset_name=benchmark,
            dataset_args={"num_few_shot": told["shots"], "questions": told["questions"]},
            metric_type="accuracy",
            metric_name=f"pass@1, {_draws(result)}",
            metric_value=round(100 * told["metrics"]["accuracy"]["value"], 2),
        )
        for benchmark, told in result["benchmarks"].items()
        if told["metrics"]["accuracy"]["value"] is not None
    ]


def _draws(result: Mapping[str, Any]) -> str:
    decoding = result["decoding"]
    return (
        "greedy" if not decoding["temperature"] else f"{decoding['samples']} at temperature {decoding['temperature']}"
    )


def _percent(share: Mapping[str, Any]) -> str:
    """A proportion of results.json in %, with its interval.

    Example:
        >>> _percent({"value": 0.5, "low": 0.25, "high": 0.75})
        '50.0 (25.0-75.0)'
    """
    if share["value"] is None:
        return "-"
    interval = "" if share["low"] is None else f" ({100 * share['low']:.1f}-{100 * share['high']:.1f})"
    return f"{100 * share['value']:.1f}{interval}"
