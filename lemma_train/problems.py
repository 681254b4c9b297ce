"""The room of questions: where problems come from before any model has seen them.

Enters: the entries of a recipe's `problems` key. Leaves: `Problem`s in the order of the entries, and what was set aside
on the way, with the reason. It asks no model, grades nothing, renders no prompt and writes no file.
"""

import difflib
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from lemma_train.errors import InputError, first_line
from lemma_train.problem_rows import KNOWN_SHAPES, NO_BOXED_ANSWER, ProblemRow, read_problem_row
from lemma_train.records import RowError
from lemma_train.training.sources import Located, check_columns, iterate, read_sources


@dataclass(frozen=True)
class Problem:
    """A question and what is known about its answer.

    id: names the problem everywhere; holds no white space and no slash, because attempts are named
        `<id>/s0`. Of a generated problem it names what is asked, not how it is told: the same sum in two stories has
        one id.
    question: plain text without any template.
    answer: the final answer alone, as its source writes it; of a generated problem a plain number such as "-4".
    solution: a worked solution that states the answer at its end, as "The answer is N." or in MATH's box; None where
        there is none.
    source: the data set, or the kind it was generated as.
    level, subject: as the data set names them, or None.
    """

    id: str
    question: str
    answer: str
    solution: str | None
    source: str
    level: str | None = None
    subject: str | None = None


class SetAside(NamedTuple):
    """A row that is not used: the id that it has or would have, `duplicate_question` or `no_boxed_answer`, and why."""

    id: str
    reason: str
    detail: str


class Loaded(NamedTuple):
    """What `load_problems` returns."""

    problems: list[Problem]
    set_aside: list[SetAside]


def load_problems(entries: Any, seed: int, key: str = "problems") -> Loaded:
    """Read or generate the problems of a recipe; the same entries, files and seed give the same list.

    Args:
        entries: a list of entries, or one. An entry is a mapping, or short for it a path or a name:
            `{source: gsm8k, split, path, revision}`: GSM8K (arXiv 2110.14168) from the Hub (openai/gsm8k), or from a
                file or folder at `path` with its own fields. Ids: `gsm8k-train-<row, from 0>`.
            `{source: math, split, path, revision}`: MATH (arXiv 2103.03874) from the Hub (EleutherAI/hendrycks_math:
                the authors' own copy is gone from there since January 2025), or from `path`. Ids: `math-` and the
                row's unique_id, as in `math-train-algebra-24`, or `math-train-<row>` where it has none.
            `{source: generated, kind, size, seed}`: see `problem_generators`.
            `{source: file, path, split, name, revision, columns}`: the user's own rows in a .jsonl, .json, .csv or
                .parquet file, a folder of them, or a data set of the Hub; shapes as in `problem_rows`, after columns
                such as `{question: Task}` have got the names known there. Ids: the row's own, or the file's name and
                the row.
            Each also takes `limit` (the first so many rows only) and `sample` (so many of these, drawn with the seed
            by their ids, so that a row added elsewhere changes little).
        seed: draws samples, and generated problems whose entry names no seed.
        key: the recipe's key, for messages.

    Returns:
        The problems in the order of entries and rows, and what was set aside: a question that came before (compared
        without regard to white space), and a MATH row without a marked answer.

    Raises:
        InputError: an entry, a file or a row is at fault, or two different questions have one id.

    Example:
        >>> loaded = load_problems([{"source": "generated", "kind": "chain_sum", "size": 2}], seed=0)  # doctest: +SKIP
    """
    problems: dict[str, Problem] = {}
    set_aside: list[SetAside] = []
    first_with: dict[str, str] = {}
    for number, entry in enumerate(entries if isinstance(entries, list) else [entries], start=1):
        where = f"{key}, entry {number}"
        values = _checked(entry, where)
        rows = list(islice(_SOURCES[values["source"]].read(values, seed, problems.keys(), key), values.get("limit")))
        set_aside += [row for row in rows if isinstance(row, SetAside)]
        for problem in _drawn([row for row in rows if isinstance(row, Problem)], values.get("sample"), seed, where):
            asked = hashlib.sha256(" ".join(problem.question.split()).encode()).hexdigest()
            if asked in first_with:
                detail = f"the question was asked before, as {first_with[asked]}"
                set_aside.append(SetAside(problem.id, "duplicate_question", detail))
            elif problem.id in problems:
                raise InputError(
                    f"{where}: two different questions have the id {problem.id}; give each row an id of its own "
                    "or, since rows without one are named after their file, rename one of two files of the same name."
                )
            else:
                first_with[asked] = problem.id
                problems[problem.id] = problem
    if not problems:
        raise InputError(f"{key}: there is no problem; name an entry that has some, such as {{source: gsm8k}}.")
    return Loaded(list(problems.values()), set_aside)


