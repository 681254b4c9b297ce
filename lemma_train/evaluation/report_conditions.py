"""Under which conditions the runs of a report were measured, and where they differ.

Enters: runs. Leaves: a table of their settings, and sentences on what to read with care. It judges no result.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from lemma_train.evaluation.benchmarks import BENCHMARKS
from lemma_train.evaluation.finished_run import FinishedRun
from lemma_train.evaluation.marked_text import one_line
from lemma_train.evaluation.pairing import same_questions
from lemma_train.evaluation.report_cells import NONE, Cell, Row, Table, count
from lemma_train.evaluation.report_tables import benchmark_names
from lemma_train.evaluation.result_values import at

# label -> where the value stands in results.json
_PLACES = {
    "model": ("model",),
    "engine": ("engine",),
    "template": ("template", "template"),
    "template fingerprint": ("template_fingerprint",),
    "grader version": ("grader_version",),
    "scorecard version": ("scorecard_version",),
    **{key.replace("_", " "): ("decoding", key) for key in ("temperature", "top_p", "max_tokens", "samples")},
    **{key: ("decoding", key) for key in ("stop", "seed")},
    "dtype": ("dtype",),
    "further": ("decoding", "further"),
    "lemma_train": ("version",),
}
_COUNTS = {"seconds": ("seconds",), "tokens per second": ("tokens_per_second",)}
_SAME = {"template_fingerprint": "prompt template", "grader_version": "version of the grader", "decoding": "decoding"}
_SAME |= {"dtype": "precision", "scorecard_version": "the rules of self-correction"}
_SAME |= {"error_types_by": "who named the error types"}


def settings(runs: Sequence[FinishedRun]) -> Table:
    """How each run was done: a column for each."""
    table = Table("How it was measured", "", [Cell(""), *(Cell(run.name) for run in runs)])
    for label, place in _PLACES.items():
        table.rows.append(Row([Cell(label), *(Cell(_fact(at(run.results, *place))) for run in runs)]))
    for label, place in _COUNTS.items():
        table.rows.append(Row([Cell(label), *(Cell(count(at(run.results, *place))) for run in runs)]))
    table.rows.append(Row([Cell("folder"), *(Cell(_fact(str(run.folder))) for run in runs)]))
    return table


def cautions(runs: Sequence[FinishedRun], published: bool = False) -> list[str]:
    """Sentences on what keeps the runs from being compared number by number, and on what is missing.

    Args:
        published: whether published figures stand beside the runs' own.
    """
    said = [
        f"The runs differ in {name}." for key, name in _SAME.items() if _differ(run.results.get(key) for run in runs)
    ]
    apart: dict[str, list[str]] = {}
    for name in benchmark_names(runs):
        entries = [run.benchmarks[name] for run in runs if name in run.benchmarks]
        asked = [run.questions[name] for run in runs if run.questions.get(name)]
        if _differ(entry.get("questions") for entry in entries):
            apart.setdefault("answered different numbers of questions of", []).append(one_line(name))
        elif not all(same_questions(asked[0], other) for other in asked[1:]):
            apart.setdefault("answered different questions of", []).append(one_line(name))
        if _differ((entry.get("shots"), entry.get("prompt_fingerprint")) for entry in entries):
            apart.setdefault("were prompted differently on", []).append(one_line(name))
    said += [f"The runs {what} {', '.join(names)}." for what, names in apart.items()]
    if _differ(sorted(run.benchmarks) for run in runs):
        said.append("The averages are over different benchmarks.")
    if _differ(sorted(run.probed) for run in runs if run.probed is not None):
        said.append("The runs were probed with different wrong beginnings.")
    if parts := _parts(runs):
        beside = "; published figures are over all of them" if published else ""
        said.append(f"Only a part of the questions was answered: {', '.join(parts)}{beside}.")
    for run in runs:
        if run.samples is None:
            said.append(f"{run.name}: there is no samples.jsonl, so that its answers are not shown.")
    return said


def _parts(runs: Sequence[FinishedRun]) -> list[str]:
    """The benchmarks of which some run answered fewer questions than there are."""
    parts = []
    for name in benchmark_names(runs):
        held = {count(at(run.benchmarks, name, "questions")) for run in runs if name in run.benchmarks}
        if name in BENCHMARKS and held != {f"{BENCHMARKS[name].rows:,}"}:
            parts.append(f"{' or '.join(sorted(held))} of {BENCHMARKS[name].rows:,} of {name}")
    return parts


def _differ(values: Iterable[Any]) -> bool:
    return len({json.dumps(value, sort_keys=True) for value in values}) > 1


def _fact(value: Any) -> str:
    if value is None:
        return NONE
    return one_line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), 200)
