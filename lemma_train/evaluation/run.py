"""`lemma evaluate`: benchmarks -> responses -> verdicts -> `results.json` and `samples.jsonl`.

Enters: the settings of an evaluation recipe. Leaves: one line in samples.jsonl for each answer, with the grader's
verdict, the authors', and what the answer does about its own errors; and the metrics over them. Responses are kept as
they arrive; verdicts are made anew at each start.
"""

import json
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from lemma_train import __version__
from lemma_train.errors import InputError
from lemma_train.evaluation.benchmark_entries import Chosen, load_entry
from lemma_train.evaluation.drawing import drawn
from lemma_train.evaluation.error_types import open_teacher
from lemma_train.evaluation.few_shot import prompt_fingerprint
from lemma_train.evaluation.metrics import (
    authors_metrics,
    average_accuracy,
    benchmark_metrics,
    question_accuracies,
)
from lemma_train.evaluation.model_folder import open_prompts, trained_template, with_adapter_apart
from lemma_train.evaluation.probe import ProbeItem, probe_items, probe_prompt, probe_score
from lemma_train.evaluation.responses import Prompt, Respondent
from lemma_train.evaluation.result_files import whole_files
from lemma_train.evaluation.samples import records
from lemma_train.evaluation.scorecard import CARD_KEYS, SCORECARD_VERSION, scorecard
from lemma_train.evaluation.settings import EvaluatedModel, EvaluateSettings
from lemma_train.grading.grader import GRADER_VERSION, Grader
from lemma_train.llm.vllm_arguments import reply_arguments
from lemma_train.template import Renderer
from lemma_train.training.lock import claim
from lemma_train.training.sources import iterate, read_sources


def evaluate(settings: EvaluateSettings) -> Path:
    """Evaluate a model; started again it goes on with the responses that it has.

    Returns:
        the path of results.json.

    Raises:
        InputError: the recipe, a file or the model is at fault.
        Stopped: a server is down; the same command goes on.

    Example:
        >>> evaluate(load_evaluate_recipe("recipes/evaluate/smollm2_gsm8k.yaml"))         # doctest: +SKIP
        PosixPath('outputs/evaluate/smollm2_gsm8k/results.json')
    """
    folder = Path(settings.output_dir).expanduser()
    model = with_adapter_apart(settings.model)
    renderer = open_prompts(model, settings.other_template)
    chosen = choose(settings)
    items = _probe_items(settings)
    with ExitStack() as stack:
        stack.enter_context(claim(folder))
        grader = stack.enter_context(Grader())
        asked = stack.enter_context(Respondent(model, "model", folder, settings.seed, settings.max_rejected_share))
        teacher = open_teacher(settings, folder)
        if teacher is not None:
            stack.enter_context(teacher)
        benchmarks: dict[str, Any] = {}
        cards: list[dict[str, Any]] = []
        accuracies: dict[str, list[float]] = {}
        with whole_files(folder) as out:
            for one in chosen:
                replies = asked.answers(_prompts(one, settings, renderer), one.name)
                samples = list(records(one, settings.samples, replies, grader))
                if teacher is not None:
                    solutions = {question.id: question.solution for question in one.questions}
                    samples = teacher.name(samples, solutions, one.name)
                out.write(samples)
                benchmarks[one.name] = _measured(one, samples, settings, renderer, grader)
                accuracies[one.name] = question_accuracies(samples)
                # The texts of one benchmark are let go before those of the next are made.
                cards += [{key: sample[key] for key in CARD_KEYS} for sample in samples]
            probe = _probed(items, asked, renderer, grader) if items else None
            speed = asked.speed()
            seconds = speed["seconds"]
            return out.finish(
                {
                    "benchmarks": benchmarks,
                    "average": average_accuracy(accuracies, settings.seed),
                    "scorecard": scorecard(cards),
                    "probe": probe,
                    **_conditions(settings, model, renderer),
                    "error_types_by": "rules" if teacher is None else settings.teacher.model,
                    "seconds": round(seconds, 1),
                    "tokens_per_second": round(speed["completion_tokens"] / seconds, 1) if seconds else None,
                    "loss_curve": _loss_curve(settings.model.model),
                }
            )


