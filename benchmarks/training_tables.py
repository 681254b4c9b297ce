"""What the runs of benchmarks/training_speed.py come to: medians over the rounds, ratios to ours, and tables of them.

Enters: each run's figures. Leaves: one summary as JSON has it, and its tables for a terminal or for a page.
"""

import statistics
from typing import Any

from training_runs import MEASURES, TRAINERS

MEDIANS = (
    "supervised_per_second",
    "tokens_per_second",
    "mean_supervised_per_second",
    "padding_share",
    "start_seconds",
    "first_step_seconds",
    "whole_seconds",
    "train_loss",
    "held_out_loss",
    "peak_rss_gib",
    "supervised_tokens",
    "tokens",
)
# What has to be the same in all runs of a summary.
_SAME = (
    *("rows", "lora", "processes", "max_steps", "per_device_train_batch_size", "gradient_accumulation_steps"),
    *("learning_rate", "model_name_or_path"),
)

Table = list[list[str]]  # the head first


def summarise(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over the rounds. A ratio is the median of the rounds' own: of ours over a peer, or over ours without a
    measure, which is what that measure gains.

    runs: figures with `round` (a number) and `name` (`ours`, a peer, or either with `-` and a name of its own).

    Raises:
        SystemExit: some runs had other rows, steps or processors than others.
    """
    for key in _SAME:
        _check_same(key, {f"{run['round']}-{run['name']}": run["told"].get(key) for run in runs})
    for key in ("processor", "threads"):
        _check_same(key, {f"{run['round']}-{run['name']}": run["environment"].get(key) for run in runs})
    named: dict[str, list[dict[str, Any]]] = {}
    for run in sorted(runs, key=lambda run: run["round"]):
        named.setdefault(run["name"], []).append(run)
    ours = {run["round"]: run for run in named.get("ours", ())}
    order = sorted(named, key=lambda name: (TRAINERS.index(name) if name in TRAINERS else len(TRAINERS), name))
    return {"trainers": {name: _entry(name, named[name], ours) for name in order}, "runs": runs}


def _check_same(key: str, values: dict[str, Any]) -> None:
    held = {str(value): run for run, value in values.items()}
    if len(held) > 1:
        listed = ", ".join(f"{run} {value}" for value, run in held.items())
        raise SystemExit(f"These runs cannot be compared: {key} differs ({listed}). Name another OUT for one of them.")


def _entry(name: str, own: list[dict[str, Any]], ours: dict[int, dict[str, Any]]) -> dict[str, Any]:
    entry: dict[str, Any] = {}
    for key in MEDIANS:
        values = [run[key] for run in own if run[key] is not None]  # not every run is put to the held-out rows
        entry[key] = round(statistics.median(values), 5) if values else None
    entry |= {"rounds": len(own), "told": own[0]["told"], "environment": own[0]["environment"]}
    pairs = [(ours[run["round"]], run) for run in own if run["round"] in ours]
    if pairs and name != "ours":
        ratios = [mine["supervised_per_second"] / run["supervised_per_second"] for mine, run in pairs]
        means = [mine["mean_supervised_per_second"] / run["mean_supervised_per_second"] for mine, run in pairs]
        wholes = [run["whole_seconds"] / mine["whole_seconds"] for mine, run in pairs]
        entry["gain" if name.startswith("ours-") else "ours_is_faster_by"] = round(statistics.median(ratios), 3)
        entry["in_each_round"] = [round(ratio, 3) for ratio in ratios]
        entry["by_the_mean"] = round(statistics.median(means), 3)
        entry["by_the_whole_run"] = round(statistics.median(wholes), 3)
    return entry


def trainers_table(summary: dict[str, Any]) -> Table:
    """Each trainer's figures, and the held-out loss of the model that no one has trained."""
    head = "trainer, supervised tokens/s, all tokens/s, padding, first step, whole run, training loss, held-out loss, "
    table = [(head + "peak memory, ours is faster by").split(", ")]
    for name, entry in summary["trainers"].items():
        table.append(
            [
                title(name, entry["environment"]),
                f"{entry['supervised_per_second']:.1f}",
                f"{entry['tokens_per_second']:.1f}",
                f"{entry['padding_share']:.1%}",
                f"{entry['first_step_seconds']:.1f} s",
                f"{entry['whole_seconds']:.0f} s",
                f"{entry['train_loss']:.4f}",
                "" if entry["held_out_loss"] is None else f"{entry['held_out_loss']:.4f}",
                f"{entry['peak_rss_gib']:.1f} GiB",
                _ratio(entry),
            ]
        )
    if "base_held_out_loss" in summary:
        table.append(["untrained", *[""] * 6, f"{summary['base_held_out_loss']:.4f}", "", ""])
    return table


def measures_table(summary: dict[str, Any]) -> Table:
    """What each measure gains, and the figures of the runs without it."""
    head = "key, what it does, gain, gain by the mean, first step without, padding without, training loss without"
    table = [head.split(", ")]
    rows = [("all of them", "", "ours")]
    rows += [(f"`{measure.key}`", measure.does, f"ours-{measure.name}") for measure in MEASURES]
    for key, does, name in rows:
        if (entry := summary["trainers"].get(name)) is None:
            continue
        table.append(
            [
                key,
                does,
                _ratio(entry),
                f"{entry['by_the_mean']:.2f}" if "by_the_mean" in entry else "",
                f"{entry['first_step_seconds']:.1f} s",
                f"{entry['padding_share']:.1%}",
                f"{entry['train_loss']:.4f}",
            ]
        )
    return table


def title(name: str, environment: dict[str, Any]) -> str:
    """A trainer as a page names it, with the peers' releases; what follows its name stands behind."""
    trainer, _, variant = name.partition("-")
    release = {package: str(environment.get(package, "")).removesuffix(".0") for package in ("trl", "llamafactory")}
    titles = {"llamafactory": f"LLaMA-Factory {release['llamafactory']}", "trl": f"`trl sft` {release['trl']}"}
    return f"{titles.get(trainer, trainer)}{variant and ', ' + variant}"


def where(summary: dict[str, Any]) -> str:
    """On which processor and with which releases, in a sentence."""
    found: dict[str, None] = {}
    for name, entry in summary["trainers"].items():
        told = entry["environment"]
        releases = f"torch {told['torch']} and transformers {told['transformers']}"
        found[f"{title(name.partition('-')[0], told)} with {releases}"] = None
    told = next(iter(summary["trainers"].values()))
    environment, processes = told["environment"], told["told"]["processes"]
    threads = f"{processes} x {environment['threads']} threads on {environment['processor']}"
    return f"{threads}; {', '.join(found)}."


def _ratio(entry: dict[str, Any]) -> str:
    ratio = entry.get("gain", entry.get("ours_is_faster_by"))
    if ratio is None:
        return ""
    each = f" ({', '.join(f'{one:.2f}' for one in entry['in_each_round'])})" if len(entry["in_each_round"]) > 1 else ""
    return f"{ratio:.2f}{each}"


def markdown(table: Table, texts: int = 1) -> str:
    """texts: so many columns at the left hold words; figures stand at the right of theirs."""
    rule = ["---"] * texts + ["---:"] * (len(table[0]) - texts)
    lines = ["|" + "".join(f" {cell} |" if cell else " |" for cell in row) for row in [table[0], rule, *table[1:]]]
    return "\n".join(lines)


def plain(table: Table, texts: int = 1) -> str:
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    lines = []
    for row in table:
        cells = [cell.ljust(widths[i]) if i < texts else cell.rjust(widths[i]) for i, cell in enumerate(row)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
