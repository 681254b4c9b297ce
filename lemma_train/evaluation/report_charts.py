"""The pictures of a report, as SVG elements to stand inside an HTML page.

Enters: plain numbers and names. Leaves: SVG text whose colours are CSS variables (`--ink`, `--c0` and so on), so that
one picture serves a light and a dark page; without style attributes, which the page's content security policy forbids;
and the same bytes for the same numbers. Names are drawn as text and never read as markup. It counts nothing.
"""

import io
import re
import warnings
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

from lemma_train.evaluation.result_values import Proportion

SERIES = 8  # colours of runs in report_page.css; further runs begin again, with other marks
_MARKS = "osD^vPX*"
_BINS = 8  # of lengths: points that a line can still be followed through
_OUTCOMES = (("repaired", "good"), ("idle_doubt", "soft"), ("wrong_both", "dull"), ("spoiled", "bad"))
# Stand-ins that matplotlib accepts as colours; the page's variables take their place in the finished picture.
_VARIABLES = ("ink", "grid", "good", "soft", "dull", "bad", *(f"c{number}" for number in range(SERIES)))
_STAND_IN = {name: f"#fe01{number:02x}" for number, name in enumerate(_VARIABLES)}
_VARIABLE = {colour: f"var(--{name})" for name, colour in _STAND_IN.items()}
_SVG = "http://www.w3.org/2000/svg"
_LINK = "{http://www.w3.org/1999/xlink}href"


def accuracy_chart(runs: Sequence[tuple[str, Mapping[str, Proportion]]], benchmarks: Sequence[str]) -> str:
    """A point with its interval for each benchmark (rows) and run (colours)."""
    gap = min(0.16, 0.7 / len(runs))
    with _drawing(1.0 + len(benchmarks) * max(0.3, 0.13 * len(runs))) as (figure, axes):
        for number, (_, accuracies) in enumerate(runs):
            for row, benchmark in enumerate(benchmarks):
                share = accuracies.get(benchmark, Proportion())
                if share.value is None:
                    continue
                low, high = (share.value if edge is None else edge for edge in (share.low, share.high))
                place, colour = row + (number - (len(runs) - 1) / 2) * gap, _run_colour(number)
                axes.plot([100 * low, 100 * high], [place, place], color=colour, linewidth=1.6)
                axes.plot([100 * share.value], [place], _MARKS[number % len(_MARKS)], color=colour, markersize=5)
        axes.set_yticks(range(len(benchmarks)), map(_short, benchmarks))
        axes.set_ylim(len(benchmarks) - 0.5, -0.5)
        axes.set_xlim(0, 100)
        axes.set_xlabel("accuracy in %")
        axes.grid(axis="x", color=_STAND_IN["grid"], linewidth=0.6)
        return _finished(figure, "accuracy", "Accuracy of each run on each benchmark, with 95% intervals")


def outcomes_chart(runs: Sequence[tuple[str, Mapping[str, Proportion]]]) -> str:
    """One bar for each run: how its answers with a reflection ended, as shares of them."""
    with _drawing(0.8 + 0.4 * len(runs)) as (figure, axes):
        for row, (_, shares) in enumerate(runs):
            left = 0.0
            for outcome, colour in _OUTCOMES:
                width = 100 * (shares[outcome].value or 0.0) if outcome in shares else 0.0
                axes.barh(row, width, left=left, height=0.62, color=_STAND_IN[colour])
                if width >= 8:
                    axes.text(left + width / 2, row, f"{width:.0f}", ha="center", va="center", fontsize=9)
                left += width
        axes.set_yticks(range(len(runs)), [_short(name) for name, _ in runs])
        axes.set_ylim(len(runs) - 0.5, -0.5)
        axes.set_xlim(0, 100)
        axes.set_xlabel("share of decided reflections in %")
        return _finished(figure, "outcomes", "What became of answers in which the model reflects")


def error_types_chart(runs: Sequence[tuple[str, Mapping[str, int], int]]) -> str:
    """Bars for each error type (rows) and run (colours): in which share of its answers it was recognised.

    Args:
        runs: name, answers by error type, and how many answers there are in all.
    """
    sums = {name: sum(counts.get(name, 0) for _, counts, _ in runs) for _, held, _ in runs for name in held}
    names = sorted(sums, key=lambda name: (-sums[name], name))[:14]
    height = 0.8 / len(runs)
    with _drawing(0.9 + len(names) * max(0.28, 0.15 * len(runs))) as (figure, axes):
        for number, (_, counts, answers) in enumerate(runs):
            places = [row + (number - (len(runs) - 1) / 2) * height for row in range(len(names))]
            shares = [100 * counts.get(name, 0) / answers if answers else 0.0 for name in names]
            axes.barh(places, shares, height=height * 0.9, color=_run_colour(number))
        axes.set_yticks(range(len(names)), [_short(name.replace("_", " "), 34) for name in names])
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlabel("answers with such an error in %", loc="right")  # the names leave the axis little width
        return _finished(figure, "types", "Share of answers with an error of each type, by run")


