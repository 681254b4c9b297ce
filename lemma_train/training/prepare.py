"""Rows become the training set on disk: lint, tokenise, split, cache, report.

Enters: a recipe and a renderer. Leaves: `<output_dir>/prepared`, a `datasets` folder with the columns input_ids,
labels, length, id and source (loss_weights too, where rows are weighted), its held-out part in `prepared/eval`, and
the data report. The folder appears whole, under its name, or not at all, and carries the fingerprint of everything
that went into it; a second run with the same fingerprint reads it instead. It trains nothing.
"""

import dataclasses
import hashlib
import json
import os
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lemma_train.errors import InputError, first_line
from lemma_train.template import Renderer
from lemma_train.training import data_report
from lemma_train.training.lint import Linter, Tally
from lemma_train.training.mixture import held_out, weighted_indices
from lemma_train.training.recipe import Recipe
from lemma_train.training.recipe_keys import ROW_KEYS
from lemma_train.training.sources import fingerprint_of, read_sources
from lemma_train.training.tokenise import tokenise

if TYPE_CHECKING:
    from datasets import Dataset

FORMAT_VERSION = 1
FAILED_FILE = "prepared.failed"  # the message of a rank 0 that found the rows at fault, for the ranks that wait
_WAIT_SECONDS, _REMIND_SECONDS, _CLOCK_SKEW_SECONDS = 0.5, 60.0, 10.0


@dataclass(frozen=True)
class Prepared:
    """A prepared training set: where it lies, the fingerprint of what went into it, and its report."""

    folder: Path
    fingerprint: str
    report: dict[str, Any]
    cached: bool

    def load(self) -> "tuple[Dataset, Dataset | None]":
        """The training rows and the held-out rows (None where there are none), memory-mapped."""
        from datasets import load_from_disk

        evaluation = self.folder / "eval"
        return load_from_disk(str(self.folder)), load_from_disk(str(evaluation)) if evaluation.is_dir() else None


