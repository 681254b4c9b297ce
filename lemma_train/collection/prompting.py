"""From a task and its inputs to the conversation that the teacher reads.

Enters: the name of a task and its inputs. Leaves: messages, the JSON schema of the reply, and a fingerprint of what the
prompt is made of. It asks no model and reads no reply.

Each task has one Jinja file, which sets two texts: `system`, the same for all rows so that servers can reuse its
cached prefix, and `user`, with the values of the row. Examples come from examples.yaml and error types from
error_types.yaml. Jinja runs in its sandbox; values of a row are data to it and are never read as a template.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from jinja2 import meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from lemma_train.collection.taxonomy import (
    ERROR_TYPES_FILE,
    PACKAGED_PROMPTS,
    Taxonomy,
    load_taxonomy,
    prompt_file,
)
from lemma_train.errors import InputError, first_line
from lemma_train.recipe_file import read_any_yaml

Message = dict[str, str]

_EXAMPLES_FILE = "examples.yaml"
_CORRECTION = ("prefix", "wrong_step", "error_type", "error_type_meaning", "explanation")
# The inputs of each task, beside `error_types` of the analysis, which all rows share.
INPUTS = {
    "analysis": ("question", "reference_solution", "reference_answer", "solution", "steps", "extracted"),
    "injection": (
        "question",
        "reference_solution",
        "reference_answer",
        "error_type",
        "error_type_meaning",
        "number",
    ),
    "fix_and_continue": ("question", "reference_solution", "reference_answer", *_CORRECTION),
    "fresh_and_restart": ("question", "right_solution", *_CORRECTION),
    "smoothing": ("question", "strategy", "prefix", "wrong_step", "reflection", "continuation"),
}
_TEXT: dict[str, Any] = {"type": "string"}
_WHOLE_NUMBER: dict[str, Any] = {"type": "integer"}
# The fields of each reply, in the order in which a model writes them: it explains before it decides.
_FIELDS: dict[str, dict[str, dict[str, Any]]] = {
    "analysis": {
        "explanation": _TEXT,
        "verdict": {"type": "string", "enum": ["wrong", "correct"]},
        "error_type": _TEXT,
        "first_wrong_step": _WHOLE_NUMBER,
    },
    "injection": {"explanation": _TEXT, "steps": {"type": "array", "items": _TEXT}, "wrong_step": _WHOLE_NUMBER},
    "fix_and_continue": {"reflection": _TEXT, "continuation": _TEXT},
    "fresh_and_restart": {"reflection": _TEXT, "continuation": _TEXT},
    "smoothing": {"prefix": _TEXT, "reflection": _TEXT, "continuation": _TEXT},
}
TASKS = tuple(_FIELDS)
_QUOTED_REPLY = 4000  # characters of a faulty reply that are shown again; what makes it faulty is told in words

# What an expression in a user's template can raise; Jinja's own errors are among the first.
_TEMPLATE_ERRORS = (
    *(jinja2.TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError),
    *(MemoryError, RecursionError),
)


class Prompts:
    """The prompts of all tasks, checked when they are loaded.

    Args:
        folder: the user's prompts; files that it lacks are the packaged ones. None: the packaged prompts.
        system_turn: False puts the system text in front of the user's, for models that refuse a system turn.

    Raises:
        InputError: the folder holds a file of another name, or a file is at fault.

    Example:
        >>> Prompts().schema("smoothing")["required"]
        ['prefix', 'reflection', 'continuation']
    """

    def __init__(self, folder: Path | None = None, system_turn: bool = True):
        if folder is not None:
            _check_names(folder)
        self.taxonomy: Taxonomy = load_taxonomy(folder)
        self._system_turn = system_turn
        self._examples = _read_examples(prompt_file(folder, _EXAMPLES_FILE), self.taxonomy)
        self._files = {task: prompt_file(folder, f"{task}.jinja") for task in TASKS}
        environment = ImmutableSandboxedEnvironment(
            undefined=jinja2.StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True
        )
        environment.globals = {"range": environment.globals["range"]}
        environment.filters["json"] = _json
        self._templates: dict[str, jinja2.Template] = {}
        self._systems: dict[str, str] = {}  # the system text of each task where the user text needs nothing of it
        self._every = [{"name": type_.name, "meaning": type_.meaning} for type_ in self.taxonomy.types]
        self._schemas = {task: self._schema(task) for task in TASKS}
        self._fingerprints: dict[str, str] = {}
        trials = _read_examples(PACKAGED_PROMPTS / _EXAMPLES_FILE, None)
        for task, path in self._files.items():
            source = _read(path)
            self._templates[task] = _compile(environment, path, source)
            types = [[type_.name, type_.meaning] for type_ in self.taxonomy.types] if task == "analysis" else None
            made_of = _json([source, self._examples[task], types])
            self._fingerprints[task] = hashlib.sha256(made_of.encode()).hexdigest()[:16]
            for trial in trials[task]:  # a misspelled name is found before the teacher is paid
                system, _ = self._render(task, {**trial["inputs"], "error_types": self._every}, self._examples[task])
            if not _user_text_uses(environment.parse(source), ("examples", "error_types")):
                self._systems[task] = system

    def messages(self, task: str, inputs: Mapping[str, Any]) -> tuple[Message, ...]:
        """The conversation that asks for one reply.

        Args:
            task: one of `TASKS`.
            inputs: the values named in `INPUTS`; None where a value is absent. The analysis also takes `error_types`,
                a list of `{"name", "meaning"}`, and shows the whole taxonomy without it.

        Raises:
            InputError: the template does not go with the inputs.
        """
        if task in self._systems and inputs.get("error_types", self._every) == self._every:
            # Most of the work is in the examples, which stand in the system text alone: it is the same for all rows.
            system, (_, user) = self._systems[task], self._render(task, {**inputs, "error_types": []}, [])
        else:
            system, user = self._render(task, {"error_types": self._every, **inputs}, self._examples[task])
        if self._system_turn:
            return {"role": "system", "content": system}, {"role": "user", "content": user}
        return ({"role": "user", "content": f"{system}\n\n{user}"},)

    def _render(self, task: str, inputs: Mapping[str, Any], examples: Sequence[Any]) -> tuple[str, str]:
        row = {name: inputs[name] for name in INPUTS[task]}
        shown = {"examples": examples, "row": row}
        if task == "analysis":
            shown["error_types"] = inputs["error_types"]
        try:
            module = self._templates[task].make_module(shown)
            texts = str(module.system).strip(), str(module.user).strip()  # type: ignore[attr-defined]
            "".join(texts).encode()  # half a character, which a template can spell, goes into no request
            return texts
        except _TEMPLATE_ERRORS as error:
            raise InputError(f"{self._files[task]} cannot be filled in: {first_line(error)}") from error

    def fingerprint(self, task: str) -> str:
        """16 hex digits that change when the task's template, its examples or the error types it lists change.

        Whether there is a system turn makes no difference; what is asked stays the same.
        """
        return self._fingerprints[task]

    def schema(self, task: str) -> dict[str, Any]:
        """The JSON schema of the reply, in the strict form that servers ask for: all fields required, no others."""
        return self._schemas[task]

    def _schema(self, task: str) -> dict[str, Any]:
        fields = {name: dict(kind) for name, kind in _FIELDS[task].items()}
        if task == "analysis":
            fields["error_type"]["enum"] = [*self.taxonomy.names, "none"]
        return {"type": "object", "properties": fields, "required": list(fields), "additionalProperties": False}


def retry_messages(messages: tuple[Message, ...], reply_text: str, fault: str) -> tuple[Message, ...]:
    """The conversation with the faulty reply and what is wrong with it, as one more question.

    Args:
        fault: a sentence to the teacher, such as the `advice` of a `ReplyFault`. The reply is cut after 4,000
            characters.
    """
    quoted = reply_text[:_QUOTED_REPLY].strip() or "(empty)"
    request = f"This reply cannot be used. {fault} Write the whole reply again, in the same form."
    return (
        *messages,
        {"role": "assistant", "content": quoted},
        {"role": "user", "content": request},
    )


def _user_text_uses(tree: nodes.Template, names: Sequence[str]) -> bool:
    """Whether one of these names is read anywhere but in the system text."""
    system = next(node for node in tree.find_all(nodes.AssignBlock) if getattr(node.target, "name", "") == "system")

    def count(node: nodes.Node) -> int:
        return sum(found.name in names and found.ctx == "load" for found in node.find_all(nodes.Name))

    return count(tree) > count(system)


def _check_names(folder: Path) -> None:
    if not folder.is_dir():
        raise InputError(f"The prompts folder {folder} does not exist.")
    known = {*(f"{task}.jinja" for task in TASKS), _EXAMPLES_FILE, ERROR_TYPES_FILE}
    for path in sorted(folder.iterdir()):
        if path.name in known and not path.is_file():
            raise InputError(f"{path} is no file.")
        if path.name not in known and not path.name.startswith("."):
            raise InputError(
                f"The prompts folder {folder} holds {path.name!r}, which nothing reads; the files are "
                f"{', '.join(sorted(known))}."
            )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {first_line(error)}") from error


def _compile(environment: jinja2.Environment, path: Path, source: str) -> jinja2.Template:
    try:
        tree = environment.parse(source)
    except jinja2.TemplateSyntaxError as error:
        raise InputError(f"{path}, line {error.lineno}: {error.message}") from error
    except RecursionError as error:
        raise InputError(f"{path}: its brackets are nested too deeply.") from error
    if any(tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends))):
        raise InputError(f"{path}: a prompt stands alone; include, import and extends are not read.")
    texts = {node.target.name: node for node in tree.find_all(nodes.AssignBlock) if isinstance(node.target, nodes.Name)}
    for name in ("system", "user"):
        if name not in texts:
            raise InputError(f"{path} must set {name!r}: {{% set {name} %}} text {{% endset %}}")
    if any(node.name == "row" for node in texts["system"].find_all(nodes.Name)):
        raise InputError(f"{path}: the system text must be the same for all rows; use row in the user text only.")
    try:
        unknown = meta.find_undeclared_variables(tree) - {"examples", "error_types", "row"}
        template = environment.from_string(tree)
    except (jinja2.TemplateError, RecursionError) as error:  # such as a filter that does not exist
        raise InputError(f"{path}: {first_line(error)}") from error
    if unknown:
        raise InputError(f"{path}: unknown name {sorted(unknown)[0]!r}; known are row, examples and error_types.")
    return template


def _read_examples(path: Path, taxonomy: Taxonomy | None) -> dict[str, list[dict[str, Any]]]:
    """The examples of every task; with a taxonomy, each error type that they name must be in it."""
    held = read_any_yaml(path, str(path))
    held = {} if held is None else held
    if not isinstance(held, dict) or not set(held) <= set(TASKS):
        raise InputError(f"{path} must hold lists of examples under the names of tasks: {', '.join(TASKS)}.")
    for task, examples in held.items():
        if not isinstance(examples, list):
            raise InputError(f"{path}: {task} must be a list of examples.")
        for number, example in enumerate(examples, start=1):
            place = f"{path}: example {number} of {task}"
            expected = {"inputs": set(INPUTS[task]), "reply": set(_FIELDS[task])}
            for part, names in expected.items():
                found = example.get(part) if isinstance(example, dict) else None
                if not isinstance(found, dict) or set(found) != names:
                    raise InputError(f"{place} must have {part!r} with exactly {', '.join(sorted(names))}.")
            named = example["inputs"].get("error_type") or example["reply"].get("error_type")
            if taxonomy is not None and named is not None and named not in (*taxonomy.names, "none"):
                raise InputError(
                    f"{place} names the error type {named!r}, which error_types.yaml does not have; give the folder an "
                    f"{_EXAMPLES_FILE} of its own."
                )
    return {task: held.get(task, []) for task in TASKS}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