def length_chart(runs: Sequence[tuple[str, Sequence[tuple[int, bool]]]]) -> str:
    """Lines: accuracy of answers by their length, in bins that hold about equally many answers."""
    with _drawing(2.6) as (figure, axes):
        for number, (_, answers) in enumerate(runs):
            middles, shares = length_bins(answers, _BINS)
            mark = _MARKS[number % len(_MARKS)]
            axes.plot(middles, shares, color=_run_colour(number), marker=mark, markersize=4, linewidth=1.4)
        axes.set_ylim(0, 102)
        axes.set_xlabel("tokens of the answer (middle of each bin)")
        axes.set_ylabel("right in %")
        axes.grid(color=_STAND_IN["grid"], linewidth=0.6)
        return _finished(figure, "length", "Share of right answers by length of the answer")


def length_bins(answers: Sequence[tuple[int, bool]], bins: int) -> tuple[list[int], list[float]]:
    """The middle length and the share of right answers, in %, of each bin.

    Answers of one length stay together: the many that were cut off at the limit must not be told apart.

    Example:
        >>> length_bins([(5, True)] * 10 + [(9, False)] * 15 + [(9, True)] * 5, bins=8)
        ([5, 9], [100.0, 25.0])
    """
    if not answers:
        return [], []
    ordered = sorted(answers)
    lengths = [length for length, _ in ordered]
    count = max(1, min(bins, len(ordered) // 10))
    starts = {bisect_left(lengths, lengths[len(ordered) * edge // count]) for edge in range(count)}
    parts = [ordered[low:high] for low, high in pairwise([*sorted(starts), len(ordered)])]
    middles = [part[len(part) // 2][0] for part in parts]
    return middles, [100 * sum(correct for _, correct in part) / len(part) for part in parts]


def loss_chart(runs: Sequence[tuple[str, Sequence[tuple[float, float]]]]) -> str:
    """Lines: training loss by step. A run without points keeps its colour and draws nothing."""
    with _drawing(2.6) as (figure, axes):
        for number, (_, points) in enumerate(runs):
            if points:
                axes.plot(*zip(*points, strict=True), color=_run_colour(number), linewidth=1.4)
        axes.set_xlabel("training step")
        axes.set_ylabel("loss")
        axes.grid(color=_STAND_IN["grid"], linewidth=0.6)
        return _finished(figure, "loss", "Training loss by step")


def _run_colour(number: int) -> str:
    return _STAND_IN[f"c{number % SERIES}"]


def _short(name: str, limit: int = 22) -> str:
    """A name that fits beside a picture, with both its ends: names of runs often differ in the last characters."""
    return name if len(name) <= limit else f"{name[: limit - 9]}\u2026{name[-8:]}"


@contextmanager
def _drawing(height: float) -> Iterator[tuple[Any, Any]]:
    """A figure as wide as a phone's page, in the page's colours. height: in inches."""
    import matplotlib
    from matplotlib.figure import Figure

    ink = _STAND_IN["ink"]
    settings: dict[Any, Any] = {
        "svg.fonttype": "none",  # text stays text: it takes the page's font and can be read aloud
        "svg.hashsalt": "lemma",
        "text.parse_math": False,
        "font.size": 11,
        **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), ink),
    }
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        # The page's font draws the letters; that matplotlib's own lacks some is of no account.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = Figure(figsize=(5, height), layout="constrained")
        axes = figure.subplots()
        axes.spines[["top", "right"]].set_visible(False)
        yield figure, axes


def _finished(figure: Any, prefix: str, description: str) -> str:
    stream = io.StringIO()
    figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    root = ElementTree.fromstring(text[text.index("<svg") :])
    for element in list(root.iter()):
        for child in list(element):
            if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"):
                element.remove(child)
        _style_to_attributes(element)
    _keep_ids_apart(root, prefix)
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    # What matplotlib says in the style element that was taken out above.
    root.attrib |= {"role": "img", "aria-label": description, "stroke-linejoin": "round", "stroke-linecap": "butt"}
    ElementTree.register_namespace("", _SVG)
    return ElementTree.tostring(root, encoding="unicode")


def _style_to_attributes(element: ElementTree.Element) -> None:
    for declaration in filter(None, (part.strip() for part in element.attrib.pop("style", "").split(";"))):
        key, _, value = (part.strip() for part in declaration.partition(":"))
        if key == "font":  # the short form is no attribute; the page gives the family
            size = re.search(r"[\d.]+px", value)
            key, value = "font-size", size.group() if size else "10px"
        element.set(key, _VARIABLE.get(value, value))


def _keep_ids_apart(root: ElementTree.Element, prefix: str) -> None:
    """Ids that something points to get a prefix, since several pictures share a page; the others go."""
    wanted = set(
        re.findall(r"url\(#([^)]+)\)", " ".join(v for element in root.iter() for v in element.attrib.values()))
    )
    wanted |= {element.attrib[_LINK].removeprefix("#") for element in root.iter() if _LINK in element.attrib}
    for element in root.iter():
        identity = element.attrib.pop("id", None)
        if identity in wanted:
            element.set("id", f"{prefix}-{identity}")
        if _LINK in element.attrib:
            element.set("href", f"#{prefix}-{element.attrib.pop(_LINK).removeprefix('#')}")
        for key, value in element.attrib.items():
            if value.startswith("url(#"):
                element.set(key, value.replace("url(#", f"url(#{prefix}-"))
