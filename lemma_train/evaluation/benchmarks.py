"""The table of benchmarks, and how one of them becomes a list of questions.

Enters: a benchmark's name and, where it is not taken from the Hub, its file; or an entry of a recipe's `benchmarks`.
Leaves: `Question`s in the order of the file. It asks no model, renders no prompt and grades nothing.

To add a benchmark: an entry of `BENCHMARKS`, with a reader of its rows in `benchmark_rows`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lemma_train.errors import InputError
from lemma_train.evaluation.benchmark_rows import (
    BenchmarkRow,
    read_asdiv,
    read_college_math,
    read_deepmind,
    read_gsm8k,
    read_math,
    read_math500,
    read_mawps,
    read_svamp,
)
from lemma_train.evaluation.drawing import drawn
from lemma_train.records import RowError
from lemma_train.training.sources import Located, iterate, read_sources


@dataclass(frozen=True)
class Question:
    """A question of a benchmark; absent fields are None.

    id: names the question in every run and every copy of the file; begins with the benchmark's name, holds no slash.
    reference: the final answer, as `lemma_train.grading` reads it.
    solution: the worked solution of the source.
    """

    id: str
    benchmark: str
    question: str
    reference: str
    level: str | None = None
    subject: str | None = None
    solution: str | None = None


@dataclass(frozen=True)
class Benchmark:
    """One benchmark.

    read: its rows' reader.
    rows: how many there are.
    shots: worked examples before each question, as in LEMMA's evaluation (arXiv 2503.17439, section 4.1).
    hub, configurations, split: the data set on the Hugging Face Hub; hub is None where it has none with these rows, and
        a file must be named.
    where: where such a file is found.
    """

    read: Callable[[Any], BenchmarkRow]
    rows: int
    shots: int = 0
    hub: str | None = None
    configurations: tuple[str | None, ...] = (None,)
    split: str = "test"
    where: str = ""


_MATH_SUBJECTS = (
    *("algebra", "counting_and_probability", "geometry", "intermediate_algebra", "number_theory", "prealgebra"),
    "precalculus",
)

BENCHMARKS: dict[str, Benchmark] = {
    "gsm8k": Benchmark(read_gsm8k, 1_319, hub="openai/gsm8k", configurations=("main",)),
    "math": Benchmark(read_math, 5_000, hub="EleutherAI/hendrycks_math", configurations=_MATH_SUBJECTS),
    "math500": Benchmark(read_math500, 500, hub="HuggingFaceH4/MATH-500"),
    # Its copy there is cut into 700 and 300 rows of the 1,000 published for testing.
    "svamp": Benchmark(read_svamp, 1_000, shots=4, hub="ChilleD/SVAMP", split="train+test"),
    # EleutherAI/asdiv has all 2,305 rows, and only as a script, which `datasets` no longer runs.
    "asdiv": Benchmark(read_asdiv, 2_215, shots=4, where="2,215 of the rows of github.com/chaochun/nlu-asdiv-dataset"),
    # The copies there have other rows, or numbers in place of the question's own.
    "mawps": Benchmark(read_mawps, 2_354, shots=4, where="the single-equation problems of MAWPS, with lSolutions"),
    "deepmind_math": Benchmark(read_deepmind, 1_000, where="a list of 1,000 rows with question, answer and id"),
    "college_math": Benchmark(
        read_college_math, 2_818, where="the CollegeMath test rows of github.com/microsoft/unilm"
    ),
}


def load_benchmark(
    name: str,
    path: str | None = None,
    limit: int | None = None,
    sample: int | None = None,
    seed: int = 0,
    allow_other_count: bool = False,
) -> list[Question]:
    """Read a benchmark; the same file and seed give the same questions.

    Args:
        name: a key of `BENCHMARKS`.
        path: its file (.jsonl, .json, .csv, .parquet) or a folder of such, in the fields in which it is published;
            None: from the Hub.
        limit: the first so many questions only.
        sample: so many of these, drawn by their ids with the seed, in the file's order.
        allow_other_count: accept another number of rows than the benchmark has.

    Raises:
        InputError: the name is unknown, there is no file, a row is at fault, the number of rows is another, or two
            rows have one id.

    Example:
        >>> load_benchmark("svamp", "data/svamp.jsonl", limit=1)[0].id          # doctest: +SKIP
        'svamp-chal-777'
    """
    if name not in BENCHMARKS:
        raise InputError(f"benchmarks: there is no benchmark {name!r}; the names are {', '.join(BENCHMARKS)}.")
    benchmark, where = BENCHMARKS[name], f"benchmarks: {name}"
    questions: dict[str, Question] = {}
    for number, located in enumerate(_located(benchmark, path, where)):
        try:
            if located.fault is not None:
                raise RowError(*located.fault)
            row = benchmark.read(located.row)
        except RowError as error:
            raise InputError(f"{where}: {located.file}, line {located.line}: {error}; mend the file.") from None
        named = f"{name}-{row.id if row.id is not None else number}"
        if named in questions:
            raise InputError(f"{where}: {located.file}, line {located.line}: a second row has the id {named}.")
        questions[named] = Question(named, name, row.question, row.reference, row.level, row.subject, row.solution)
    if len(questions) != benchmark.rows and not allow_other_count:
        raise InputError(
            f"{where}: it has {len(questions)} rows where {benchmark.rows} belong; take the whole file, or set "
            "allow_other_count: true (limit and sample choose among the rows of a whole file)."
        )
    return draw(list(questions.values())[:limit], sample, seed, where)


def draw(questions: list[Question], count: int | None, seed: int, where: str) -> list[Question]:
    """`count` of the questions in their order, drawn by their ids; all of them where it is None.

    Raises:
        InputError: there are not so many.
    """
    if count is None:
        return questions
    if count > len(questions):
        raise InputError(f"{where}: sample asks for {count} questions of {len(questions)}; ask for fewer.")
    return drawn(questions, count, seed)


def _located(benchmark: Benchmark, path: str | None, where: str) -> list[Located]:
    if path is not None:
        entries: list[dict[str, Any]] = [{"path": path}]
    elif benchmark.hub is not None:
        whole = {"path": benchmark.hub, "split": benchmark.split}
        entries = [{**whole, "name": name} if name else whole for name in benchmark.configurations]
    else:
        raise InputError(
            f"{where}: the Hub does not have it with these rows; name its file with path ({benchmark.where})."
        )
    return [located for source in read_sources(entries, where) for located in iterate(source)]
