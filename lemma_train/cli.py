"""The door of everything but training: `lemma SUBCOMMAND`.

It owns arguments, messages and exit statuses; each subcommand imports what it needs when it runs, so that
`lemma --help` answers at once.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lemma_train import __version__
from lemma_train.errors import InputError, Stopped, standard_output, user_errors_exit_with_2


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and run the subcommand; exits with 2 where the user's input is at fault."""
    parser = _parser()
    known, overrides = parser.parse_known_args(arguments)
    if overrides and known.run not in (_prepare, _plan, _collect, _evaluate):
        parser.error(f"unrecognized arguments: {' '.join(overrides)}")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    with user_errors_exit_with_2(f"lemma {known.command}"):
        try:
            known.run(known, overrides)
        except KeyboardInterrupt:
            print(f"lemma {known.command}: stopped.", file=sys.stderr)
            sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lemma",
        description="Collect error-corrective trajectories, prepare training on them, evaluate what came of it. "
        "Training itself: accelerate launch lemma_train/sft.py RECIPE",
    )
    parser.add_argument("--version", action="version", version=f"lemma_train {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="SUBCOMMAND")

    prepare = commands.add_parser(
        "prepare",
        help="lint, tokenise and cache the rows of a training recipe; print the data report",
        description="Lint, tokenise and cache the rows of a recipe in OUTPUT_DIR/prepared and print the data report. "
        "Any key of the recipe can be overridden: --key value.",
        allow_abbrev=False,
    )
    prepare.add_argument("recipe", help="a training recipe (YAML), see recipes/")
    prepare.set_defaults(run=_prepare)

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
    plan.set_defaults(run=_plan)

    merge = commands.add_parser(
        "merge",
        help="adapter or DeepSpeed checkpoint -> plain Hugging Face folder",
        description="Write the model of an adapter, a DeepSpeed checkpoint or a model folder as a plain folder.",
        allow_abbrev=False,
    )
    merge.add_argument("checkpoint", type=Path, help="a checkpoint-N or final folder")
    merge.add_argument("out", type=Path, help="the folder to write; must not exist")
    merge.add_argument("--dtype", choices=("auto", "float32", "bfloat16", "float16"), default="auto")
    merge.set_defaults(run=_merge)

    universal = commands.add_parser(
        "universal",
        help="let another number of GPUs resume from a DeepSpeed checkpoint",
        description="Add to a ZeRO checkpoint a copy of its optimizer state that is not split by processes.",
        allow_abbrev=False,
    )
    universal.add_argument("checkpoint", type=Path, help="a checkpoint-N folder")
    universal.set_defaults(run=_universal)

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
    collect.set_defaults(run=_collect)

    trace = commands.add_parser(
        "trace",
        help="the whole history of one collected row",
        description="Print a row's life: question, student's answer, error, each reply of the teacher, each check.",
        allow_abbrev=False,
    )
    trace.add_argument("dataset", type=Path, help="a collection's dataset.jsonl, or its folder")
    trace.add_argument("row_id", help="the row's id")
    trace.set_defaults(run=_trace)

    grade = commands.add_parser(
        "grade",
        help="compare answers with references",
        description="Rows with `response` and `reference` get `extracted` and `correct` (true, false, or null where "
        "the reference cannot be read). Without -o rows go to standard output.",
        allow_abbrev=False,
    )
    grade.add_argument("rows", type=Path, metavar="IN.jsonl")
    grade.add_argument("-o", "--out", type=Path, metavar="OUT.jsonl")
    grade.set_defaults(run=_grade)

    evaluate = commands.add_parser(
        "evaluate",
        help="benchmarks -> results.json, samples.jsonl",
        description="Evaluate a model as an evaluation recipe says, in OUTPUT_DIR. Started again, it goes on with the "
        "responses that it has. Any key of the recipe can be overridden: --model.model FOLDER.",
        allow_abbrev=False,
    )
    evaluate.add_argument("recipe", help="an evaluation recipe (YAML), see recipes/evaluate/")
    evaluate.set_defaults(run=_evaluate)

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
    compare.set_defaults(run=_compare)

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
    report.set_defaults(run=_report)
    return parser


def _prepare(known: argparse.Namespace, overrides: list[str]) -> None:
    from lemma_train.training.recipe import load_recipe

    recipe = load_recipe(known.recipe, overrides)

    from lemma_train.template import Renderer
    from lemma_train.training import data_report
    from lemma_train.training.compatibility import check_recipe
    from lemma_train.training.lock import claim
    from lemma_train.training.prepare import prepare
    from lemma_train.training.tokenizer import load_tokenizer

    check_recipe(recipe, os.environ)
    renderer = Renderer(load_tokenizer(recipe), recipe["template"])
    with claim(recipe.output_dir):
        prepared = prepare(recipe, renderer)
    print(data_report.text(prepared.report))
    print(f"{'Found prepared' if prepared.cached else 'Prepared'}: {prepared.folder}")


def _plan(known: argparse.Namespace, overrides: list[str]) -> None:
    import json

    if "transformers" not in sys.modules:
        # transformers imports PEFT with the fields of TrainingArguments, which takes longer than all the rest; this
        # process ends with the plan and needs no more than the fields.
        sys.modules.setdefault("peft", None)  # type: ignore[arg-type] # Python's own way to say: not importable
    from lemma_train.training.plan import USUAL_MFU, USUAL_TFLOPS, Hardware, as_dict, make_plan
    from lemma_train.training.plan_launch import find_launch
    from lemma_train.training.plan_text import as_text
    from lemma_train.training.recipe import load_recipe

    recipe = load_recipe(known.recipe, overrides)
    hardware = Hardware(
        gpu_memory=known.gpu_memory,
        gpus_per_node=known.gpus_per_node,
        host_memory=known.host_memory,
        mfu=USUAL_MFU if known.mfu is None else known.mfu,
        peak_tflops=USUAL_TFLOPS if known.peak_tflops is None else known.peak_tflops,
    )
    launch = find_launch(recipe, known.gpus, known.config_file)
    plan = make_plan(recipe, launch, hardware, known.rows, known.mean_tokens)
    _print(json.dumps(as_dict(plan), indent=2) if known.json else as_text(plan))


def _merge(known: argparse.Namespace, overrides: list[str]) -> None:
    from lemma_train.training.merge import merge

    merge(known.checkpoint, known.out, known.dtype)
    print(f"Merged: {known.out}")


def _universal(known: argparse.Namespace, overrides: list[str]) -> None:
    from lemma_train.training.universal import make_universal

    print(f"Universal: {make_universal(known.checkpoint)}")


def _collect(known: argparse.Namespace, overrides: list[str]) -> None:
    from lemma_train.collection import collect as collecting
    from lemma_train.collection.recipe import load_collect_recipe
    from lemma_train.collection.shards import read_shard
    from lemma_train.collection.stage_files import STAGES

    if known.stage is not None and known.stage not in STAGES:
        raise InputError(f"--stage: {known.stage!r} is none of {', '.join(STAGES)}.")
    if (known.dry_run or known.status) and (known.stage or known.shard):
        told = "--dry_run estimates" if known.dry_run else "--status tells of"
        raise InputError(f"{told} the whole collection; leave --stage and --shard out.")
    settings = load_collect_recipe(known.recipe, overrides)
    if known.dry_run:
        return _print(collecting.estimate(settings))
    if known.status:
        return _print(collecting.status(settings))
    shard = read_shard(known.shard, Path(settings.output_dir).expanduser()) if known.shard else None
    with _stopped_with_1("lemma collect"):
        _print(f"Collected: {collecting.collect(settings, known.stage, shard)}")


def _trace(known: argparse.Namespace, overrides: list[str]) -> None:
    from lemma_train.collection.trace import trace

    _print(trace(known.dataset, known.row_id))


def _grade(known: argparse.Namespace, overrides: list[str]) -> None:
    from lemma_train.grading.grade_file import grade_file

    print(grade_file(known.rows, known.out), file=sys.stderr)


def _evaluate(known: argparse.Namespace, overrides: list[str]) -> None:
    from lemma_train.evaluation.recipe import load_evaluate_recipe
    from lemma_train.evaluation.run import evaluate

    settings = load_evaluate_recipe(known.recipe, overrides)
    with _stopped_with_1("lemma evaluate"):
        _print(f"Evaluated: {evaluate(settings)}")


def _compare(known: argparse.Namespace, overrides: list[str]) -> None:
    import json

    from lemma_train.evaluation.compare import as_dict, as_text, compare

    found = compare(known.run_a, known.run_b, allow=known.allow)
    _print(json.dumps(as_dict(found), indent=2) if known.json else as_text(found))


def _report(known: argparse.Namespace, overrides: list[str]) -> None:
    from lemma_train.evaluation.report import write_report

    write_report(known.runs, known.out, known.base)
    _print(f"Report: {known.out}")


@contextmanager
def _stopped_with_1(command: str) -> Iterator[None]:
    """Say why long work ended early, and that it goes on when it is started again."""
    import asyncio

    try:
        yield
    except Stopped as stopped:
        print(f"{command}: {stopped}", file=sys.stderr)
        sys.exit(1)
    except (KeyboardInterrupt, asyncio.CancelledError):
        print(f"{command}: stopped; start the same command again to go on.", file=sys.stderr)
        sys.exit(1)


def _print(text: str) -> None:
    with standard_output() as out:
        print(text, file=out)


if __name__ == "__main__":
    main(sys.argv[1:])
