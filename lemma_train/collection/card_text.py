"""The words of a data card: numbers become Markdown with the Hub's metadata block.

Enters: the numbers that `data_card` gathers. Leaves: text. It reads and counts nothing.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from lemma_train.collection.dataset_files import PARQUET
from lemma_train.visible_text import visible

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_FIELDS = """\
| field | meaning |
| --- | --- |
| `id` | names the question, the attempt and the kind of correction |
| `instruction` | the question, without any prompt template |
| `input` | empty |
| `output` | the text to learn: wrong beginning, reflection, right solution; or a plain solution |
| `source` | the data set of the question |
| `strategy` | `fix_and_continue`, `fresh_and_restart`, `reference` (worked solution), `sample` (student's) |
| `error_origin` | `student` (the student's own error), `injected` (written by the teacher) or null |
| `error_type` | the kind of error, or null |
| `error_span` | `[start, end)` characters of `output` that hold the wrong part, or null |
| `answer` | the final answer |
"""


def card_text(numbers: Mapping[str, Any], pictures: Sequence[str]) -> str:
    """The card as Markdown.

    Args:
        numbers: see `data_card.write_card`, whose result this is.
        pictures: names of the PNG files beside the card.
    """
    sections = [
        _front_matter(numbers),
        f"# {_inline(numbers['name'])}",
        "Solutions of mathematical problems, among them error-corrective trajectories: a wrong beginning, a reflection "
        "that notices the error, and a right solution. The method is LEMMA "
        "([arXiv 2503.17439](https://arxiv.org/abs/2503.17439)); collected with `lemma_train`.",
        "```python\nfrom datasets import load_dataset\n\nrows = load_dataset(FOLDER_OR_HUB_NAME, split='train')\n```",
        _FIELDS,
        *_contents(numbers),
        *_error_types(numbers, pictures),
        *_funnel(numbers, pictures),
        *_assembly(numbers["assembled"]),
        *_origin(numbers),
        *_examples(numbers["examples"]),
        "## Limits",
        "Final answers were compared with reference answers by program; the steps before them were not proved. Error "
        "types and reflections are a model's judgement. `card.json` holds every number of this page.",
    ]
    return "\n\n".join(section.strip("\n") for section in sections) + "\n"


def _front_matter(numbers: Mapping[str, Any]) -> str:
    size = next((name for limit, name in _SIZES if numbers["rows"] < limit), "1M<n<10M")
    values = {
        **({"license": numbers["license"]} if numbers["license"] else {}),
        "pretty_name": numbers["name"],
        "task_categories": ["text-generation"],
        "tags": ["math", "lemma", "error-correction", "sft"],
        "size_categories": [size],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": PARQUET}]}],
    }
    return f"---\n{yaml.safe_dump(values, sort_keys=False, allow_unicode=True)}---"


def _contents(numbers: Mapping[str, Any]) -> list[str]:
    rows = numbers["rows"]
    origins = sorted({origin for counts in numbers["strategies"].values() for origin in counts})
    by_strategy = [
        [name, *(f"{counts.get(origin, 0):,}" for origin in origins), f"{sum(counts.values()):,}"]
        for name, counts in numbers["strategies"].items()
    ]
    lengths = [
        [
            f"output, {'characters' if unit == 'chars' else unit}",
            *(f"{values[key]:,}" for key in ("mean", "p50", "p95", "max")),
        ]
        for unit, values in numbers["lengths"].items()
    ]
    wrong = numbers["wrong_share"]
    return [
        "## Contents",
        f"{rows:,} rows over {numbers['questions']:,} questions."
        + (f" On average {wrong:.0%} of a trajectory's characters are marked as wrong." if wrong is not None else ""),
        _table(["strategy", *(origin if origin != "none" else "no error" for origin in origins), "rows"], by_strategy),
        _table(
            ["source", "rows", "questions"],
            [
                [_inline(name), f"{held['rows']:,}", f"{held['questions']:,}"]
                for name, held in numbers["sources"].items()
            ],
        ),
        _table(["length", "mean", "median", "95th percentile", "longest"], lengths),
    ]


def _error_types(numbers: Mapping[str, Any], pictures: Sequence[str]) -> list[str]:
    in_set, measured = numbers["error_types"], numbers["students_error_types"]
    if not in_set and not measured:
        return []
    names = sorted({*in_set, *measured}, key=lambda name: (-in_set.get(name, 0), -measured.get(name, 0), name))
    sums = sum(in_set.values()), sum(measured.values())
    rows = [
        [
            f"`{name}`",
            *(_share(counts.get(name, 0), total) for counts, total in zip((in_set, measured), sums, strict=True)),
        ]
        for name in names
    ]
    return [
        "## Error types",
        "Counted in this set, and as measured among the student's own wrong answers.",
        _table(["error type", "in the set", "student's errors"], rows),
        *_pictures(pictures, "error_types"),
    ]


def _funnel(numbers: Mapping[str, Any], pictures: Sequence[str]) -> list[str]:
    if not numbers["stages"]:
        return []
    rows, graded = [], []
    for stage in numbers["stages"]:
        aside = sorted(stage["reasons"].items(), key=lambda reason: (-reason[1], reason[0]))
        told = ", ".join(f"{count:,} `{name}`" for name, count in aside)
        rows.append([stage["stage"], f"{stage['entered']:,}", f"{stage['kept']:,}", told])
        if outcomes := stage.get("outcomes"):
            verdicts = ", ".join(f"{count:,} {name}" for name, count in outcomes.items())
            graded.append(f"Verdicts on {sum(outcomes.values()):,} answers, kept or set aside: {verdicts}.")
    return [
        "## From questions to rows",
        _table(["stage", "in", "kept", "set aside, by reason"], rows),
        *graded,
        *_pictures(pictures, "funnel"),
    ]


def _assembly(assembled: Mapping[str, Any] | None) -> list[str]:
    if assembled is None:
        return []
    sections = []
    cut = [pool for pool in assembled["pools"] if pool["taken"] < pool["at_hand"]]
    if cut:
        short = [_pool(pool) for pool in assembled["pools"] if pool["taken"] == pool["at_hand"]]
        sections += [
            "## What was cut",
            "Rows that passed every check but are over the proportions or the number of rows asked for"
            + (f"; every row of {', '.join(short)} is in the set." if short else "."),
            _table(
                ["kind", "at hand", "taken"],
                [[_pool(pool), f"{pool['at_hand']:,}", f"{pool['taken']:,}"] for pool in assembled["pools"]],
            ),
        ]
    if assembled["benchmarks"]:
        found = assembled["contaminated"]
        sections += [
            "## Decontamination",
            "Questions that stand in a benchmark were removed with all their rows: those that are equal but for case "
            f"and punctuation, and those that share runs of 13 words (at least {assembled['overlap']:.0%} of the runs "
            "of the shorter question).",
            _table(
                ["benchmark file", "its questions", "removed: equal", "removed: overlap"],
                [
                    [
                        _inline(name),
                        f"{count:,}",
                        *(f"{found.get(name, {}).get(kind, 0):,}" for kind in ("exact", "overlap")),
                    ]
                    for name, count in assembled["benchmarks"].items()
                ],
            ),
        ]
    return sections


def _origin(numbers: Mapping[str, Any]) -> list[str]:
    sections = []
    if numbers["models"] or numbers["prompts"]:
        rows = [[role, f"`{_code(model)}`"] for role, model in numbers["models"].items()]
        rows += [[f"prompt of {task}", f"`{fingerprint}`"] for task, fingerprint in numbers["prompts"].items()]
        sections += ["## Models and prompts", _table(["", "name or fingerprint"], rows)]
    if numbers["usage"]:
        keys = ("replies", "prompt_tokens", "cached_tokens", "completion_tokens")
        usage = dict(numbers["usage"])
        usage["total"] = {key: sum(sums[key] for sums in numbers["usage"].values()) for key in (*keys, "cost")}
        rows = [[task, *(f"{sums[key]:,}" for key in keys), f"{sums['cost']:,.2f}"] for task, sums in usage.items()]
        header = ["task", "replies", "prompt tokens", "of them cached", "reply tokens", f"cost ({numbers['currency']})"]
        sections += ["## Tokens and cost", _table(header, rows)]
    return sections


def _examples(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    sections = ["## Examples", "Drawn at random; `[[` and `]]` enclose the part that is marked as wrong."]
    for row in rows:
        output, span = row["output"], row["error_span"]
        if span:
            output = f"{output[: span[0]]}[[{output[span[0] : span[1]]}]]{output[span[1] :]}"
        facts = [row["strategy"], row["error_origin"], row["error_type"], f"answer {row['answer']}"]
        text = visible(f"{row['instruction']}\n\n{output}")
        fence = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
        told = ", ".join(_inline(fact) for fact in facts if fact)
        sections.append(f"**{_inline(row['id'])}**: {told}\n\n{fence}text\n{text}\n{fence}")
    return sections


def _pictures(pictures: Sequence[str], stem: str) -> list[str]:
    return [f"![{stem.replace('_', ' ')}]({name})" for name in pictures if name.startswith(stem)]


def _pool(pool: Mapping[str, Any]) -> str:
    return " / ".join(name for name in (pool["strategy"], pool["origin"]) if name) or "trajectories"


def _share(count: int, total: int) -> str:
    return f"{count:,} ({count / total:.1%})" if total else "-"


def _inline(text: Any) -> str:
    """Text from outside on one line, where it cannot end a table cell, open a tag, or become a link or a picture."""
    return _code(text).replace("<", "&lt;").replace("[", "\\[").replace("]", "\\]")


def _code(text: Any) -> str:
    """As `_inline`, for text between backticks, where nothing else has a meaning."""
    return visible(" ".join(str(text).split())).replace("|", "\\|").replace("`", "'")


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
