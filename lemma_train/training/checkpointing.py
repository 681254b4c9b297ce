"""What activation checkpointing keeps, as a recipe chooses it: read here for the checks, the plan and the trainer.

Enters: a recipe, or the arguments of a trainer. Leaves: a `Checkpointing`, or the arguments put right. It checkpoints
nothing: transformers and TRL do.
"""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lemma_train.errors import InputError
from lemma_train.training.recipe import Recipe

if TYPE_CHECKING:
    from trl import SFTConfig

_KEYS = ("activation_checkpointing_kwargs", "gradient_checkpointing_kwargs")  # the second is the old name


@dataclass(frozen=True)
class Checkpointing:
    """The choices under the libraries' own names.

    on: layers are computed again in the backward pass. every_n_layers: only every n-th of them. selective: all of them
    but their attention. offload: their inputs wait in host memory. use_reentrant: torch's older way; None: not said.
    """

    on: bool
    every_n_layers: int = 1
    selective: bool = False
    offload: bool = False
    use_reentrant: bool | None = None


def checkpointing_of(recipe: Recipe) -> Checkpointing:
    """The choices of a recipe; what else stands among them is torch's business.

    Raises:
        InputError: they are no mapping (nor its JSON text, which the library reads too), or a value makes no sense.

    Example:
        >>> checkpointing_of(load_recipe("recipes/llama3_8b.yaml")).every_n_layers        # doctest: +SKIP
        1
    """
    on = recipe["activation_checkpointing"]
    if on is None:
        on = recipe["gradient_checkpointing"]
    key = next((key for key in _KEYS if recipe[key] is not None), _KEYS[0])
    chosen = _mapping(recipe[key])
    if chosen is None:
        raise InputError(f"{key}: it must be a mapping, such as {{every_n_layers: 2}}; it is {recipe[key]!r}.")
    every = chosen.get("every_n_layers", 1)
    if type(every) is not int or every < 1:
        raise InputError(f"{key}: every_n_layers must be a whole number of at least 1; it is {every!r}.")
    for name in ("selective", "offload", "use_reentrant"):
        if not isinstance(chosen.get(name, False), bool):
            raise InputError(f"{key}: {name} must be true or false; it is {chosen[name]!r}.")
    selective, offload = chosen.get("selective", False), chosen.get("offload", False)
    return Checkpointing(bool(on), every, selective, offload, chosen.get("use_reentrant"))


def make_reentrant(args: "SFTConfig") -> None:
    """Have layers checkpointed in torch's older way, where they are at all: adapters under ZeRO-3 need it.

    TRL asks for it too, but under the name that transformers no longer reads.
    """
    given = args.activation_checkpointing_kwargs or {}
    assert not isinstance(given, str), "SFTConfig reads JSON, and no other text gets so far"
    if args.activation_checkpointing:
        args.activation_checkpointing_kwargs = args.gradient_checkpointing_kwargs = {**given, "use_reentrant": True}


def _mapping(given: Any) -> dict[str, Any] | None:
    """The choices as a mapping; None where they are none. In JSON text the library also takes "2" for 2."""
    if isinstance(given, str) and given.startswith("{"):
        try:
            read = json.loads(given)
        except (ValueError, RecursionError):
            return None
        return {key: _plain(value) for key, value in read.items()}
    return {} if given is None else given if isinstance(given, dict) else None


def _plain(value: Any) -> Any:
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    return int(value) if isinstance(value, str) and value.isdecimal() else value
