r"""The forced-error probe: a wrong beginning is put into the model's mouth; does it notice, and does it end well?

Enters: training rows with an `error_span`, and later the model's continuations. Leaves: the items, the exact ids to go
on from, and the scores. It runs no model.

The model reads what it would have read in training up to the end of the wrong part: the prompt, and the wrong part as
its own beginning, no EOS. A tokenizer may join the last character of that part with what follows ("." and a line break
are one token of Llama 3 where a line ends). To stop before the break would then leave the model in a place that
training never showed it, so the line break is put in as well (`ProbePrompt.boundary`).
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lemma_train.errors import InputError
from lemma_train.evaluation.intervals import clustered_proportion
from lemma_train.evaluation.transitions import Transition, find_reflection
from lemma_train.grading.grader import Grader
from lemma_train.records import RowError, read_row
from lemma_train.template import Renderer

Boundary = Literal["clean", "with_break", "apart"]

_STARTS_OVER = re.compile(
    r"\b(?:start|begin|try|work|solv|think|set|do)\w* (?:\w+ ){0,5}?(?:over|again|anew|afresh|from scratch|differently"
    r"|up differently|from the (?:start|beginning))\b"
    r"|\b(?:another|a different|a fresh|a new) (?:way|approach|method|start)"
    r"|\bgo back to the (?:question|beginning|start)\b",
    re.IGNORECASE,
)
_WHITE = re.compile(r"\s*")
_VERDICT = ("id", "question", "recovered", "reflected", "strategy")


@dataclass(frozen=True)
class ProbeItem:
    """One wrong beginning.

    prefix: the output up to the end of its wrong part. output: the whole trained output, which begins with it.
    answer: the reference. strategy, error_origin, error_type: of the training row; None where it does not say.
    """

    id: str
    question: str
    prefix: str
    output: str
    answer: str
    strategy: str | None = None
    error_origin: str | None = None
    error_type: str | None = None


@dataclass(frozen=True)
class ProbePrompt:
    """What the model reads.

    boundary: `clean`: the ids are the beginning of the training row's ids. `with_break`: they are once the white space
    that follows the prefix is put in too; it is part of `text`. `apart`: training cuts the text at another place; the
    prefix alone is given.
    """

    ids: tuple[int, ...]
    text: str
    boundary: Boundary


def probe_items(rows: Iterable[Mapping[str, Any]]) -> list[ProbeItem]:
    """The wrong beginnings of training rows, each question and beginning once.

    Rows without `error_span` or `answer` have nothing to probe and are left out. A mistake is mostly trained on twice,
    with another strategy each time; what the model has to go on from is the same, and the first row stands for both.

    Raises:
        InputError: a row cannot be read as a training row.

    Example:
        >>> rows = [{"id": "q/s0/fix", "instruction": "What is 3 + 4?", "error_span": [0, 10], "answer": "7",
        ...          "output": "3 + 4 = 8. Wait, 3 + 4 = 7. The answer is 7."}]
        >>> probe_items(rows)[0].prefix
        '3 + 4 = 8.'
    """
    items: dict[tuple[str, str], ProbeItem] = {}
    for number, row in enumerate(rows, 1):
        try:
            read = read_row(row)
        except RowError as error:
            raise InputError(f"probe.path: row {number}: {error}. Mend the row or take it out.") from None
        if read.error_span is None or read.answer is None:
            continue
        prefix = read.output[: read.error_span[1]]
        item = ProbeItem(
            read.id or str(number),
            read.instruction,
            prefix,
            read.output,
            read.answer,
            read.strategy,
            read.error_origin,
            read.error_type,
        )
        items.setdefault((read.instruction, prefix), item)
    return list(items.values())


def prefix_ids(renderer: Renderer, instruction: str, prefix: str) -> list[int]:
    """Prompt ids and the ids of a beginning of the completion, tokenised as in training, without EOS."""
    return renderer.encode(instruction, prefix).input_ids[:-1]


def probe_prompt(renderer: Renderer, item: ProbeItem) -> ProbePrompt:
    """The ids and the text from which the model goes on; see `ProbePrompt.boundary`.

    Raises:
        InputError: the question spells a special token.
    """
    renderer.prompt_ids(item.question)  # refuses special tokens
    trained = renderer.encode(item.question, item.output).input_ids[:-1]
    white = _WHITE.match(item.output, len(item.prefix))
    assert white is not None
    tried: list[tuple[Boundary, str]] = [("clean", item.prefix), ("with_break", item.prefix + white.group())]
    for boundary, prefix in tried:
        ids = prefix_ids(renderer, item.question, prefix)
        if trained[: len(ids)] == ids:
            return ProbePrompt(tuple(ids), _joined(renderer, item.question, prefix), boundary)
    ids = prefix_ids(renderer, item.question, item.prefix)
    return ProbePrompt(tuple(ids), _joined(renderer, item.question, item.prefix), "apart")


def _joined(renderer: Renderer, instruction: str, prefix: str) -> str:
    return renderer.prompt_text(instruction) + str(renderer.description()["separator"]) + prefix


def probe_score(items: Sequence[ProbeItem], responses: Sequence[str], grader: Grader) -> dict[str, Any]:
    """How often the model notices and recovers.

    Args:
        responses: the model's continuations, without the prefix, in the order of the items. The final answer is taken
            from them alone: what the wrong part states is not the model's word.

    Returns:
        Proportions with 95% intervals, for which mistakes of one question are alike (`clustered_proportion`):
        `recovered` (the final answer is right) of the items whose reference can be read, `reflected` (it doubts
        anywhere), `reflected_at_once` (with its first words), `recovered_when_reflected`, `recovered_when_silent`;
        `by_error_type`, `by_error_origin`: `recovered` and `reflected` for each; `by_strategy`: the same by what the
        model itself did, `fresh_and_restart` where its reflection says that it begins anew, else `fix_and_continue`,
        and `none` where it did not reflect; `verdicts`: for each item its id, a fingerprint of its question,
        `recovered`, `reflected` and `strategy`.

    Example:
        >>> item = ProbeItem("q/s0", "What is 3 + 4?", "3 + 4 = 8.", "3 + 4 = 8. Wait, it is 7.", "7")
        >>> with Grader() as grader:
        ...     probe_score([item], [" Wait, 3 + 4 is 7. The answer is 7."], grader)["recovered"]["value"]
        1.0
    """
    assert len(items) == len(responses)
    grades = [grader.submit(text, item.answer) for item, text in zip(items, responses, strict=True)]
    seen: list[dict[str, Any]] = []
    for item, text, grade in zip(items, responses, grades, strict=True):
        found = find_reflection(text, item.question)
        seen.append(
            {
                "id": item.id,
                "question": hashlib.sha256(item.question.encode()).hexdigest()[:12],
                "recovered": grade.result().correct,
                "reflected": found is not None,
                "at_once": found is not None and not found.before,
                "strategy": _strategy(found),
                "error_type": item.error_type,
                "error_origin": item.error_origin,
            }
        )
    return {
        **_rates(seen),
        "reflected_at_once": _share(seen, "at_once"),
        "recovered_when_reflected": _recovered([one for one in seen if one["reflected"]]),
        "recovered_when_silent": _recovered([one for one in seen if not one["reflected"]]),
        "by_error_type": _grouped(seen, lambda one: one["error_type"]),
        "by_error_origin": _grouped(seen, lambda one: one["error_origin"]),
        "by_strategy": _grouped(seen, lambda one: one["strategy"]),
        "verdicts": [{key: one[key] for key in _VERDICT} for one in seen],
    }


def _strategy(found: Transition | None) -> str:
    if found is None:
        return "none"
    return "fresh_and_restart" if _STARTS_OVER.search(found.reflection) else "fix_and_continue"


def _recovered(seen: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return _share([one for one in seen if one["recovered"] is not None], "recovered")


def _rates(seen: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "recovered": _recovered(seen),
        "reflected": _share(seen, "reflected"),
    }


def _share(seen: Sequence[Mapping[str, Any]], key: str) -> dict[str, Any]:
    """The share of items with this verdict, and an interval that knows which of them are of one question."""
    groups: dict[str, list[int]] = {}
    for one in seen:
        group = groups.setdefault(one["question"], [0, 0])
        group[0] += one[key]
        group[1] += 1
    return clustered_proportion((successes, trials) for successes, trials in groups.values())


def _grouped(seen: Sequence[dict[str, Any]], key: Callable[[dict[str, Any]], str | None]) -> dict[str, Any]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for one in seen:
        groups.setdefault(key(one) or "unknown", []).append(one)
    return {name: _rates(groups[name]) for name in sorted(groups)}