def choose(settings: EvaluateSettings) -> list[Chosen]:
    """The questions of every entry of `benchmarks`.

    Raises:
        InputError: an entry is at fault, or two have one name.
    """
    chosen = [load_entry(entry, settings.seed) for entry in settings.benchmarks]
    names = [one.name for one in chosen]
    if twice := {name for name in names if names.count(name) > 1}:
        raise InputError(f"benchmarks: {', '.join(sorted(twice))} stands twice; give one of them another label.")
    return chosen


def _prompts(chosen: Chosen, settings: EvaluateSettings, renderer: Renderer) -> list[Prompt]:
    prompts = []
    for question in chosen.questions:
        text = renderer.prompt_text(question.question, chosen.shots)
        ids = tuple(renderer.prompt_ids(question.question, chosen.shots))
        prompts += [Prompt(f"{question.id}/{k}", text, ids) for k in range(settings.samples)]
    return prompts


def _measured(
    chosen: Chosen, samples: Sequence[dict[str, Any]], settings: EvaluateSettings, renderer: Renderer, grader: Grader
) -> dict[str, Any]:
    def same(first: str, second: str) -> bool:
        return grader.grade_answer(first, second).correct is True

    return {
        "shots": len(chosen.shots),
        "questions": len(chosen.questions),
        "samples": len(samples),
        "prompt_fingerprint": prompt_fingerprint(renderer, chosen.shots),
        "metrics": benchmark_metrics(samples, same, settings.seed),
        "authors": authors_metrics(samples, settings.seed),
        "scorecard": scorecard(samples),
    }


def _conditions(settings: EvaluateSettings, model: EvaluatedModel, renderer: Renderer) -> dict[str, Any]:
    """What two results must share to be compared."""
    decoding = {key: getattr(model, key) for key in ("temperature", "top_p", "max_tokens", "stop")}
    further = model.extra_body if model.engine == "openai" else {}
    further = reply_arguments(model.engine_args) if model.engine == "vllm" else further
    if further:
        decoding["further"] = further
    return {
        "version": __version__,
        "name": settings.name or Path(settings.model.model).name,
        "model": settings.model.model,
        "engine": model.engine,
        "dtype": None if model.engine == "openai" else model.dtype,
        "template": renderer.description(),
        "template_fingerprint": renderer.fingerprint,
        "trained_template": trained_template(model),
        "grader_version": GRADER_VERSION,
        "scorecard_version": SCORECARD_VERSION,
        "decoding": {**decoding, "samples": settings.samples, "seed": settings.seed},
    }


def _probe_items(settings: EvaluateSettings) -> list[ProbeItem]:
    if not settings.probe.path:
        return []
    rows = []
    for source in read_sources(settings.probe.path, "probe.path"):
        for located in iterate(source):
            if located.fault is not None:
                raise InputError(f"probe.path: {located.file}, line {located.line}: {located.fault[1]}.")
            rows.append(located.row)
    items = probe_items(rows)
    if not items:
        raise InputError(f"probe.path: {settings.probe.path} holds no row with error_span and answer.")
    return drawn(items, settings.probe.limit, settings.seed)


def _probed(items: list[ProbeItem], asked: Respondent, renderer: Renderer, grader: Grader) -> dict[str, Any]:
    told = [probe_prompt(renderer, item) for item in items]
    prompts = [Prompt(f"probe/{item.id}", one.text, one.ids) for item, one in zip(items, told, strict=True)]
    answers = asked.answers(prompts, "probe", greedy=True)
    boundaries = Counter(one.boundary for one in told)
    return {**probe_score(items, [one.text for one in answers], grader), "boundaries": dict(boundaries)}


def _loss_curve(model: str) -> list[list[float]] | None:
    """The training loss of a model that this project trained, `[[step, loss], ...]`, or None."""
    if not Path(model).expanduser().is_dir():
        return None
    for log in (Path(model).expanduser() / "metrics.jsonl", Path(model).expanduser().parent / "metrics.jsonl"):
        if log.is_file():
            try:
                rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line.strip()]
                return [[row["step"], row["loss"]] for row in rows if "loss" in row and "step" in row] or None
            except (OSError, ValueError, TypeError):
                return None  # a picture more or less: the evaluation does not fail over it
    return None
