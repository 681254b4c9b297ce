"""How fast is training beside LLaMA-Factory and `trl sft`, at the same loss? Run by hand:

    benchmarks/install_llamafactory.sh
    python benchmarks/training_speed.py GSM8K_TRAIN.jsonl OUT [--lora] [--rows 256] [--pairs 3] [--processes 1]
    python benchmarks/training_speed.py GSM8K_TRAIN.jsonl OUT --measures [--rows 80]

All three train SmolLM2-135M on the same rows with the same number of steps, batch, AdamW, learning rate, clipping and
precision (training_runs.py has all that is set), one after the other, round after round, each in an environment of its
own. Supervised tokens are counted from each one's own labels. The first step stands apart; the speed is the median of
the steps after it, because on a machine that does anything else single steps take several times as long (the mean is in
the JSON). What each has trained is then put to the same test: the mean loss of 64 rows that none has seen, which the
untrained model is put to as well.

`--measures` runs ours with everything on and without each single measure in its stead, and tells what each gains.

OUT keeps every run: a call goes on where an earlier one stopped, and refuses a run that was told something else.
`--at-most N` ends after N runs, so that a machine that is shared can be given back between them. `--name` and `--ours`
run ours with further keys under a name of its own, in an OUT that may hold other runs of the same rows:

    python benchmarks/training_speed.py GSM8K OUT --trainers ours --name trl_head --ours "--supervised_head false"
"""

import argparse
import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

from training_measured import ROOT, base_loss, kept, measure
from training_rows import HELD_OUT_ROWS, gsm8k_rows, long_rows, write_rows
from training_runs import LORA, MEASURES, TRAINERS, Job
from training_tables import markdown, measures_table, plain, summarise, trainers_table, where