def _drawn(problems: list[Problem], count: int | None, seed: int, where: str) -> list[Problem]:
    """`count` of the problems in their order, or all of them."""
    if count is None:
        return problems
    if count > len(problems):
        raise InputError(f"{where}: sample asks for {count} problems of {len(problems)}; ask for fewer.")
    by_chance = sorted(problems, key=lambda problem: hashlib.sha256(f"{seed} {problem.id}".encode()).digest())
    kept = {problem.id for problem in by_chance[:count]}
    return [problem for problem in problems if problem.id in kept]


def _checked(entry: Any, where: str) -> dict[str, Any]:
    """An entry as a mapping whose keys and values make sense."""
    if isinstance(entry, str):
        entry = {"source": entry} if entry in _SOURCES else {"source": "file", "path": entry}
    if not isinstance(entry, Mapping):
        raise InputError(f"{where} must be a path, a name ({', '.join(_SOURCES)}) or a mapping; it is {entry!r}.")
    values = {"source": "file", **entry} if "path" in entry else dict(entry)
    source = values.get("source")
    if not isinstance(source, str) or source not in _SOURCES:
        known = ", ".join(_SOURCES)
        raise InputError(f"{where}: source must be one of {known}; it is {source!r}{_nearest(source, _SOURCES)}.")
    keys, needed = _SOURCES[source].keys, _SOURCES[source].needed
    for name, value in values.items():
        if name not in keys:
            raise InputError(
                f"{where}: {name!r} is no key of source {source}{_nearest(name, keys)}; the keys are {', '.join(keys)}."
            )
        if name in _WHOLE_NUMBERS:
            least = 0 if name == "seed" else 1
            if type(value) is not int or value < least:
                raise InputError(f"{where}: {name} must be a whole number of at least {least}; it is {value!r}.")
            if name == "size" and value > _MOST_GENERATED:
                raise InputError(f"{where}: size must be at most {_MOST_GENERATED:,}; it is {value}.")
        elif name == "columns":
            check_columns(value, where)
        elif not isinstance(value, str) or not value:
            raise InputError(f"{where}: {name} must be text; it is {value!r}.")
    try:
        Path(values.get("path", "")).expanduser().exists()
    except (OSError, RuntimeError) as error:
        raise InputError(f"{where}: {values['path'][:200]!r} can be no path: {first_line(error)[:200]}.") from error
    for name in needed:
        if name not in values:
            raise InputError(f"{where}: source {source} needs the key {name!r}.")
    return values


def _nearest(name: Any, known: Iterable[str]) -> str:
    nearest = difflib.get_close_matches(str(name), list(known), n=1)
    return f" (did you mean {nearest[0]}?)" if nearest else ""


def _gsm8k(values: Mapping[str, Any], seed: int, taken: Collection[str], key: str) -> Iterator[Problem]:
    split = values.get("split", "train")
    for number, (located, row) in enumerate(_rows(values, key, "openai/gsm8k", ("main",))):
        if row is None or row.solution is None:
            raise _bad_row(key, located, "the answer has no worked solution with '#### n' at its end")
        yield _problem(row, f"gsm8k-{split}-{number}", "gsm8k")


def _math(values: Mapping[str, Any], seed: int, taken: Collection[str], key: str) -> Iterator[Problem | SetAside]:
    split = values.get("split", "train")
    for number, (located, row) in enumerate(_rows(values, key, "EleutherAI/hendrycks_math", _MATH_SUBJECTS)):
        if row is None:
            yield _unmarked(f"math-{split}-{number}")
        else:
            own = _own_id(row, key, located)
            yield _problem(row, f"math-{own}" if own else f"math-{split}-{number}", "math")


