"""`lemma report`: finished evaluations side by side, as one self-contained HTML page and a Markdown file beside it.

Enters: folders of `lemma evaluate`. Leaves: OUT.html with tables, pictures and samples to read, and OUT.md with the
tables. The page loads nothing from anywhere, and a content security policy forbids it to; what models wrote is shown
as text, whatever it holds. It grades nothing and computes no interval.
"""

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lemma_train.errors import InputError
from lemma_train.evaluation import report_charts, report_correction, report_tables
from lemma_train.evaluation.finished_run import FinishedRun, read_finished_run
from lemma_train.evaluation.marked_text import marked, one_line, shortened
from lemma_train.evaluation.published import published_for
from lemma_train.evaluation.report_cells import Table
from lemma_train.evaluation.report_conditions import cautions, settings
from lemma_train.evaluation.report_text import markdown
from lemma_train.evaluation.result_values import at, number, proportion
from lemma_train.whole_file import whole_file, write_faults_named

SAMPLES_PER_RUN = 200
_QUESTION = 2_000  # characters of a question that are shown
_OUTCOMES = {
    "repaired": "repaired",
    "idle_doubt": "idle doubt",
    "wrong_both": "wrong both times",
    "spoiled": "spoiled",
}
_VERDICTS = {"true": "\u2713 right", "false": "\u2717 wrong", "null": "not gradable"}
_PLACES = (
    *(("accuracy", "Accuracy"), ("charts", "Pictures"), ("correction", "Self-correction"), ("rules", "Grading")),
    *(("answers", "Answers"), ("samples", "Samples"), ("settings", "How it was measured")),
)


# Tables that may be missing.
_OPTIONAL = ("correction", "by_benchmark", "types", "probe", "rules", "disagreements", "levels")


def write_report(
    runs: list[Path], out: Path, base: Path | None = None, seed: int = 0, notes: Sequence[str] = ()
) -> None:
    """Write the page and, with the suffix .md in place of its own, the Markdown file.

    Args:
        runs: folders with `results.json` and `samples.jsonl`.
        out: the HTML file to write.
        base: the folder of an evaluation that the others are compared with, such as the base model's; shown first.
        seed: of the draw of the samples to read.
        notes: sentences to stand above everything else.

    Published figures are added where one of the evaluated models, or the model that it was trained from, is a base
    model that the paper reports on.

    Raises:
        InputError: there is no run, a folder holds no evaluation, or the files cannot be written.
    """
    folders = [*([base] if base else []), *(run for run in runs if base is None or run.resolve() != base.resolve())]
    if not folders:
        raise InputError("No run was named; give at least one output_dir of `lemma evaluate`.")
    if out.suffix == ".md":
        raise InputError(f"{out}: the page needs another suffix than .md, which the text beside it gets; try .html.")
    read = [read_finished_run(folder, SAMPLES_PER_RUN, seed, needs_samples=False) for folder in folders]
    _name_apart(read)
    published = published_for(name for run in read for name in run.model_names)
    first, names = (read[0] if base else None), report_tables.benchmark_names(read)
    tables = {
        "accuracy": report_tables.headline(read, first, published, seed),
        "correction": report_correction.self_correction(read),
        "by_benchmark": report_correction.self_correction(read, names) if len(names) > 1 else None,
        "types": report_correction.error_types(read),
        "probe": report_correction.probe(read, first, seed),
        "rules": report_tables.rules(read),
        "disagreements": report_tables.disagreements(read),
        "answers": report_tables.answers(read),
        "levels": report_tables.levels(read),
        "settings": settings(read),
    }
    held = {name: table for name, table in tables.items() if table is not None}
    title = "Evaluation of " + (read[0].name if len(read) == 1 else f"{len(read)} models")
    said = [*notes, *cautions(read, published is not None)]
    text = markdown(title, said, held.values(), out.name)
    _write({out: _page(title, said, read, held, first is not None), out.with_suffix(".md"): text})


def _name_apart(runs: Sequence[FinishedRun]) -> None:
    """Runs that share a name get their number behind it."""
    shared = Counter(run.name for run in runs)
    for position, run in enumerate(runs, start=1):
        if shared[run.name] > 1:
            run.name = f"{run.name} ({position})"


