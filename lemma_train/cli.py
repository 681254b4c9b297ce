"""The door of everything but training: `lemma SUBCOMMAND`.

It owns messages and exit statuses; `arguments` has the words. Each subcommand imports what it needs when it runs, so
that `lemma --help` answers at once.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lemma_train.arguments import TAKE_OVERRIDES, parser
from lemma_train.errors import InputError, Stopped, standard_output, user_errors_exit_with_2
from lemma_train.visible_text import visible


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and run the subcommand; exits with 2 where the user's input is at fault."""
    whole = parser()
    known, overrides = whole.parse_known_args(arguments)
    if overrides and known.command not in TAKE_OVERRIDES:
        whole.error(f"unrecognized arguments: {' '.join(overrides)}")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    with user_errors_exit_with_2(f"lemma {known.command}"):
        try:
            _RUN[known.command](known, overrides)
        except KeyboardInterrupt:
            print(f"lemma {known.command}: stopped.", file=sys.stderr)
            sys.exit(1)


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
    told = "Found prepared" if prepared.cached else "Prepared"
    _print(f"{data_report.text(prepared.report)}\n{told}: {prepared.folder}")


def _plan(known: argparse.Namespace, overrides: list[str]) -> None:
    import json

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
    _print(f"Merged: {known.out}")


def _universal(known: argparse.Namespace, overrides: list[str]) -> None:
    from lemma_train.training.universal import make_universal

    _print(f"Universal: {make_universal(known.checkpoint)}")


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
    from lemma_train.evaluation.finished_run import accuracies
    from lemma_train.evaluation.recipe import load_evaluate_recipe
    from lemma_train.evaluation.run import evaluate

    settings = load_evaluate_recipe(known.recipe, overrides)
    with _stopped_with_1("lemma evaluate"):
        results = evaluate(settings)
    _print("\n".join([f"Evaluated: {results}", *accuracies(results)]))


def _compare(known: argparse.Namespace, overrides: list[str]) -> None:
    import json

    from lemma_train.evaluation.compare import as_dict, as_text, compare

    found = compare(known.run_a, known.run_b, allow=known.allow)
    _print(json.dumps(as_dict(found), indent=2) if known.json else as_text(found))


def _report(known: argparse.Namespace, overrides: list[str]) -> None:
    from lemma_train.evaluation.report import write_report

    write_report(known.runs, known.out, known.base)
    _print(f"Report: {known.out}")


def _ablate(known: argparse.Namespace, overrides: list[str]) -> None:
    from lemma_train.ablation.ablate import Ablation

    ablation = Ablation(known.recipe, overrides, say=lambda line: print(line, file=sys.stderr, flush=True))
    if known.list:
        _print("\n".join(ablation.state_lines()))
        return
    complete = True
    if known.gather:
        complete = ablation.is_complete()
    else:
        with _stopped_with_1("lemma ablate"):
            complete = ablation.train_all() if known.only is None else ablation.only(known.only)
    if known.only is None:
        _print(ablation.gather())
        _print(f"Results: {ablation.folder}/ablation.md")
    if not complete:
        sys.exit(1)


def _whole_run(known: argparse.Namespace, overrides: list[str]) -> None:
    from lemma_train.loop.run import StepFailed, WholeRun

    run = WholeRun(known.recipe, overrides, say=lambda line: print(line, file=sys.stderr, flush=True))
    if known.list:
        _print("\n".join(run.state_lines()))
        return
    with _stopped_with_1("lemma run"):
        try:
            page = run.do_all() if known.step is None else run.do(known.step)
        except StepFailed as failure:
            print(f"lemma run: {failure}; start the same command again to go on.", file=sys.stderr)
            sys.exit(1)
    if known.step in (None, "report"):
        _print((run.folder / "summary.md").read_text(encoding="utf-8"))
        _print(f"Report: {page}")


@contextmanager
def _stopped_with_1(command: str) -> Iterator[None]:
    """Say why long work ended early, and that it goes on when it is started again."""
    import asyncio

    try:
        yield
    except Stopped as stopped:
        print(f"{command}: {visible(str(stopped))}", file=sys.stderr)
        sys.exit(1)
    except (KeyboardInterrupt, asyncio.CancelledError):
        print(f"{command}: stopped; start the same command again to go on.", file=sys.stderr)
        sys.exit(1)


def _print(text: str) -> None:
    with standard_output() as out:
        print(text, file=out)


_RUN = {
    "prepare": _prepare,
    "plan": _plan,
    "merge": _merge,
    "universal": _universal,
    "collect": _collect,
    "trace": _trace,
    "grade": _grade,
    "evaluate": _evaluate,
    "compare": _compare,
    "report": _report,
    "ablate": _ablate,
    "run": _whole_run,
}


if __name__ == "__main__":
    main(sys.argv[1:])
