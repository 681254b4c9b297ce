"""What an ablation leaves for people: a table, a plot and the best recipe.

Enters: the summary that `figures` made. Leaves: `ablation.json`, `ablation.md`, `ablation.png` and `best.yaml` in the
output folder. It measures nothing.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import yaml

from lemma_train.ablation.cells import Run
from lemma_train.whole_file import whole_file, write_faults_named

JSON_FILE, TABLE_FILE, PLOT_FILE, BEST_FILE = "ablation.json", "ablation.md", "ablation.png", "best.yaml"
_BEST, _OTHER, _SEED, _TEXT = "#2563a8", "#7a8794", "#b9c2cb", "#333333"


def write_results(folder: Path, recipe: Path, summary: Mapping[str, Any], runs: Sequence[Run]) -> str:
    """Write all four files; returns the table's text. `best.yaml` goes where no cell is best.

    Raises:
        InputError: a file cannot be written.
    """
    text = as_text(summary, recipe)
    with whole_file(folder / JSON_FILE) as out:
        out.write(json.dumps({"recipe": str(recipe), **summary}, indent=1, default=str).encode())
    with whole_file(folder / TABLE_FILE) as out:
        out.write(text.encode())
    with whole_file(folder / PLOT_FILE) as out:
        draw(out, summary)
    if summary["best"] is None:
        with write_faults_named(folder / BEST_FILE):
            (folder / BEST_FILE).unlink(missing_ok=True)
    else:
        with whole_file(folder / BEST_FILE) as out:
            out.write(_best_recipe(folder, recipe, summary, runs).encode())
    return text


def as_text(summary: Mapping[str, Any], recipe: Path) -> str:
    """The table in Markdown, its columns aligned to be read on a terminal, and what it does and does not say."""
    shares = summary["measure"] != "eval_loss"
    others = [name for name in _figure_names(summary) if name != summary["measure"]]
    head = ["cell", "seeds", f"{summary['measure']}{' in %' if shares else ''}", "95% interval", "to the baseline"]
    rows = [[*head, *(f"{name}{'' if name.endswith('loss') else ' in %'}" for name in others)]]
    for cell in summary["cells"]:
        change = cell["difference"]
        rows.append(
            [
                f"{cell['name']}{' (best)' if cell['name'] == summary['best'] else ''}",
                str(len(cell["seeds"])),
                _figure(cell["value"], shares),
                _ends(cell, shares) + (" of questions" if cell["interval"] == "questions" else ""),
                "baseline" if change is None else _change(change, shares),
                *(_figure(cell["figures"].get(name), not name.endswith("loss")) for name in others),
            ]
        )
    return "\n".join(
        [f"# Ablation {recipe}", "", *_aligned(rows), "", *(f"- {line}" for line in _remarks(summary)), ""]
    )


def draw(out: IO[bytes], summary: Mapping[str, Any]) -> None:
    """A line for each cell, as PNG: its mean with the interval, and a small mark for each seed."""
    from matplotlib.figure import Figure

    cells, measure = summary["cells"], summary["measure"]
    factor = 1 if measure == "eval_loss" else 100
    figure = Figure(figsize=(8, 1.5 + 0.36 * len(cells)), dpi=130, layout="constrained")
    axes = figure.subplots()
    for place, cell in enumerate(cells):
        colour = _BEST if cell["name"] == summary["best"] else _OTHER
        seeds = [at for run in summary["runs"] if run["cell"] == cell["name"] and (at := _of(run, measure)) is not None]
        if cell["low"] is not None:
            axes.plot([factor * cell["low"], factor * cell["high"]], [place, place], color=colour, linewidth=1.8)
        axes.plot([factor * at for at in seeds], [place] * len(seeds), "|", color=colour, markersize=11, alpha=0.6)
        if cell["value"] is not None:
            axes.plot([factor * cell["value"]], [place], "o", color=colour, markersize=6)
        else:
            axes.text(0.01, place, f"no {measure}", transform=axes.get_yaxis_transform(), va="center", color=_OTHER)
    axes.set_yticks(range(len(cells)), [_short(cell["name"]) for cell in cells])
    axes.set_ylim(len(cells) - 0.5, -0.5)
    axes.set_xlabel(f"{measure}{' (nats a token, lower is better)' if factor == 1 else ' in %'}")
    axes.set_title(_caption(summary), loc="left", fontsize=9, color=_TEXT)
    axes.grid(axis="x", alpha=0.25)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(colors=_TEXT, left=False)
    figure.savefig(out, format="png", metadata={"Software": None})


def _best_recipe(folder: Path, recipe: Path, summary: Mapping[str, Any], runs: Sequence[Run]) -> str:
    run = next(run for run in runs if run.cell.name == summary["best"])
    cell = next(cell for cell in summary["cells"] if cell["name"] == summary["best"])
    values = {**run.recipe, "output_dir": f"{folder}/best"}
    shares = summary["measure"] != "eval_loss"
    figure = f"{_figure(cell['value'], shares)}{' %' if shares else ''}"
    head = [
        f"accelerate launch lemma_train/sft.py {folder}/{BEST_FILE}",
        "",
        f"The cell {cell['name']} of the ablation {recipe}: {summary['measure']} {figure} over {len(cell['seeds'])} "
        "seed(s),",
        f"the best of {len(summary['cells'])} cells.",
        f"Not told apart from it: {', '.join(summary['as_good']) or 'none'}.",
    ]
    text = "".join(f"# {line}".rstrip() + "\n" for line in head)
    return text + "\n" + yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def _remarks(summary: Mapping[str, Any]) -> list[str]:
    remarks = []
    best = summary["best"]
    if best is None:
        remarks.append(f"No cell has {summary['measure']} of every seed yet, so none is called best.")
    elif summary["as_good"]:
        remarks.append(f"Best by its mean: {best}. Not told apart from it: {', '.join(summary['as_good'])}.")
    else:
        remarks.append(f"Best by its mean: {best}.")
    if best is not None:
        remarks.append(
            "The best of many looks better than it is: it was chosen on these questions. Measure it again on others."
        )
    if any(cell["interval"] == "seeds" for cell in summary["cells"]):
        remarks.append("Intervals over seeds: Student's t. They tell of the training's seed, not of other questions.")
    if any(len(cell["seeds"]) > 1 and cell["interval"] is None for cell in summary["cells"]):
        remarks.append("No interval stands where all seeds gave the same figure: so few cannot tell how it varies.")
    if all(len(cell["seeds"]) < 2 for cell in summary["cells"]):
        remarks.append("One seed a cell: how much a seed alone changes is not known. Give several in the key seeds.")
    for run in summary["runs"]:
        if run["state"] == "failed":
            remarks.append(f"FAILED: {run['name']}: {run['message']} (log: {run['folder']}/train.log)")
    if summary["missing"]:
        remarks.append(f"Not done yet: {', '.join(summary['missing'])}.")
    return remarks


def _figure_names(summary: Mapping[str, Any]) -> list[str]:
    """Figures that any cell has, the general ones first; rates that rest on others are left to ablation.json."""
    names = dict.fromkeys(name for cell in summary["cells"] for name, at in cell["figures"].items() if at is not None)
    shown = [name for name in names if name in ("accuracy", "eval_loss", "train_loss")]
    single = sum(name.endswith(".accuracy") for name in names) == 1
    for name in names:
        if name.endswith((".reflects", ".repair_rate")) or (name.endswith(".accuracy") and not single):
            shown.append(name)
    return shown


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [
        [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        for row in [cells[0], rule, *cells[1:]]
    ]
    return [f"| {' | '.join(line)} |" for line in lines]


def _figure(value: float | None, share: bool) -> str:
    return "" if value is None else f"{100 * value:.1f}" if share else f"{value:.4f}"


def _ends(told: Mapping[str, Any], share: bool) -> str:
    return "" if told["low"] is None else f"[{_figure(told['low'], share)}, {_figure(told['high'], share)}]"


def _change(change: Mapping[str, Any], share: bool) -> str:
    if change["value"] is None:
        return ""
    sign = "+" if change["value"] >= 0 else ""
    return f"{sign}{_figure(change['value'], share)} {_ends(change, share)}".rstrip()


def _caption(summary: Mapping[str, Any]) -> str:
    kinds = {cell["interval"] for cell in summary["cells"]}
    said = [f"over {kind}" for kind in ("seeds", "questions") if kind in kinds]
    lines = f"95% interval {' or, of one seed, '.join(said)} (lines), " if said else ""
    return f"Mean of each cell, {lines}single seeds (ticks); best mean in blue"


def _of(run: Mapping[str, Any], measure: str) -> float | None:
    return (run["figures"] or {}).get(measure)


def _short(name: str, limit: int = 44) -> str:
    return name if len(name) <= limit else f"{name[: limit - 13]}\u2026{name[-12:]}"
