"""What is known of a collection before any model is asked: taxonomy, prompts, and what was spent so far.

Enters: settings and folders. Leaves: a `Frame`. It opens journals for reading only and writes nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lemma_train.collection import injection
from lemma_train.collection.journal import Journal
from lemma_train.collection.meter import Meter
from lemma_train.collection.prompting import Prompts
from lemma_train.collection.settings import CollectSettings
from lemma_train.collection.taxonomy import Taxonomy
from lemma_train.errors import InputError


@dataclass(frozen=True)
class Frame:
    """What is known before any reply: taxonomy, prompts, and the meter with what the journal says was spent."""

    taxonomy: Taxonomy
    prompts: Prompts
    meter: Meter


def frame_of(settings: CollectSettings, shards: int = 1) -> Frame:
    """Read taxonomy and prompts.

    Args:
        shards: how many share the budget. Each has an equal part, since none of them knows what the others spend.

    Raises:
        InputError: they are at fault, or the recipe names an error type that they do not have.
    """
    folder = Path(settings.prompts).expanduser() if settings.prompts else None
    prompts = Prompts(folder, system_turn=settings.teacher.system_turn)
    wrong = injection.check_types(settings.injection.types, prompts.taxonomy)
    if wrong:
        known = ", ".join(prompts.taxonomy.injectable)
        raise InputError(f"injection.types: {', '.join(wrong)} cannot be injected; the types are {known}.")
    meter = Meter({"student": settings.student.prices, "teacher": settings.teacher.prices}, settings.budget, shards)
    return Frame(prompts.taxonomy, prompts, meter)


def replies_file(folder: Path) -> Path:
    return folder / "journal" / "replies.jsonl"


def spent(settings: CollectSettings, folders: Iterable[Path]) -> Frame:
    """The frame, with what the journals in these folders say was used so far; they may be in use."""
    frame = frame_of(settings)
    for folder in folders:
        if replies_file(folder).is_file():
            with Journal(
                replies_file(folder), writable=False, seen=lambda entry: frame.meter.count(entry["task"], entry)
            ):
                pass
    return frame
