"""What does preparing cost against the number of rows and against their length? Run by hand:

    python benchmarks/preparing_scaling.py OUT [--rows 5000 20000 88904] [--tokens 160 320 637 1280 2560]

Measures `lemma prepare` and the bare tokenizer as benchmarks/preparing.py does, once for each number of rows at 637
tokens and once for each length at 10,000 rows. Writes OUT/scaling.json and OUT/preparing_scaling.png. OUT keeps every
measurement: a call goes on where an earlier one stopped.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import preparing

USUAL_TOKENS, USUAL_ROWS = 637.0, 10_000
OURS, BARE, MEMORY, TEXT = "#4477aa", "#bb5566", "#228833", "#333333"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", type=int, nargs="+", default=[5_000, 20_000, 88_904])
    parser.add_argument("--tokens", type=float, nargs="+", default=[160, 320, 637, 1280, 2560])
    parser.add_argument("--model", type=Path, default=preparing.ROOT / "models" / "smollm2-135m")
    options = parser.parse_args()
    points = {
        "rows": [point(options, rows, USUAL_TOKENS) for rows in options.rows],
        "tokens": [point(options, USUAL_ROWS, tokens) for tokens in options.tokens],
    }
    (options.out / "scaling.json").write_text(json.dumps(points, indent=1) + "\n", encoding="utf-8")
    draw(points, options.out / "preparing_scaling.png")
    print("| rows | tokens a row | seconds | bare | beside bare | peak memory |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    for found in [*points["rows"], *points["tokens"]]:
        print(
            f"| {found['rows']:,} | {found['tokens']:.0f} | {found['seconds']:.1f} | {found['bare']:.1f} "
            f"| {found['seconds'] / found['bare']:.2f} | {found['peak_gib']:.2f} GiB |"
        )


def point(options: argparse.Namespace, rows: int, tokens: float) -> dict[str, Any]:
    folder = options.out / f"{rows}-rows-{tokens:.0f}-tokens"
    folder.mkdir(parents=True, exist_ok=True)
    told = {}
    for subject in ("bare", "ours"):
        file = folder / f"{subject}.json"
        if not file.exists():
            job = argparse.Namespace(out=folder, rows=rows, tokens=tokens, model=options.model)
            file.write_text(json.dumps(preparing.measure(job, subject), indent=1) + "\n", encoding="utf-8")
        told[subject] = json.loads(file.read_text(encoding="utf-8"))["cold"]
    ours = told["ours"]
    return {
        "rows": ours["told"]["rows"],
        "tokens": ours["told"]["tokens"] / ours["told"]["rows"],
        "seconds": ours["told"]["seconds"],
        "bare": told["bare"]["told"]["seconds"],
        "peak_gib": ours["peak_gib"],
    }


def draw(points: dict[str, list[dict[str, Any]]], file: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6.4), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 2)
    words = {"rows": f"rows of about {USUAL_TOKENS:.0f} tokens", "tokens": f"tokens a row, {USUAL_ROWS:,} rows"}
    for column, (key, found) in enumerate(points.items()):
        found = sorted(found, key=lambda told: told[key])
        at = [told[key] for told in found]
        time, memory = axes[0][column], axes[1][column]
        for name, part, colour, mark in (
            ("lemma prepare", "seconds", OURS, "o"),
            ("bare encode_batch", "bare", BARE, "s"),
        ):
            time.plot(at, [told[part] for told in found], marker=mark, color=colour, label=name)
        memory.plot(at, [told["peak_gib"] for told in found], marker="o", color=MEMORY, label="all processes (PSS)")
        memory.axhline(2.0, color=TEXT, linestyle=":", linewidth=1, label="limit: 2 GiB")
        time.set(ylabel="seconds", xlabel=words[key])
        memory.set(ylabel="peak memory, GiB", xlabel=words[key], ylim=(0, 2.3))
        for panel in (time, memory):
            panel.set_xlim(left=0)
            panel.spines[["top", "right"]].set_visible(False)
            panel.legend(frameon=False, labelcolor=TEXT, loc="upper left" if panel is time else "center right")
        time.set_ylim(bottom=0)
    figure.suptitle("What preparing costs, on two cores", color=TEXT, fontsize=12, x=0.02, ha="left")
    figure.savefig(file)


if __name__ == "__main__":
    main()
