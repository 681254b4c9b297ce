"""How long does it take to prepare rows, and in how much memory? Run by hand:

    benchmarks/install_llamafactory.sh
    python benchmarks/preparing.py OUT [--rows 88904] [--tokens 637] [--rounds 3]

Trajectories of about so many tokens are made up in OUT (preparing_rows.py). One after the other, round after round,
they are tokenised by the bare tokenizer's encode_batch, which is the least that any of them needs, and prepared by
`lemma prepare`, by TRL's SFTTrainer and by LLaMA-Factory, the latter two with two processes; then each starts again
with what it has cached. Seconds run from the file to the prepared set, and the whole command has the imports besides.
Memory is that of all processes together.

OUT keeps every measurement: a call goes on where an earlier one stopped, and `--at-most N` ends after N of them.
`--subjects bare ours` leaves the peers out.
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
SUBJECTS = ("bare", "ours", "trl", "llamafactory")
NAMES = {"bare": "bare `encode_batch`", "ours": "`lemma prepare`", "trl": "TRL", "llamafactory": "LLaMA-Factory"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", type=int, default=88_904)
    parser.add_argument("--tokens", type=float, default=637.0, help="tokens of a row, on average")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--subjects", nargs="+", choices=SUBJECTS, default=SUBJECTS)
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "smollm2-135m")
    parser.add_argument("--llamafactory", type=Path, default=ROOT / ".venv-llamafactory", help="its environment")
    parser.add_argument("--at-most", type=int, help="end after so many measurements")
    options = parser.parse_args()
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


def measure(options: argparse.Namespace, subject: str) -> dict[str, Any]:
    """A preparation from nothing, and the next start with what it has left."""
    rows = options.out / "rows"
    if not (rows / "trl.jsonl").exists():
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
    found = {"cold": asdict(measured_process.run(command, log, environ))}
    if subject != "bare":
        found["cached"] = asdict(measured_process.run(command, log, environ))
    if subject == "ours":
        command = [sys.executable, "-m", "lemma_train.cli", "prepare", str(rows / "ours.yaml")]
        found["cached_command"] = asdict(measured_process.run(command, log, environ))
    return found


def write_inputs(folder: Path, options: argparse.Namespace) -> None:
    """The same rows for each: trajectories for ours, prompt and completion for TRL, LLaMA-Factory's own form."""
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(folder / "rows.jsonl", options.rows, options.tokens)
    eos = json.loads((options.model / "tokenizer_config.json").read_text(encoding="utf-8"))["eos_token"]
    with (
        (folder / "rows.jsonl").open(encoding="utf-8") as rows,
        (folder / "trl.part").open("w", encoding="utf-8") as trl,
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
    (folder / "trl.part").rename(folder / "trl.jsonl")


def summarise(options: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, Any] = {"rows": options.rows, "rounds": options.rounds, "subjects": {}}
    for subject in options.subjects:
        files = [options.out / f"{number}-{subject}.json" for number in range(1, options.rounds + 1)]
        runs = [json.loads(file.read_text(encoding="utf-8")) for file in files]

        found["subjects"][subject] = {
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
    bare = summary["subjects"].get("bare", {}).get("seconds")
    lines = [
        "| | rows | tokens a row | seconds | beside bare | whole command | processor seconds | peak memory "
        "| next start | next start, whole command |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for subject, told in summary["subjects"].items():
        ratio = f"{told['seconds'] / bare:.2f}" if bare else ""
        again = "| |"
        if "cached_seconds" in told:
            again = f"| {told['cached_seconds']:.1f} s | {told['cached_command_seconds']:.1f} s |"
        lines.append(
            f"| {NAMES[subject]} | {told['rows']:,} | {told['tokens_a_row']} | {told['seconds']:.1f} | {ratio} "
            f"| {told['command_seconds']:.1f} s | {told['processor_seconds']:.0f} | {told['peak_gib']:.2f} GiB "
            f"{again}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