def main() -> None:
    options = read_options()
    rows = (long_rows if options.long else gsm8k_rows)(options.gsm8k, options.rows)
    held_out = [] if options.measures else gsm8k_rows(options.gsm8k, HELD_OUT_ROWS, 7000)
    write_rows(options.out / "rows", rows, eos(options.model))
    jobs = planned(options)
    finished = {job.out for job in jobs if kept(job)}  # a run of other settings is refused before any is started
    for started, job in enumerate(job for job in jobs if job.out not in finished):
        if options.at_most is not None and started >= options.at_most:
            return
        measured = measure(job, held_out)
        print(f"{job.out.name}: {measured['supervised_per_second']:.0f} supervised tokens/s", flush=True)
    summary = {"setting": setting(options), **summarise(read_runs(options.out))}
    if held_out:
        summary["base_held_out_loss"] = base_loss(options.out / "untrained.json", options.model, held_out)
    (options.out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    table, texts = (measures_table(summary), 2) if options.measures else (trainers_table(summary), 1)
    print((markdown if options.markdown else plain)(table, texts))
    print(f"\n{where(summary)}")


def place(text: str) -> Path:
    """A path as it stands here: the trainers run in another folder."""
    return Path(text).resolve()


def read_options(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gsm8k", type=place, help="GSM8K's training rows (question, answer)")
    parser.add_argument("out", type=place, help="a folder for runs and results")
    parser.add_argument("--model", type=place, default=str(ROOT / "models" / "smollm2-135m"))
    parser.add_argument("--trainers", nargs="+", choices=TRAINERS, help="all of them where none is named")
    parser.add_argument("--measures", action="store_true", help="ours alone, and without each single measure")
    parser.add_argument("--lora", action="store_true")
    parser.add_argument("--long", action="store_true", help="long trajectories instead of GSM8K's rows")
    parser.add_argument("--rows", type=int, help="256, with --measures 80")
    parser.add_argument("--pairs", type=int, default=3, help="rounds of all trainers")
    parser.add_argument("--processes", type=int, choices=(1, 2), default=1)
    parser.add_argument("--micro-batch", type=int, default=4)
    parser.add_argument("--accumulation", type=int, default=4)
    parser.add_argument("--learning-rate", type=float, default=1e-5)
    parser.add_argument("--peers-checkpoint", action="store_true", help="the peers' own default, on, instead of off")
    environment = str(ROOT / ".venv-llamafactory")
    parser.add_argument("--llamafactory", type=place, default=environment, help="its environment")
    parser.add_argument("--at-most", type=int, help="end after so many runs")
    parser.add_argument("--ours", default="", help="further --key value arguments for our runs")
    parser.add_argument("--name", default="", help="a name for runs with such arguments")
    parser.add_argument("--markdown", action="store_true", help="print the table as docs/performance.md shows it")
    options = parser.parse_args(words)
    if options.measures and (options.trainers or options.name):
        parser.error("--measures runs ours alone and names its runs itself: it goes with neither --trainers nor --name")
    options.trainers = options.trainers or (["ours"] if options.measures else list(TRAINERS))
    if options.name and (options.trainers != ["ours"] or not re.fullmatch(r"\w+", options.name)):
        parser.error("argument --name: it is for --trainers ours alone, and made of letters, digits and underscores")
    options.rows = options.rows or (80 if options.measures else 256)
    batch = options.micro_batch * options.accumulation * options.processes
    if min(options.micro_batch, options.accumulation) < 1 or options.rows % batch or options.rows < 2 * batch:
        parser.error(f"argument --rows: {options.rows} rows are not two or more whole steps of {batch} rows")
    if options.pairs < 1:
        parser.error("argument --pairs: at least one round is needed")
    return check_places(parser, options)


def check_places(parser: argparse.ArgumentParser, options: argparse.Namespace) -> argparse.Namespace:
    if not options.gsm8k.is_file():
        parser.error(f"argument gsm8k: {options.gsm8k} is no file")
    if not (options.model / "tokenizer_config.json").is_file():
        parser.error(f"argument --model: {options.model} holds no model")
    if "llamafactory" in options.trainers and not (options.llamafactory / "bin" / "python").exists():
        parser.error(
            f"argument --llamafactory: {options.llamafactory} is no environment; make it with "
            "benchmarks/install_llamafactory.sh, or leave it out with --trainers ours trl"
        )
    return options


def eos(model: Path) -> str:
    return str(json.loads((model / "tokenizer_config.json").read_text(encoding="utf-8"))["eos_token"])


def planned(options: argparse.Namespace) -> list[Job]:
    """The runs of all rounds, in their order."""
    extra = tuple(shlex.split(options.ours))
    runs = {f"{trainer}{options.name and '-' + options.name}": (trainer, extra) for trainer in options.trainers}
    if options.measures:
        runs |= {f"ours-{measure.name}": ("ours", (*extra, *measure.extra)) for measure in MEASURES}
    found = []
    for number in range(1, options.pairs + 1):
        order = list(runs) if number % 2 else list(runs)[::-1]  # none is always the one that warms up
        for name in order:
            trainer, own = runs[name]
            theirs = options.llamafactory / "bin" / "python"
            found.append(
                Job(
                    trainer=trainer,
                    python=theirs if trainer == "llamafactory" else Path(sys.executable),
                    model=options.model,
                    rows=options.out / "rows",
                    out=options.out / f"{number}-{name}",
                    lora=options.lora,
                    steps=options.rows // (options.micro_batch * options.accumulation * options.processes),
                    micro_batch=options.micro_batch,
                    accumulation=options.accumulation,
                    processes=options.processes,
                    learning_rate=options.learning_rate,
                    peers_checkpoint=options.peers_checkpoint,
                    extra=own if trainer == "ours" else (),
                )
            )
    return found


def setting(options: argparse.Namespace) -> dict[str, Any]:
    found = {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()}
    return found | {"lora_settings": LORA if options.lora else None}


def read_runs(out: Path) -> list[dict[str, Any]]:
    """Every run that OUT holds, also those of earlier calls under other names."""
    runs = []
    for file in out.glob("*/run.json"):
        number, _, name = file.parent.name.partition("-")
        run = json.loads(file.read_text(encoding="utf-8"))
        if "told" not in run:
            raise SystemExit(f"{file} does not say how it was run (an older version wrote it): name another OUT.")
        runs.append({"round": int(number), "name": name, **run})
    return sorted(runs, key=lambda run: (run["round"], run["name"]))


if __name__ == "__main__":
    main()