def _page(
    title: str, said: Sequence[str], runs: Sequence[FinishedRun], tables: Mapping[str, Table], based: bool
) -> str:
    import jinja2

    here = Path(__file__).parent
    style, script = ((here / f"report_page.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    samples = [_sample(run, sample) for run in runs for sample in run.drawn]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(here), autoescape=True, undefined=jinja2.StrictUndefined, auto_reload=False
    )
    held = {*tables, "charts", *(["samples"] if samples else [])}
    held |= {"correction"} if held & {"types", "probe"} else set()
    return environment.get_template("report_page.jinja").render(
        title=title,
        policy=f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; img-src data:; "
        "base-uri 'none'; form-action 'none'",
        style=style,
        script=script,
        places=[(place, label) for place, label in _PLACES if place in held],
        cautions=said,
        tables={name: tables.get(name) for name in (*tables, *_OPTIONAL)},
        runs=runs,
        charts=_charts(runs, based),
        disagreeing=_disagreeing(runs),
        samples=samples,
        filters=_filters(samples),
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _charts(runs: Sequence[FinishedRun], based: bool) -> list[dict[str, Any]]:
    """The pictures that there are numbers for."""
    names = report_tables.benchmark_names(runs)
    accuracies = [(run.name, {one_line(name): run.accuracy(name) for name in run.benchmarks}) for run in runs]
    charts = []
    colours = [(f"c{number % report_charts.SERIES}", run.name) for number, run in enumerate(runs)]
    coloured = colours if len(runs) > 1 else []

    def add(title: str, svg: str, legend: Sequence[tuple[str, str]] = ()) -> None:
        charts.append({"title": title, "svg": svg, "legend": legend})

    if names:
        shown = [one_line(name) for name in names]
        add("Accuracy with 95% intervals", report_charts.accuracy_chart(accuracies, shown), coloured)
    cards = [(run.name, at(run.results, "scorecard")) for run in runs]
    outcomes = [(name, {key: proportion(at(card, key)) for key in _OUTCOMES}) for name, card in cards]
    outcomes = [(name, shares) for name, shares in outcomes if any(s.value is not None for s in shares.values())]
    if outcomes:
        legend = list(zip(("good", "soft", "dull", "bad"), _OUTCOMES.values(), strict=True))
        add("What becomes of answers that reflect", report_charts.outcomes_chart(outcomes), legend)
    if any(run.error_types for run in runs):
        types = [(run.name, run.error_types, run.samples or 0) for run in runs]
        title = "Error types before and after" if based and len(runs) > 1 else "Error types"
        add(title, report_charts.error_types_chart(types), coloured)
    if any(run.lengths for run in runs):
        lengths = [(run.name, run.lengths) for run in runs]
        add("Right answers by length", report_charts.length_chart(lengths), coloured)
    curves = [(run.name, _curve(run.results.get("loss_curve"))) for run in runs]
    if any(points for _, points in curves):
        add(
            "Training loss",
            report_charts.loss_chart(curves),
            [pair for pair, (_, points) in zip(coloured, curves, strict=False) if points],
        )
    return charts


def _curve(points: Any) -> list[tuple[float, float]]:
    held = points if isinstance(points, list) else []
    pairs = [point for point in held if isinstance(point, list) and len(point) == 2]
    numbers = [(number(step), number(loss)) for step, loss in pairs]
    return [(step, loss) for step, loss in numbers if step is not None and loss is not None]


def _disagreeing(runs: Sequence[FinishedRun]) -> list[tuple[str, list[str]]]:
    listed = []
    for run in runs:
        for name, entry in run.benchmarks.items():
            ids = at(entry, "authors", "disagreements")
            if isinstance(ids, list) and ids:
                listed.append((f"{run.name}, {one_line(name)}", [one_line(identity) for identity in ids]))
    return listed


def _sample(run: FinishedRun, sample: Mapping[str, Any]) -> dict[str, Any]:
    """A sample as the page shows it; all text is made visible here and escaped by the template."""
    correct = json.dumps(sample.get("correct")) if isinstance(sample.get("correct"), bool) else "null"
    outcome = str(sample.get("outcome"))
    span = sample.get("reflection_span")
    whole = isinstance(span, list) and len(span) == 2 and all(type(edge) is int for edge in span)
    facts = [
        ("reference", sample.get("reference")),
        ("extracted", sample.get("extracted")),
        ("answer before the reflection", sample.get("answer_before")),
        ("judged by", sample.get("decided_by")),
        ("error type", sample.get("error_type")),
        ("level", sample.get("level")),
        ("subject", sample.get("subject")),
        ("tokens", sample.get("completion_tokens")),
        ("ended by", sample.get("finish_reason")),
        ("graded by", sample.get("grade_reason")),
    ]
    return {
        "run": run.name,
        "id": one_line(sample["id"]),
        "benchmark": one_line(sample["benchmark"]),
        "correct": correct,
        "outcome": outcome if outcome in _OUTCOMES else "none",
        "outcome_text": _OUTCOMES.get(outcome, ""),
        "type": one_line(sample.get("error_type") or ""),
        "verdict": _VERDICTS[correct],
        "opening": one_line(sample["question"], 90),
        "question": shortened(sample["question"], "plain", _QUESTION),
        "response": marked(sample["response"], span if whole else None, sample.get("correct_before"), outcome),
        "facts": " \u00b7 ".join(f"{name}: {one_line(value, 200)}" for name, value in facts if value is not None),
    }


def _filters(samples: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """(field, label, [(value, text), ...]) for every field in which the samples differ."""
    texts = {"outcome": {**_OUTCOMES, "none": "no reflection"}, "correct": _VERDICTS}
    labels = {"run": "Model", "benchmark": "Benchmark", "outcome": "Self-correction", "correct": "Verdict"}
    filters = []
    for name, label in {**labels, "type": "Error type"}.items():
        values = list(dict.fromkeys(sample[name] for sample in samples if sample[name]))
        known = texts.get(name, {})
        values.sort(key=lambda value: list(known).index(value) if value in known else 0)
        if len({sample[name] for sample in samples}) > 1:
            filters.append((name, label, [(value, known.get(value, value.replace("_", " "))) for value in values]))
    return filters


def _write(files: Mapping[Path, str]) -> None:
    """Each file is whole or as it was before."""
    for file, text in files.items():
        mend = "Name another place with -o."
        with write_faults_named(file, key=None, mend=mend):
            file.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(file, key=None, mend=mend) as page:
            page.write(text.encode())
