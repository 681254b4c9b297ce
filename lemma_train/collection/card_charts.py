"""The two pictures of a data card: error types as bars side by side, and the stages as a funnel.

Enters: plain counts. Leaves: PNG files. It counts nothing.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_SET, _STUDENT, _ASIDE, _TEXT = "#4477aa", "#ccbb44", "#dddddd", "#333333"
_BAR_HEIGHT = 0.36


def draw_error_types(path: Path, measured: Mapping[str, int], in_set: Mapping[str, int]) -> None:
    """Shares of each error type among the student's errors (left out where none were measured) and in the set."""
    names = sorted({*measured, *in_set}, key=lambda name: (-in_set.get(name, 0), -measured.get(name, 0), name))
    series = [("Training set", in_set, _SET), ("Student's errors", measured, _STUDENT)]
    series = [entry for entry in series if sum(entry[1].values())]
    figure, axes = _axes(height=1.3 + 0.32 * len(names) * len(series))
    for number, (label, counts, colour) in enumerate(series):
        total = sum(counts.values())
        shares = [100 * counts.get(name, 0) / total for name in names]
        places = [place + (number - (len(series) - 1) / 2) * _BAR_HEIGHT for place in range(len(names))]
        bars = axes.barh(places, shares, height=_BAR_HEIGHT, color=colour, label=f"{label} ({total:,})")
        axes.bar_label(bars, [f"{share:.1f}" for share in shares], padding=3, fontsize=8, color=_TEXT)
    axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    axes.set_xlabel("share of the errors in %")
    axes.margins(x=0.1)
    figure.legend(frameon=False, loc="outside upper right", ncols=2)
    _finish(figure, axes, path)


def draw_funnel(path: Path, stages: Sequence[Mapping[str, Any]]) -> None:
    """One bar for each stage, as long as the number of items that entered it; the coloured part was kept."""
    figure, axes = _axes(height=1.3 + 0.42 * len(stages))
    places = range(len(stages))
    kept, entered = [stage["kept"] for stage in stages], [stage["entered"] for stage in stages]
    aside = [whole - part for whole, part in zip(entered, kept, strict=True)]
    axes.barh(places, kept, height=0.7, color=_SET, label="kept")
    bars = axes.barh(places, aside, left=kept, height=0.7, color=_ASIDE, label="set aside")
    axes.bar_label(
        bars,
        [f"{part:,} of {whole:,}" for part, whole in zip(kept, entered, strict=True)],
        padding=4,
        fontsize=8,
        color=_TEXT,
    )
    axes.set_yticks(places, [stage["stage"] for stage in stages])
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_xlabel("items (questions, answers or trajectories)")
    axes.margins(x=0.2)
    figure.legend(frameon=False, loc="outside upper right", ncols=2)
    _finish(figure, axes, path)


def _axes(height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, height), dpi=120, layout="constrained")
    return figure, figure.subplots()


def _finish(figure: Any, axes: Any, path: Path) -> None:
    axes.invert_yaxis()
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(colors=_TEXT, left=False)
    figure.savefig(path, metadata={"Software": None})
