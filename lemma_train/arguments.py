"""The words of the command line: subcommands, their arguments and their help.

Enters: nothing. Leaves: a parser. What a subcommand does is in `cli`; nothing heavy is imported here.
"""

import argparse
from pathlib import Path

from lemma_train import __version__

# Subcommands that take any key of their recipe as --key value.
TAKE_OVERRIDES = ("prepare", "plan", "collect", "evaluate", "ablate", "run")


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; `command` is the subcommand's name."""
    whole = argparse.ArgumentParser(
        prog="lemma",
        description="Collect error-corrective trajectories, prepare training on them, evaluate what came of it. "
        "Training itself: accelerate launch lemma_train/sft.py RECIPE",
    )
    whole.add_argument("--version", action="version", version=f"lemma_train {__version__}")
    commands = whole.add_subparsers(dest="command", required=True, metavar="SUBCOMMAND")

    prepare = commands.add_parser(
        "prepare",
        help="lint, tokenise and cache the rows of a training recipe; print the data report",
        description="Lint, tokenise and cache the rows of a recipe in OUTPUT_DIR/prepared and print the data report. "
        "Any key of the recipe can be overridden: --key value.",
        allow_abbrev=False,
    )
    prepare.add_argument("recipe", help="a training recipe (YAML), see recipes/")

    plan = commands.add_parser(
        "plan",
        help="steps, batch, time and memory of a training recipe, and what to change where it does not fit",
        description="Tell what a recipe will need on so many GPUs, without a GPU and without a network. Any key of the "
        "recipe can be overridden: --key value. Exit status 0, whether it fits or not; --json says so in `fits`.",
        allow_abbrev=False,
    )
    plan.add_argument("recipe", help="a training recipe (YAML), see recipes/")
    plan.add_argument("--gpus", metavar="N", help="processes, one a GPU; default: the recipe's command, else 8")
    plan.add_argument("--gpu-memory", type=float, default=80.0, metavar="GIB", help="of one GPU; default 80")
    plan.add_argument("--gpus-per-node", type=int, default=8, metavar="N", help="default 8")
    plan.add_argument("--host-memory", type=float, default=2048.0, metavar="GIB", help="of one node; default 2048")
    plan.add_argument("--rows", type=int, metavar="N", help="training rows; default: the prepared set, or the files")
    plan.add_argument("--mean-tokens", type=float, metavar="N", help="tokens a row; default: the prepared set, or 620")
    plan.add_argument("--mfu", type=float, metavar="SHARE", help="of the peak that is reached; default 0.17")
    plan.add_argument("--peak-tflops", type=float, metavar="N", help="of one GPU; default 312 (A100); H100: 989")
    plan.add_argument("--config-file", type=Path, metavar="FILE", help="an accelerate configuration to launch with")
    plan.add_argument("--json", action="store_true", help="print one JSON object")

    merge = commands.add_parser(
        "merge",
        help="adapter or DeepSpeed checkpoint -> plain Hugging Face folder",
        description="Write the model of an adapter, a DeepSpeed checkpoint or a model folder as a plain folder.",
        allow_abbrev=False,
    )
    merge.add_argument("checkpoint", type=Path, help="a checkpoint-N or final folder")
    merge.add_argument("out", type=Path, help="the folder to write; must not exist")
    merge.add_argument("--dtype", choices=("auto", "float32", "bfloat16", "float16"), default="auto")

    universal = commands.add_parser(
        "universal",
        help="let another number of GPUs resume from a DeepSpeed checkpoint",
        description="Add to a ZeRO checkpoint a copy of its optimizer state that is not split by processes.",
        allow_abbrev=False,
    )
    universal.add_argument("checkpoint", type=Path, help="a checkpoint-N folder")

    collect = commands.add_parser(
        "collect",
        help="questions -> error-corrective trajectories, with a student and a teacher",
        description="Build trajectories as a collection recipe says, in OUTPUT_DIR. Started again, it goes on where it "
        "stopped. Any key of the recipe can be overridden: --seed 1, --teacher.model NAME.",
        allow_abbrev=False,
    )
    collect.add_argument("recipe", help="a collection recipe (YAML), see recipes/collect/")
    collect.add_argument(
        "--stage",
        metavar="NAME",
        help="run this stage alone: problems, sampling, grading, analysis, injection, correction, smoothing, assembly",
    )
    collect.add_argument(
        "--shard", metavar="I/N", help="work on part I (from 0) of N; --stage assembly joins the parts"
    )
    told = collect.add_mutually_exclusive_group()
    told.add_argument("--dry_run", action="store_true", help="estimate requests, tokens and cost; send nothing")
    told.add_argument("--status", action="store_true", help="tell how far the collection is, also while it runs")

    trace = commands.add_parser(
        "trace",
        help="the whole history of one collected row",
        description="Print a row's life: question, student's answer, error, each reply of the teacher, each check.",
        allow_abbrev=False,
    )
    trace.add_argument("dataset", type=Path, help="a collection's dataset.jsonl, or its folder")
    trace.add_argument("row_id", help="the row's id")

    grade = commands.add_parser(
        "grade",
        help="compare answers with references",
        description="Rows with `response` and `reference` get `extracted` and `correct` (true, false, or null where "
        "the reference cannot be read). Without -o rows go to standard output.",
        allow_abbrev=False,
    )
    grade.add_argument("rows", type=Path, metavar="IN.jsonl")
    grade.add_argument("-o", "--out", type=Path, metavar="OUT.jsonl")

    evaluate = commands.add_parser(
        "evaluate",
        help="benchmarks -> results.json, samples.jsonl",
        description="Evaluate a model as an evaluation recipe says, in OUTPUT_DIR. Started again, it goes on with the "
        "responses that it has. Any key of the recipe can be overridden: --model.model FOLDER.",
        allow_abbrev=False,
    )
    evaluate.add_argument("recipe", help="an evaluation recipe (YAML), see recipes/evaluate/")

    compare = commands.add_parser(
        "compare",
        help="two evaluations, question by question",
        description="Paired differences of two evaluations on the same questions, with 95% intervals and McNemar's p.",
        allow_abbrev=False,
    )
    compare.add_argument("run_a", type=Path, help="the folder of an evaluation: the one to improve on")
    compare.add_argument("run_b", type=Path, help="the folder of another")
    compare.add_argument(
        "--allow", action="append", default=[], metavar="WHAT", help="may differ: template, prompts, decoding, probe"
    )
    compare.add_argument("--json", action="store_true", help="print one JSON object")

    report = commands.add_parser(
        "report",
        help="tables, plots and samples in one self-contained page",
        description="Write one HTML page about evaluations, and the same as Markdown beside it.",
        allow_abbrev=False,
    )
    report.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folders of evaluations")
    report.add_argument(
        "--base", type=Path, metavar="RUN", help="the run that the others are compared with, shown first"
    )
    report.add_argument("-o", "--out", type=Path, required=True, metavar="REPORT.html")

    ablate = commands.add_parser(
        "ablate",
        help="a grid of training runs and their comparison",
        description="Train and evaluate every cell of an ablation recipe with every seed, one after the other, and "
        "write table, plot and best recipe to OUTPUT_DIR. Started again, it does what is missing or has failed. Exit "
        "status 1 where a run failed. Any key of the recipe can be overridden: --seeds [0,1].",
        allow_abbrev=False,
    )
    ablate.add_argument("recipe", help="an ablation recipe (YAML), see recipes/ablations/")
    part = ablate.add_mutually_exclusive_group()
    part.add_argument("--list", action="store_true", help="number, state and name of each run; train nothing")
    part.add_argument("--only", type=int, metavar="N", help="train and evaluate run N of the list, write no table")
    part.add_argument("--gather", action="store_true", help="write the results of what is done; train nothing")

    run = commands.add_parser(
        "run",
        help="the whole loop: collect, train, evaluate base and tuned, report",
        description="Do every step of a run recipe whose inputs have changed since it was done, and write the report "
        "to OUTPUT_DIR/report.html. Started again, it goes on where it stopped. Any key of the recipe can be "
        "overridden: --overrides.train.max_steps 20.",
        allow_abbrev=False,
    )
    run.add_argument("recipe", help="a run recipe (YAML), see recipes/run/")
    part = run.add_mutually_exclusive_group()
    part.add_argument("--list", action="store_true", help="the steps, and whether each is done; do nothing")
    part.add_argument("--step", metavar="NAME", help="do this step alone")
    return whole
