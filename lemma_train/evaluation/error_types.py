"""A teacher names the types of errors in what was answered, in place of the rules of `scorecard`.

Enters: the records of samples, judged by `scorecard.judge`. Leaves: the same records with the teacher's `error_type`,
and why it chose it. The question, the check of its reply and the taxonomy are those of a collection's analysis. It
changes no verdict and no outcome.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lemma_train.collection.asking import Answer, Asker, Teacher
from lemma_train.collection.prompting import Prompts
from lemma_train.collection.reply_checks import check_analysis
from lemma_train.collection.settings import ModelSettings
from lemma_train.collection.steps import split_steps
from lemma_train.evaluation.responses import Respondent
from lemma_train.evaluation.settings import EvaluateSettings
from lemma_train.grading.extraction import extract_answer

_LONGEST = 20_000  # characters of a wrong text that a teacher reads; what is longer runs in circles


def open_teacher(settings: EvaluateSettings, folder: Path) -> "ErrorTypes | None":
    """The teacher of an evaluation's recipe, or None where the rules name the types.

    Raises:
        InputError: its prompts are at fault.
    """
    if settings.teacher.engine == "offline":
        return None
    prompts = Prompts(Path(settings.prompts).expanduser() if settings.prompts else None, settings.teacher.system_turn)
    return ErrorTypes(settings.teacher, prompts, settings.attempts, settings.seed, folder)


class ErrorTypes:
    """Asks a teacher about every wrong text of a benchmark; a context that closes the teacher's connections."""

    def __init__(self, teacher: ModelSettings, prompts: Prompts, attempts: int, seed: int, folder: Path) -> None:
        self._prompts, self._attempts, self._seed = prompts, attempts, seed
        self._teacher = Respondent(teacher, "teacher", folder, seed)

    def __enter__(self) -> "ErrorTypes":
        return self

    def __exit__(self, *raised: Any) -> None:
        self._teacher.__exit__(*raised)

    def name(
        self, samples: Sequence[dict[str, Any]], solutions: Mapping[str, str | None], stage: str
    ) -> list[dict[str, Any]]:
        """The records with `error_type` as the teacher says, `error_type_by` ("teacher", or None where there is no
        error to name) and `error_told`: its explanation, or why its replies were not taken.

        Args:
            solutions: question_id -> the worked solution that the teacher sees, or None.

        Raises:
            Stopped: its server is down; the same command goes on.
        """
        wrong = [(number, text) for number, sample in enumerate(samples) if (text := wrong_text(sample)) is not None]
        told = self._teacher.ask(
            wrong,
            lambda item, asker: self._ask(samples[item[0]], item[1], solutions, asker),
            f"{stage}: types",
            len(wrong),
        )
        named = [{**sample, "error_type": None, "error_type_by": None, "error_told": None} for sample in samples]
        for (number, _), answer in zip(wrong, told, strict=True):
            error_type, explanation = answer.value or (None, f"{answer.reason}: {answer.detail}")
            named[number] |= {"error_type": error_type, "error_type_by": "teacher", "error_told": explanation}
        return named

    async def _ask(
        self, sample: Mapping[str, Any], text: str, solutions: Mapping[str, str | None], asker: Asker
    ) -> Answer[tuple[str, str]]:
        types = [{"name": known.name, "meaning": known.meaning} for known in self._prompts.taxonomy.types]
        inputs = {
            "question": sample["question"],
            "reference_solution": solutions[sample["question_id"]],
            "reference_answer": sample["reference"],
            "solution": text,
            "steps": [text[start:end] for start, end in split_steps(text)],
            "extracted": extract_answer(text),
            "error_types": types,
        }

        async def check(fields: dict[str, Any]) -> tuple[str, str]:
            error_type, _, explanation = check_analysis(fields, inputs, self._prompts.taxonomy)
            return error_type, explanation

        teacher = Teacher(asker, self._prompts, self._attempts, self._seed)
        return await teacher.ask("analysis", f"{sample['benchmark']}/{sample['id']}", inputs, check)


def wrong_text(sample: Mapping[str, Any]) -> str | None:
    """What is wrong in a response: the part before its reflection where that is wrong, else all of it where its end is.

    None where nothing is known to be wrong, or where there is nothing to read.

    Example:
        >>> wrong_text({"response": "3 + 4 = 8. Wait, it is 7.", "reflection_span": [11, 25], "correct": True,
        ...             "correct_before": False})
        '3 + 4 = 8.'
    """
    text = sample["response"]
    if sample["correct_before"] is False:
        text = text[: sample["reflection_span"][0]]
    elif sample["correct"] is not False:
        return None
    text = text.strip()
    return text if text and len(text) <= _LONGEST else None
