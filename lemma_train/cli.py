"""The door of everything but training: `lemma SUBCOMMAND`.

It owns arguments, messages and exit statuses; each subcommand imports what it needs when it runs, so that
`lemma --help` answers at once.
"""

import argparse
import os
import sys
from pathlib import Path

from lemma_train import __version__
from lemma_train.errors import user_errors_exit_with_2


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and run the subcommand; exits with 2 where the user's input is at fault."""
    parser = _parser()
    known, overrides = parser.parse_known_args(arguments)
    if overrides and known.run is not _prepare:
        parser.error(f"unrecognized arguments: {' '.join(overrides)}")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    with user_errors_exit_with_2(f"lemma {known.command}"):
        known.run(known, overrides)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lemma",
        description="Prepare data for, and handle results of, training on error-corrective trajectories. "
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


def _merge(known: argparse.Namespace, overrides: list[str]) -> None:
    from lemma_train.training.merge import merge

    merge(known.checkpoint, known.out, known.dtype)
    print(f"Merged: {known.out}")


if __name__ == "__main__":
    main(sys.argv[1:])
