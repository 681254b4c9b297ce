"""The data report: what went into a training set, in numbers, in one picture, and in one row shown with its mask.

Enters: the tally of the linter and the prepared rows. Leaves: a dict of plain JSON values, `report.json` and
`lengths.png` beside the rows, and the text that a terminal shows. It judges nothing and changes no row.
"""

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lemma_train.template import IGNORED, Renderer
from lemma_train.training.lint import DUPLICATE, Tally
from lemma_train.visible_text import visible

if TYPE_CHECKING:
    from datasets import Dataset

PERCENTILES = (50, 90, 95, 99)
_EXAMPLE_SEARCH = 1000  # rows looked at for one whose mask has something to show
_BAR, _LINE, _TEXT = "#4477aa", "#bb5566", "#333333"


def build(
    tally: Tally,
    train: "Dataset",
    evaluation: "Dataset | None",
    renderer: Renderer,
    supervised_tokens: int,
    spans_marked: bool,
) -> dict[str, Any]:
    """Count what came in, what was left out and what the loss will see.

    Args:
        supervised_tokens: of all training rows.
        spans_marked: some rows may have a part of their output masked or weighted, which the example should show.

    Returns:
        rows_in = kept + bad + duplicates; rejected: {reason: rows}, which sums to bad; train_rows and held_out_rows,
        as drawn (weights may repeat or leave out rows); lengths: {min, mean, max, p50, ...} in tokens of the training
        rows; tokens and supervised_tokens in them; example: {id, segments of [text, weight], weight 0 being masked}.
    """
    lengths = np.asarray(train["length"][:])
    ends = {"min": int(lengths.min()), "mean": round(float(lengths.mean()), 1), "max": int(lengths.max())}
    percentiles = {f"p{p}": int(np.percentile(lengths, p, method="higher")) for p in PERCENTILES}
    return {
        "rows_in": tally.rows_in,
        "kept": tally.rows_in - sum(tally.reasons.values()),
        "rejected": {reason: count for reason, count in tally.reasons.most_common() if reason != DUPLICATE},
        "bad": tally.bad,
        "duplicates": tally.reasons[DUPLICATE],
        "train_rows": len(train),
        "held_out_rows": len(evaluation) if evaluation is not None else 0,
        "lengths": {**ends, **percentiles},
        "tokens": int(lengths.sum()),
        "supervised_tokens": supervised_tokens,
        "example": _example(train, renderer, _EXAMPLE_SEARCH if spans_marked else 1),
    }


def text(report: dict[str, Any]) -> str:
    """The report for a terminal, one fact a line; the example stands below, masked text as [[text]].

    Signs of a row that could steer the terminal are spelled out.
    """
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in report["rejected"].items())
    lengths = ", ".join(f"{name} {value:,}" for name, value in report["lengths"].items())
    share = report["supervised_tokens"] / report["tokens"]
    shown = "".join(
        f"[[{piece}]]" if weight == 0 else piece if weight == 1 else f"{{{{{piece}}}}}x{weight:g}"
        for piece, weight in ((visible(part), weight) for part, weight in report["example"]["segments"])
    )
    return "\n".join(
        [
            f"rows in            {report['rows_in']:,}",
            f"kept               {report['kept']:,}",
            f"rejected           {report['bad']:,}" + (f" ({reasons})" if reasons else ""),
            f"duplicates         {report['duplicates']:,}",
            f"to train on        {report['train_rows']:,} ({report['held_out_rows']:,} held out)",
            f"tokens a row       {lengths}",
            f"supervised tokens  {report['supervised_tokens']:,} of {report['tokens']:,} ({share:.0%})",
            f"row {visible(str(report['example']['id']))}, [[masked]] and supervised:",
            *(f"    {line}" for line in shown.split("\n")),
        ]
    )


def write(report: dict[str, Any], lengths: Sequence[int], folder: Path) -> None:
    """Write `report.json` and `lengths.png`, a histogram of the rows' token counts, into `folder`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.6), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    bins = min(60, max(10, len(set(lengths))))
    axes.hist(np.asarray(lengths), bins=bins, color=_BAR, edgecolor="white", linewidth=0.4)
    for label, key, style in (("median", "p50", "-"), ("95%", "p95", "--")):
        value = report["lengths"][key]
        axes.axvline(value, color=_LINE, linestyle=style, linewidth=1.4, label=f"{label}: {value:,} tokens")
    axes.set(xlabel="tokens a row, prompt and EOS included", ylabel="rows")
    axes.set_title(f"Lengths of {len(lengths):,} training rows", loc="left", color=_TEXT, fontsize=11)
    axes.legend(frameon=False, labelcolor=_TEXT)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(folder / "lengths.png")
    (folder / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _example(train: "Dataset", renderer: Renderer, search: int) -> dict[str, Any]:
    """The first row of which the mask or the weights mark part of the output; else the first row."""
    prompt_end = renderer.prompt_text("\0").rpartition("\0")[2]
    for row in (train[i] for i in range(min(len(train), search))):
        segments = _segments(row, renderer)
        if len(segments) > 2 or not segments[0][0].endswith(prompt_end):  # a masked start continues the prompt
            return {"id": row["id"], "segments": segments}
    return {"id": train[0]["id"], "segments": _segments(train[0], renderer)}


def _segments(row: dict[str, Any], renderer: Renderer) -> list[list[Any]]:
    weights = row.get("loss_weights") or [1.0] * len(row["labels"])
    weights = [0.0 if label == IGNORED else round(w, 6) for label, w in zip(row["labels"], weights, strict=True)]
    segments = []
    for weight, run in itertools.groupby(zip(row["input_ids"], weights, strict=True), key=lambda token: token[1]):
        ids = [token for token, _ in run]
        segments.append([renderer.tokenizer.decode(ids, clean_up_tokenization_spaces=False), weight])
    return segments
