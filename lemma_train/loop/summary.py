"""The end of a run: what the trained models gain over the base and over the control, and the report page.

Enters: the finished evaluations of a run. Leaves: `summary.json`, `summary.md` and `report.html`. It measures nothing:
the differences of one seed are those of `lemma compare`, the intervals over seeds are Student's t of them.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lemma_train.ablation.figures import mean_over_seeds
from lemma_train.evaluation.compare import Comparison, compare
from lemma_train.evaluation.finished_run import read_finished_run
from lemma_train.evaluation.report import write_report
from lemma_train.evaluation.report_text import escaped
from lemma_train.evaluation.result_values import at, number
from lemma_train.loop.steps import BASE, CONTROL, METHOD, Plan
from lemma_train.visible_text import visible
from lemma_train.whole_file import whole_file

JSON_FILE, TEXT_FILE, PAGE_FILE = "summary.json", "summary.md", "report.html"
_LOOKED_AT = 200  # answers, drawn evenly over benchmarks and outcomes, among which the example is looked for


def write_summary(plan: Plan) -> None:
    """Write the three files.

    Raises:
        InputError: an evaluation is missing or damaged, or the evaluations cannot be compared.
    """
    told = summary_of(plan)
    sentences = _sentences(told)
    runs = [plan.evaluation_folder(model) for model in plan.models]
    write_report(runs, plan.folder / PAGE_FILE, base=plan.evaluation_folder(BASE), notes=sentences)
    with whole_file(plan.folder / JSON_FILE) as out:
        out.write(json.dumps(told, indent=1).encode())
    with whole_file(plan.folder / TEXT_FILE) as out:
        out.write("".join(f"- {sentence}\n" for sentence in sentences).encode() + _quoted(told["example"]).encode())


def summary_of(plan: Plan) -> dict[str, Any]:
    """The figures of a run.

    Returns:
        `accuracy`: {model: share of right answers, the mean over benchmarks}. `repaired`: {model: [answers that mend
        their own error, answers]}. `against_base` and `against_control` (None without a control): for each seed the
        difference with its interval over questions, and `over_seeds`, their mean with Student's interval, where there
        are two; the base is one model, so against it the interval is that of the trained ones alone. `example`: the
        shortest answer found that mends its own error, with its question; None where there is none.
    """
    folders = {model: plan.evaluation_folder(model) for model in (BASE, *plan.models)}
    results = {model: read_finished_run(folder, needs_samples=False).results for model, folder in folders.items()}
    told: dict[str, Any] = {
        "accuracy": {model: number(at(found, "average", "accuracy")) for model, found in results.items()},
        "repaired": {model: _repaired(found) for model, found in results.items()},
    }
    pairs = {seed: (BASE, f"{METHOD}_seed-{seed}") for seed in plan.seeds}
    told["against_base"] = _differences(pairs, folders)
    told["against_control"] = None
    if plan.settings.control != "none":
        pairs = {seed: (f"{CONTROL}_seed-{seed}", f"{METHOD}_seed-{seed}") for seed in plan.seeds}
        told["against_control"] = _differences(pairs, folders)
    told["example"] = _example(folders[f"{METHOD}_seed-{plan.seeds[0]}"])
    return told


def _differences(pairs: Mapping[int, tuple[str, str]], folders: Mapping[str, Path]) -> dict[str, Any]:
    found = {seed: compare(folders[a], folders[b]) for seed, (a, b) in pairs.items()}
    told = {str(seed): _difference(one) for seed, one in found.items()}
    gains = [one.overall.difference for one in found.values() if one.overall.difference is not None]
    over = dict(zip(("difference", "low", "high"), mean_over_seeds(gains), strict=True)) if len(gains) > 1 else None
    return {"seeds": told, "over_seeds": over}


def _difference(found: Comparison) -> dict[str, Any]:
    overall = found.overall
    return {key: getattr(overall, key) for key in ("questions", "difference", "low", "high", "p")}


def _repaired(results: Mapping[str, Any]) -> list[int]:
    """Answers that state something wrong, doubt it and end right; and all answers."""
    card = at(results, "scorecard")
    return [int(number(at(card, "repaired", "k")) or 0), int(number(at(card, "reflects", "n")) or 0)]


def _example(folder: Path) -> dict[str, str] | None:
    drawn = read_finished_run(folder, draws=_LOOKED_AT).drawn
    repaired = [sample for sample in drawn if sample.get("outcome") == "repaired"]
    shortest = min(repaired, key=lambda sample: len(str(sample.get("response"))), default=None)
    return shortest and {key: str(shortest.get(key)) for key in ("question", "response")}


def _quoted(example: Mapping[str, str] | None) -> str:
    """The example as a block of Markdown."""
    if example is None:
        return ""
    text = visible(f"{example['question']}\n\n{example['response'].strip()}")
    lines = "".join(f"> {escaped(line)}".rstrip() + "\n" for line in text.splitlines())
    return f"\nAn answer that mends its own error:\n\n{lines}"


def _sentences(told: Mapping[str, Any]) -> list[str]:
    said: list[str] = []
    for key, against in (("against_base", "the base model"), ("against_control", "plain training on worked solutions")):
        if told[key] is not None:
            said += _sentence(told[key], against)
    for model, (repaired, answers) in told["repaired"].items():
        said.append(f"{model.replace('_', ' ')}: {repaired} of {answers} answers mend their own error.")
    return said


def _sentence(differences: Mapping[str, Any], against: str) -> list[str]:
    over, seeds = differences["over_seeds"], differences["seeds"]
    if over is not None and over["low"] is None:
        return [f"Against {against}: {_points(over['difference'])} points with each of {len(seeds)} seeds."]
    if over is not None:
        interval = f"{_points(over['low'])} to {_points(over['high'])}"
        return [
            f"Against {against}: {_points(over['difference'])} points, 95% interval over {len(seeds)} seeds "
            f"{interval}. It tells of the training's seed, not of other questions."
        ]
    one = next(iter(seeds.values()))
    if one["difference"] is None:
        return [f"Against {against}: no question could be graded."]
    interval = f"{_points(one['low'])} to {_points(one['high'])}"
    return [
        f"Against {against}: {_points(one['difference'])} points, 95% interval over {one['questions']} questions "
        f"{interval}, {_exact(one['p'])}. One seed: how much another seed would change is not known."
    ]


def _exact(p: float) -> str:
    """McNemar's exact p, which an interval over few changed answers may contradict."""
    return "exact p below 0.001" if p < 0.001 else f"exact p {p:.3f}"


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"