def fingerprint(recipe: Recipe, renderer: Renderer) -> str:
    """16 hexadecimal digits over rows, tokenizer, template and the settings that shape the prepared set."""
    parts = {
        "format": FORMAT_VERSION,
        "template": renderer.fingerprint,
        "tokenizer": _tokenizer_hash(renderer),
        "eos": renderer.tokenizer.eos_token_id,
        "settings": _settings(recipe),
        "train": [fingerprint_of(source) for source in read_sources(recipe["train_files"])],
        "eval": [fingerprint_of(source) for source in read_sources(recipe["eval_files"], "eval_files")],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _tokenizer_hash(renderer: Renderer) -> str:
    state = json.loads(renderer.tokenizer.backend_tokenizer.to_str())
    for last_call in ("padding", "truncation"):  # options of whatever call came last, without effect on the rows
        state.pop(last_call, None)
    return hashlib.sha256(json.dumps(state).encode()).hexdigest()


def _settings(recipe: Recipe) -> dict[str, Any]:
    return {key: recipe[key] for key in ROW_KEYS} | {"seed": recipe.data_seed}


def prepare(recipe: Recipe, renderer: Renderer, wanted: str | None = None) -> Prepared:
    """Prepare the rows of a recipe, or find them prepared; `wanted` is their fingerprint, if it is known already.

    Raises:
        InputError: no row is left, too many are bad, templates are mixed, or a row is over-long with
            `overlong: error`. Nothing of an earlier prepared set is touched then.
    """
    wanted = wanted or fingerprint(recipe, renderer)
    target = recipe.output_dir / "prepared"
    found = find_prepared(target, wanted)
    if found is None:
        staging = target.with_name(f"prepared.{os.getpid()}.tmp")
        for leftover in target.parent.glob("prepared.*.*"):  # of a run that was killed here; the lock keeps others out
            shutil.rmtree(leftover, ignore_errors=True)
        # Rows are streamed to a folder of their own: datasets refuses to save beside the file that it reads from.
        scratch = staging.with_suffix(".rows")
        try:
            for folder in (staging, scratch):
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir(parents=True)
            _write(recipe, renderer, wanted, staging, scratch)
            _replace(target, staging)
        except OSError as error:
            raise InputError(f"output_dir: the prepared rows cannot be written: {first_line(error)}.") from error
        finally:
            for folder in (staging, scratch):
                shutil.rmtree(folder, ignore_errors=True)
        found = dataclasses.replace(_opened(target), cached=False)
    bad, rows_in = found.report["bad"], found.report["rows_in"]
    if rows_in and bad / rows_in > recipe["max_bad_share"]:
        raise InputError(
            f"{found.folder}/rejected.jsonl lists {bad} bad rows of {rows_in}, more than max_bad_share allows."
        )
    return found


def find_prepared(folder: Path, wanted: str) -> Prepared | None:
    """The prepared set in `folder` where it is whole and has the wanted fingerprint, else None.

    Whole means that every file has the size that it was written with; no library of data sets is imported to say so.
    """
    try:
        prepared = _opened(folder)
        whole = all((folder / name).stat().st_size == size for name, size in prepared.report["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # missing, cut short, or not our report
        return None
    return prepared if whole and prepared.fingerprint == wanted else None


def wait_for_prepared(folder: Path, wanted: str) -> Prepared:
    """Wait until another rank has prepared the rows.

    By polling, not in a collective: tokenising may take longer than the distributed timeout allows.

    Raises:
        InputError: the other rank has found the rows at fault; its message is passed on, because a launcher on
            another node may not notice that rank 0 has ended.
    """
    reminded = time.monotonic()
    began = time.time() - _CLOCK_SKEW_SECONDS
    failed = folder.with_name(FAILED_FILE)
    while (found := find_prepared(folder, wanted)) is None:
        if failed.exists() and failed.stat().st_mtime > began:
            raise InputError(failed.read_text(encoding="utf-8"))
        time.sleep(_WAIT_SECONDS)
        if time.monotonic() - reminded > _REMIND_SECONDS:
            reminded = time.monotonic()
            print(
                f"rank {os.environ.get('RANK', '?')} waits for {folder}, which rank 0 is preparing; if that folder is "
                "not on a disk that this node shares, choose an output_dir that is.",
                flush=True,
            )
    return found


def _opened(folder: Path) -> Prepared:
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return Prepared(folder, report["fingerprint"], report, cached=True)


def _replace(target: Path, staging: Path) -> None:
    old = target.with_name(f"{target.name}.{os.getpid()}.old")
    if target.exists():
        target.rename(old)
    try:
        staging.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _write(recipe: Recipe, renderer: Renderer, wanted: str, folder: Path, scratch: Path) -> None:
    import datasets

    if not sys.stderr.isatty():
        datasets.disable_progress_bars()  # they would fill a log with control characters
    linter = Linter(renderer, recipe["wrapped_rows"], recipe["drop_duplicates"])
    sources = read_sources(recipe["train_files"])
    found = tokenise(recipe, renderer, linter, sources, scratch / "rows.arrow", folder)
    linter.tally.check_share(recipe["max_bad_share"])
    if not len(found):
        raise InputError(f"train_files: no row is left to train on ({linter.tally.counts()}).")
    left_out = held_out(found.questions, recipe["eval_fraction"])
    weights = [source.weight for source in sources]
    chosen = weighted_indices(found.origins, left_out, weights, recipe.data_seed)
    train = found.rows.select(chosen)
    evaluation = found.rows.select(np.flatnonzero(left_out)) if left_out.any() else None
    eval_sources = read_sources(recipe["eval_files"], "eval_files")
    if eval_sources:
        # Their own linter: a held-out row that also stands in the training rows must not vanish without a count.
        eval_linter = Linter(renderer, recipe["wrapped_rows"], recipe["drop_duplicates"], "eval_files")
        extra = tokenise(recipe, renderer, eval_linter, eval_sources, scratch / "eval.arrow", folder)
        eval_linter.tally.check_share(recipe["max_bad_share"], "eval_files")
        if not len(extra):
            raise InputError(f"eval_files: no row is left to evaluate on ({eval_linter.tally.counts()}).")
        evaluation = extra.rows if evaluation is None else datasets.concatenate_datasets([evaluation, extra.rows])
    eval_tally = eval_linter.tally if eval_sources else Tally()
    train.save_to_disk(str(folder))
    if evaluation is not None:
        evaluation.save_to_disk(str(folder / "eval"))
    supervised = int(found.supervised[chosen].sum(dtype=np.int64))
    marked = recipe["error_span_weight"] != 1.0
    report = data_report.build(linter.tally, train, evaluation, renderer, supervised, marked)
    report |= {"eval_rows_in": eval_tally.rows_in, "eval_rejected": dict(eval_tally.reasons)}
    report |= {"fingerprint": wanted, "template": renderer.description(), "template_fingerprint": renderer.fingerprint}
    report["made_from"] = recipe.keys_of_rows
    files = [file for kind in ("*.arrow", "*.json") for file in sorted(folder.rglob(kind))]
    report["files"] = {str(file.relative_to(folder)): file.stat().st_size for file in files}
    data_report.write(report, train["length"][:], folder)
