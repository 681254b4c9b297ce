"""The door of training: `accelerate launch lemma_train/sft.py RECIPE [--key value ...]`.

Read it top to bottom: recipe, tokenizer, rows, model, trainer, results. Everything that the user's input can get wrong
is checked before the next thing is loaded, and nothing on disk is replaced before the resume has been decided.
"""

import errno
import os
import sys
from pathlib import Path

# Started as a script, Python puts this file's folder first: its parent is where the package lies.
if __package__ in (None, ""):
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from lemma_train.errors import InputError, Stopped, first_line, user_errors_exit_with_2
from lemma_train.visible_text import visible

_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
USAGE = "usage: accelerate launch lemma_train/sft.py RECIPE [--key value ...]"


def main(arguments: list[str]) -> None:
    """Train what a recipe says.

    Raises:
        InputError: the recipe, the rows, the model folder or the output folder is at fault.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        print(f"{USAGE}\nRECIPE is a YAML file, see recipes/ and docs/recipes.md; any key of it can be overridden.")
        return
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # TRL would report each run to the Hub

    from lemma_train.training.recipe import load_recipe

    recipe = load_recipe(arguments[0], arguments[1:])

    from lemma_train.training import starts
    from lemma_train.training.compatibility import check_recipe
    from lemma_train.training.lock import FolderInUse
    from lemma_train.training.run import train

    try:
        check_recipe(recipe, os.environ)
        train(recipe)
    except Stopped as stopped:
        if os.environ.get("RANK", "0") == "0":
            print(f"sft.py: {visible(str(stopped))}", file=sys.stderr)
        sys.exit(1)
    except FolderInUse:
        raise  # the files in the folder are the other run's
    except Exception as error:  # tokenizers raises a bare Exception; what is not about the disk goes on
        if not _is_full_disk(error):
            starts.note_failure(recipe.output_dir, error)
            raise
        fault = InputError(
            f"output_dir: {recipe.output_dir} cannot be written: {first_line(error)}. Complete checkpoints on it are "
            "untouched; free some space and start again."
        )
        starts.note_failure(recipe.output_dir, fault)
        raise fault from error


def _is_full_disk(error: BaseException | None) -> bool:
    """Whether a full or read-only disk lies behind an exception.

    Only the text tells where safetensors (Rust) and torch's archive writer report it.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
            return True
        if any(sign in str(error) for sign in ("No space left on device", "Disk quota", "PytorchStreamWriter failed")):
            return True
        error = error.__cause__ or error.__context__
    return False


if __name__ == "__main__":
    with user_errors_exit_with_2("sft.py"):
        main(sys.argv[1:])
