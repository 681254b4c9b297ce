"""How long does it take to prepare rows, and in how much memory? Run by hand:

    benchmarks/install_llamafactory.sh
    python benchmarks/preparing.py OUT [--rows 88904] [--tokens 637] [--rounds 3]

Trajectories of about so many tokens are made up in OUT (preparing_rows.py). One after the other, round after round,
they are tokenised by the bare tokenizer's encode_batch and encode_batch_fast, the latter of which is the least that any
of them needs, and prepared by `lemma prepare`, by TRL's SFTTrainer and by LLaMA-Factory, the latter two with two
processes; then each starts again with what it has cached. Seconds run from the file to the prepared set, and the whole
command, which is in OUT/summary.json, has the imports besides. Memory is that of all processes together.

OUT keeps every measurement: a call goes on where an earlier one stopped, and refuses what was measured with other rows
or another model. `--at-most N` ends after N of them. `--subjects bare bare_fast ours` leaves the peers out.
"""

import argparse
import json
import shutil
import statistics
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import measured_process
from preparing_rows import write_rows

from lemma_train.template import PROMPTS

ROOT = Path(__file__).resolve().parents[1]
METER = Path(__file__).with_name("preparing_meter.py")
NAMES = {
    "bare": "bare `encode_batch`",
    "bare_fast": "bare `encode_batch_fast`",
    "ours": "`lemma prepare`",
    "trl": "TRL",
    "llamafactory": "LLaMA-Factory",
}
SUBJECTS = tuple(NAMES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=place)
    parser.add_argument("--rows", type=int, default=88_904)
    parser.add_argument("--tokens", type=float, default=637.0, help="tokens of a row, on average")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--subjects", nargs="+", choices=SUBJECTS, default=SUBJECTS)
    parser.add_argument("--model", type=place, default=str(ROOT / "models" / "smollm2-135m"))
    parser.add_argument("--llamafactory", type=place, default=str(ROOT / ".venv-llamafactory"), help="its environment")
    parser.add_argument("--at-most", type=int, help="end after so many measurements")
    options = parser.parse_args()
    if min(options.rounds, options.rows) < 1 or options.tokens <= 0:
        parser.error("--rows, --tokens and --rounds are above 0")
    if not (options.model / "tokenizer.json").is_file():
        parser.error(f"argument --model: {options.model} holds no tokenizer.json")
    if "llamafactory" in options.subjects and not (options.llamafactory / "bin" / "python").exists():
        parser.error(
            f"argument --llamafactory: {options.llamafactory} is no environment; make it with "
            "benchmarks/install_llamafactory.sh, or leave it out with --subjects bare bare_fast ours trl"
        )
    for file in options.out.glob("[0-9]*-*.json"):
        check_kept(file, options)  # before anything is measured
    started = 0
    for number in range(1, options.rounds + 1):
        for subject in options.subjects if number % 2 else options.subjects[::-1]:
            file = options.out / f"{number}-{subject}.json"
            if file.exists():
                continue
            if options.at_most is not None and started >= options.at_most:
                return
            started += 1
            measured = measure(options, subject)
            file.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
            print(f"{file.stem}: {measured['cold']['told']['seconds']:.1f} s", flush=True)
    summary = summarise(options)
    (options.out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    print(table(summary))


def place(text: str) -> Path:
    return Path(text).resolve()


def setting(options: argparse.Namespace) -> dict[str, Any]:
    """What the rows and their measurements depend on."""
    return {"rows": options.rows, "tokens": float(options.tokens), "model": str(options.model)}


def check_kept(file: Path, options: argparse.Namespace) -> None:
    """Whether an earlier call's measurement is one of these rows and this model.

    Raises:
        SystemExit: it is not, or does not say so.
    """
    try:
        found = json.loads(file.read_text(encoding="utf-8"))["setting"]
    except (KeyError, TypeError, ValueError):
        why = "does not say what was measured (an older version wrote it, or it is cut off)"
        raise SystemExit(f"{file} {why}: name another OUT, or delete it.") from None
    if found != setting(options):
        raise SystemExit(f"{file} was measured with {found}, not with {setting(options)}: name another OUT.")


def measure(options: argparse.Namespace, subject: str) -> dict[str, Any]:
    """A preparation from nothing, and the next start with what it has left."""
    rows = options.out / "rows"
    made = rows / "setting.json"
    if not made.exists() or json.loads(made.read_text(encoding="utf-8")) != setting(options):
        write_inputs(rows, options)
    caches = options.out / "caches"
    shutil.rmtree(caches, ignore_errors=True)
    for leftover in ("prepared", "trl", "llamafactory"):
        shutil.rmtree(rows / leftover, ignore_errors=True)
    caches.mkdir()
    home = options.llamafactory if subject == "llamafactory" else Path(sys.prefix)
    command = [str(home / "bin" / "python"), str(METER), subject, str(rows), str(options.model)]
    environ = {
        "HF_HOME": str(caches),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false" if subject in ("trl", "llamafactory") else "true",  # they have two processes
        "PYTHONPATH": str(ROOT) if subject == "ours" else "",
    }
    log = options.out / f"{subject}.log"
    found = {"setting": setting(options), "cold": asdict(measured_process.run(command, log, environ))}
    if not subject.startswith("bare"):
        found["cached"] = asdict(measured_process.run(command, log, environ))
    if subject == "ours":
        command = [sys.executable, "-m", "lemma_train.cli", "prepare", str(rows / "ours.yaml")]
        found["cached_command"] = asdict(measured_process.run(command, log, environ))
    return found


def write_inputs(folder: Path, options: argparse.Namespace) -> None:
    """The same rows for each: trajectories for ours, prompt and completion for TRL, LLaMA-Factory's own form."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "setting.json").unlink(missing_ok=True)
    write_rows(folder / "rows.jsonl", options.rows, options.tokens)
    eos = json.loads((options.model / "tokenizer_config.json").read_text(encoding="utf-8"))["eos_token"]
    with (
        (folder / "rows.jsonl").open(encoding="utf-8") as rows,
        (folder / "trl.jsonl").open("w", encoding="utf-8") as trl,
        (folder / "llamafactory.jsonl").open("w", encoding="utf-8") as llamafactory,
    ):
        for row in map(json.loads, rows):
            prompt, completion = PROMPTS["lemma"].replace("{instruction}", row["instruction"]), f" {row['output']}"
            trl.write(json.dumps({"prompt": prompt, "completion": completion}) + "\n")
            # Its template without any words of its own adds no EOS.
            theirs = {"instruction": prompt, "input": "", "output": completion + eos}
            llamafactory.write(json.dumps(theirs) + "\n")
    (folder / "dataset_info.json").write_text(json.dumps({"rows": {"file_name": "llamafactory.jsonl"}}))
    recipe = {
        "model_name_or_path": str(options.model),
        "train_files": str(folder / "rows.jsonl"),
        "output_dir": str(folder),
    }
    (folder / "ours.yaml").write_text(json.dumps(recipe), encoding="utf-8")
    # Last: rows that were not written to their end are written again.
    (folder / "setting.json").write_text(json.dumps(setting(options)), encoding="utf-8")


def summarise(options: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, Any] = {"setting": setting(options), "rounds": options.rounds, "subjects": {}}
    for subject in options.subjects:
        files = [options.out / f"{number}-{subject}.json" for number in range(1, options.rounds + 1)]
        runs = [json.loads(file.read_text(encoding="utf-8")) for file in files]
        found["subjects"][subject] = {
            "release": runs[0]["cold"]["told"]["release"],
            "rows": runs[0]["cold"]["told"]["rows"],
            "tokens_a_row": round(runs[0]["cold"]["told"]["tokens"] / runs[0]["cold"]["told"]["rows"], 1),
            "seconds": _median(run["cold"]["told"]["seconds"] for run in runs),
            "all_seconds": [round(run["cold"]["told"]["seconds"], 2) for run in runs],
            "command_seconds": _median(run["cold"]["seconds"] for run in runs),
            "processor_seconds": _median(run["cold"]["processor_seconds"] for run in runs),
            "peak_gib": _median(run["cold"]["peak_gib"] for run in runs),
        }
        if "cached" in runs[0]:
            again = [run["cached"] for run in runs]
            found["subjects"][subject]["cached_seconds"] = _median(run["told"]["seconds"] for run in again)
            whole = [run.get("cached_command", run["cached"]) for run in runs]
            found["subjects"][subject]["cached_command_seconds"] = _median(run["seconds"] for run in whole)
            found["subjects"][subject]["cached_peak_gib"] = _median(run["peak_gib"] for run in again)
    return found


def _median(values: Iterable[float]) -> float:
    return round(statistics.median(values), 2)


def table(summary: dict[str, Any]) -> str:
    """As docs/performance.md has it, with a line on the rows above it."""
    subjects = summary["subjects"]
    bare = {name: subjects[name]["seconds"] for name in ("bare", "bare_fast") if name in subjects}
    first = next(iter(subjects.values()))
    lines = [
        f"{first['rows']:,} rows of {first['tokens_a_row']:.0f} tokens\n",
        "| | seconds | beside `encode_batch` | beside `encode_batch_fast` | processor seconds | peak memory "
        "| next start | next start, imports included |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for subject, told in subjects.items():
        name = NAMES[subject]
        if subject in ("trl", "llamafactory"):
            name += f" {told['release'].removesuffix('.0')}"
        cells = [name, f"{told['seconds']:.1f}"]
        cells += [f"{told['seconds'] / bare[way]:.2f}" if way in bare else "" for way in ("bare", "bare_fast")]
        cells += [f"{told['processor_seconds']:.0f}", f"{told['peak_gib']:.1f} GiB"]
        again = "cached_seconds" in told
        cells += [f"{told['cached_seconds']:.1f} s", f"{told['cached_command_seconds']:.1f} s"] if again else ["", ""]
        lines.append("|" + "".join(f" {cell} |" if cell else " |" for cell in cells))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