def _file(values: Mapping[str, Any], seed: int, taken: Collection[str], key: str) -> Iterator[Problem | SetAside]:
    root = Path(values["path"]).expanduser()
    numbers: Counter[str] = Counter()
    for located, row in _rows(values, key):
        file = Path(located.file)
        within = file.relative_to(root) if root.is_dir() else Path(file.name)
        name = _NOT_IN_IDS.sub("-", "-".join(within.with_suffix("").parts))
        number = numbers[located.file]
        numbers[located.file] += 1
        if row is None:
            yield _unmarked(f"{name}-{number}")
        else:
            yield _problem(row, _own_id(row, key, located) or f"{name}-{number}", row.source or name)


def _generated(values: Mapping[str, Any], seed: int, taken: Collection[str], key: str) -> Iterator[Problem]:
    from lemma_train.problem_generators import generate

    yield from generate(values["kind"], values["size"], values.get("seed", seed), avoid=taken)


def _rows(
    values: Mapping[str, Any], key: str, hub_name: str = "", configurations: tuple[str, ...] = ()
) -> Iterator[tuple[Located, ProblemRow | None]]:
    """The rows at the entry's path, or of a Hub data set; None for a solution with no marked answer."""
    given = {name: values[name] for name in ("path", "split", "name", "revision", "columns") if name in values}
    hub = [{**given, "path": hub_name, "name": name} for name in configurations]
    for source in read_sources([given] if "path" in given else hub, key):
        for located in iterate(source):
            if located.fault is not None:
                raise _bad_row(key, located, located.fault[1])
            try:
                row = read_problem_row(located.row)
            except RowError as error:
                if error.reason != NO_BOXED_ANSWER:
                    raise _bad_row(key, located, str(error)) from None
                row = None
            yield located, row


def _unmarked(name: str) -> SetAside:
    return SetAside(name, NO_BOXED_ANSWER, r"the solution has no answer in \boxed{...}")


def _own_id(row: ProblemRow, key: str, located: Located) -> str | None:
    if row.id is None:
        return None
    own = row.id.replace("/", "-")
    if len(own) > _LONGEST_ID or not own.isprintable() or re.search(r"\s", own):
        raise _bad_row(key, located, f"the id {row.id[:80]!r} holds white space or has over {_LONGEST_ID} characters")
    return own


def _problem(row: ProblemRow, name: str, source: str) -> Problem:
    return Problem(name, row.question, row.answer, row.solution, source, row.level, row.subject)


def _bad_row(key: str, located: Located, detail: str) -> InputError:
    return InputError(
        f"{key}: {located.file}, line {located.line}: {detail}. Mend the row or take it out; a row has {KNOWN_SHAPES}."
    )


class _SourceKind(NamedTuple):
    read: Callable[[Mapping[str, Any], int, Collection[str], str], Iterator[Problem | SetAside]]
    keys: tuple[str, ...]
    needed: tuple[str, ...] = ()


_WHOLE_NUMBERS = ("limit", "sample", "size", "seed")
_MOST_GENERATED = 1_000_000  # far beyond what any kind has, so that the search for more ends
_LONGEST_ID = 200  # ids name files
_NOT_IN_IDS = re.compile(r"[^\w.+-]+")
_MATH_SUBJECTS = (
    "algebra",
    "counting_and_probability",
    "geometry",
    "intermediate_algebra",
    "number_theory",
    "prealgebra",
    "precalculus",
)
_SOURCES = {
    "gsm8k": _SourceKind(_gsm8k, ("source", "split", "path", "revision", "limit", "sample")),
    "math": _SourceKind(_math, ("source", "split", "path", "revision", "limit", "sample")),
    "generated": _SourceKind(_generated, ("source", "kind", "size", "seed", "limit", "sample"), ("kind", "size")),
    "file": _SourceKind(
        _file, ("source", "path", "split", "name", "revision", "columns", "limit", "sample"), ("path",)
    ),
}
