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
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lemma_train.errors import InputError, first_line
from lemma_train.records import Trajectory
from lemma_train.template import Encoded, Renderer
from lemma_train.training import data_report
from lemma_train.training.lint import Linter, Rejection
from lemma_train.training.recipe import Recipe
from lemma_train.training.sources import Located, Source, fingerprint_of, iterate, read_sources

if TYPE_CHECKING:
    from datasets import Dataset

FORMAT_VERSION = 1
BATCH_ROWS = 2000  # rows tokenised together: enough for every core, little enough to stay small in memory
_WAIT_SECONDS, _REMIND_SECONDS = 0.5, 60.0


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

        held_out = self.folder / "eval"
        return load_from_disk(str(self.folder)), load_from_disk(str(held_out)) if held_out.is_dir() else None


def fingerprint(recipe: Recipe, renderer: Renderer) -> str:
    """16 hexadecimal digits over rows, tokenizer, template and the settings that shape the prepared set."""
    parts = {
        "format": FORMAT_VERSION,
        "template": renderer.fingerprint,
        "tokenizer": hashlib.sha256(renderer.tokenizer.backend_tokenizer.to_str().encode()).hexdigest(),
        "eos": renderer.tokenizer.eos_token_id,
        "settings": _settings(recipe),
        "train": [fingerprint_of(source) for source in read_sources(recipe["train_files"])],
        "eval": [fingerprint_of(source) for source in read_sources(recipe["eval_files"], "eval_files")],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _settings(recipe: Recipe) -> dict[str, Any]:
    keys = ("max_length", "overlong", "drop_duplicates", "wrapped_rows", "error_span_weight", "eval_fraction")
    return {key: recipe[key] for key in keys} | {"seed": _seed(recipe)}


def _seed(recipe: Recipe) -> int:
    return recipe["seed"] if recipe["data_seed"] is None else recipe["data_seed"]


def prepare(recipe: Recipe, renderer: Renderer) -> Prepared:
    """Prepare the rows of a recipe, or find them prepared.

    Raises:
        InputError: no row is left, too many are bad, templates are mixed, or a row is over-long with
            `overlong: error`. Nothing of an earlier prepared set is touched then.
    """
    wanted = fingerprint(recipe, renderer)
    target = recipe.output_dir / "prepared"
    found = find_prepared(target, wanted)
    if found is None:
        staging = target.with_name(f"prepared.{os.getpid()}.tmp")
        shutil.rmtree(staging, ignore_errors=True)
        try:
            staging.mkdir(parents=True)
            _write(recipe, renderer, wanted, staging)
            _replace(target, staging)
        except OSError as error:
            raise InputError(f"output_dir: the prepared rows cannot be written: {first_line(error)}.") from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        found = dataclasses.replace(_opened(target), cached=False)
    bad, rows_in = found.report["bad"], found.report["rows_in"]
    if rows_in and bad / rows_in > recipe["max_bad_share"]:
        raise InputError(
            f"{found.folder}/rejected.jsonl lists {bad} bad rows of {rows_in}, more than max_bad_share allows."
        )
    return found


def find_prepared(folder: Path, wanted: str) -> Prepared | None:
    """The prepared set in `folder` where it is whole and has the wanted fingerprint, else None."""
    try:
        prepared = _opened(folder)
    except (OSError, ValueError, KeyError):
        return None
    sizes_agree = all(
        (folder / name).is_file() and (folder / name).stat().st_size == size
        for name, size in prepared.report["files"].items()
    )
    return prepared if prepared.fingerprint == wanted and sizes_agree else None


def wait_for_prepared(folder: Path, wanted: str) -> Prepared:
    """Wait until another rank has prepared the rows.

    By polling, not in a collective: tokenising may take longer than the distributed timeout allows.
    """
    reminded = time.monotonic()
    while (found := find_prepared(folder, wanted)) is None:
        time.sleep(_WAIT_SECONDS)
        if time.monotonic() - reminded > _REMIND_SECONDS:
            reminded = time.monotonic()
            print(
                f"rank {os.environ.get('RANK', '?')} waits for {folder}, which rank 0 is preparing; if that folder is "
                "not shared between the nodes, set save_on_each_node: true.",
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
    staging.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def _write(recipe: Recipe, renderer: Renderer, wanted: str, folder: Path) -> None:
    linter = Linter(renderer, recipe["wrapped_rows"], recipe["drop_duplicates"])
    sources = read_sources(recipe["train_files"])
    table, origins, questions = _tokenise(recipe, renderer, linter, sources, folder / "rows.arrow")
    linter.tally.check_share(recipe["max_bad_share"])
    if not len(origins):
        counts = ", ".join(f"{n} {reason}" for reason, n in linter.tally.reasons.items()) or "the files hold no row"
        raise InputError(f"train_files: no row is left to train on ({counts}).")
    held_out = _held_out(questions, recipe["eval_fraction"], _seed(recipe))
    chosen = _weighted_indices(origins, held_out, [source.weight for source in sources], _seed(recipe))
    train = table.select(chosen)
    evaluation = table.select(np.flatnonzero(held_out)) if held_out.any() else None
    eval_sources = read_sources(recipe["eval_files"], "eval_files")
    if eval_sources:
        # Their own linter: a held-out row that also stands in the training rows must not vanish without a count.
        eval_linter = Linter(renderer, recipe["wrapped_rows"], recipe["drop_duplicates"])
        extra, _, _ = _tokenise(recipe, renderer, eval_linter, eval_sources, folder / "eval.arrow")
        eval_linter.tally.check_share(recipe["max_bad_share"])
        evaluation = extra if evaluation is None else _concatenate(evaluation, extra)
    train.save_to_disk(str(folder))
    if evaluation is not None:
        evaluation.save_to_disk(str(folder / "eval"))
    report = data_report.build(linter.tally, train, evaluation, renderer)
    report |= {"fingerprint": wanted, "template": renderer.description(), "template_fingerprint": renderer.fingerprint}
    report["files"] = {p.name: p.stat().st_size for p in sorted(folder.glob("data-*.arrow"))}
    for scratch in folder.glob("*.arrow"):
        if scratch.name in ("rows.arrow", "eval.arrow"):
            scratch.unlink()
    data_report.write(report, train["length"][:], folder)


def _concatenate(first: "Dataset", second: "Dataset") -> "Dataset":
    from datasets import concatenate_datasets

    return concatenate_datasets([first, second])


def _tokenise(
    recipe: Recipe, renderer: Renderer, linter: Linter, sources: list[Source], scratch: Path
) -> "tuple[Dataset, np.ndarray, np.ndarray]":
    """Stream rows through linter and renderer into an Arrow file.

    Returns:
        the rows as a memory-mapped Dataset; for each the index of its source, shape (n,); and a hash of its question,
        shape (n,), by which held-out questions are drawn.
    """
    import pyarrow as pa
    from datasets import Dataset

    max_length, weight = recipe["max_length"], recipe["error_span_weight"]
    columns = {"input_ids": pa.list_(pa.int32()), "labels": pa.list_(pa.int32()), "length": pa.int32()}
    columns |= {"id": pa.string(), "source": pa.string()}
    if weight not in (0.0, 1.0):
        columns["loss_weights"] = pa.list_(pa.float32())
    schema = pa.schema(list(columns.items()))
    origins: list[int] = []
    questions: list[int] = []
    with pa.OSFile(str(scratch), "wb") as sink, pa.ipc.new_stream(sink, schema) as stream, _Rejected(scratch) as rejected:
        for batch in _batches(_linted(sources, linter, rejected)):
            encoded = renderer.encode_batch(
                [row.instruction for _, _, row in batch],
                [row.output for _, _, row in batch],
                [row.error_span for _, _, row in batch],
                weight,
            )
            kept = []
            for (origin, located, row), ids in zip(batch, encoded, strict=True):
                length = len(ids.input_ids)
                if max_length is not None and length > max_length:
                    detail = f"the row has {length} tokens, more than max_length {max_length}"
                    if recipe["overlong"] == "error":
                        raise InputError(f"{located.file}, line {located.line}: {detail}; set overlong: drop to go on.")
                    rejected.add(linter.tally.reject(Rejection(located.file, located.line, "overlong", detail)))
                    continue
                kept.append((row, ids, located))
                origins.append(origin)
                questions.append(_question_hash(row, _seed(recipe)))
            stream.write_batch(_record_batch(kept, schema))
    return Dataset.from_file(str(scratch)), np.asarray(origins, dtype=np.int32), np.asarray(questions, dtype=np.uint64)


def _record_batch(kept: list[tuple[Trajectory, Encoded, Located]], schema: Any) -> Any:
    import pyarrow as pa

    values = {
        "input_ids": [ids.input_ids for _, ids, _ in kept],
        "labels": [ids.labels for _, ids, _ in kept],
        "length": [len(ids.input_ids) for _, ids, _ in kept],
        "id": [row.id or f"{Path(located.file).name}:{located.line}" for row, _, located in kept],
        "source": [row.source for row, _, _ in kept],
        "loss_weights": [ids.loss_weights for _, ids, _ in kept],
    }
    return pa.record_batch([pa.array(values[name], schema.field(name).type) for name in schema.names], schema=schema)


def _linted(
    sources: list[Source], linter: Linter, rejected: "_Rejected"
) -> Iterator[tuple[int, Located, Trajectory]]:
    for origin, source in enumerate(sources):
        for located in _with_progress(iterate(source), source.path):
            row = linter.accept(located)
            if isinstance(row, Rejection):
                rejected.add(row)
            else:
                yield origin, located, row


def _batches(rows: Iterator[tuple[int, Located, Trajectory]]) -> Iterator[list[tuple[int, Located, Trajectory]]]:
    batch = []
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH_ROWS:
            yield batch
            batch = []
    if batch:
        yield batch


def _with_progress(rows: Iterable[Located], name: str) -> Iterator[Located]:
    from tqdm import tqdm

    bar = tqdm(rows, desc=f"preparing {name}", unit=" rows", disable=not sys.stderr.isatty())
    yield from bar


def _question_hash(row: Trajectory, seed: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}\0{row.instruction}".encode(), digest_size=8).digest(), "big")


def _held_out(questions: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Mark the rows of about `fraction` of the questions; all rows of one question stay on one side."""
    if not fraction:
        return np.zeros(len(questions), dtype=bool)
    distinct = np.unique(questions)  # hashed with the seed, so their order is a random one
    count = round(fraction * len(distinct))
    if not 0 < count < len(distinct):
        raise InputError(
            f"eval_fraction: {fraction:g} of {len(distinct)} questions leaves one side empty; give more rows or "
            "another fraction."
        )
    return np.isin(questions, distinct[:count])


def _weighted_indices(origins: np.ndarray, held_out: np.ndarray, weights: list[float], seed: int) -> np.ndarray:
    """Indices of the training rows in file order; each source's rows taken `weight` times, fractions drawn."""
    chosen = []
    for origin, weight in enumerate(weights):
        rows = np.flatnonzero((origins == origin) & ~held_out)
        whole, fraction = divmod(weight, 1)
        draw = np.random.default_rng([seed, origin]).permutation(len(rows))[: round(fraction * len(rows))]
        chosen.append(np.concatenate([np.tile(rows, int(whole)), rows[np.sort(draw)]]))
    indices = np.concatenate(chosen)
    if not len(indices):
        raise InputError("train_files: the weights leave no row to train on; raise them.")
    return indices


class _Rejected:
    """Appends rejections to `rejected.jsonl` beside the Arrow file."""

    def __init__(self, scratch: Path):
        self._path = scratch.with_name("rejected.jsonl")

    def __enter__(self) -> "_Rejected":
        self._stream = self._path.open("a", encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def add(self, rejection: Rejection) -> None:
        self._stream.write(json.dumps(dataclasses.asdict(rejection), ensure_ascii=False) + "\n")
