"""Every key of an evaluation recipe, as dataclasses with the meaning beneath each.

Declarations only: `run` gets the values.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from lemma_train.collection.settings import ModelSettings

NO_EFFECT = ("json_mode", "system_turn", "mistake_share")  # keys of models that are asked for something else


@dataclass(frozen=True)
class EvaluatedModel(ModelSettings):
    """The model that is evaluated: the keys of a collection's student, with other defaults."""

    engine: Literal["openai", "vllm", "transformers", "offline"] = "transformers"
    """openai: any server with OpenAI's API, such as vLLM's. vllm: vLLM in this process, where it is installed.
    transformers: in this process, on a CPU or one GPU."""
    model: str = ""
    """A folder or Hub name; a folder with a LoRA adapter is loaded with its base. Behind a server: its name there."""
    tokenizer: str | None = None
    """The folder of the model's tokenizer, needed where `model` is a name on a server: prompts travel as token ids,
    exactly as trained. null: that of `model`."""
    template: str = "lemma"
    """The prompt, as in training recipes (lemma, alpaca, chat, or a text that holds {instruction}); a model that this
    project trained is held to the prompt of its training, see other_template."""
    temperature: float = 0.0
    """0: greedy, as in LEMMA's evaluation. Above it each answer is drawn (0.7 for maj@32)."""
    max_tokens: int = 1024
    """Most tokens of an answer; one that is cut off there is graded as it stands."""
    stop: list[str] = field(default_factory=lambda: ["\n\n#", "\n\nInstruction:", "### Instruction"])
    """Texts that end an answer; they do not become part of it."""


@dataclass(frozen=True)
class Probe:
    """The forced-error probe: a wrong beginning is put into the model's mouth, does it recover?"""

    path: str = ""
    """Trajectories with error_span and answer, such as a collection's dataset.jsonl: a file, a folder or a Hub name.
    Empty: no probe."""
    limit: int | None = 500
    """Most trajectories that are asked about, drawn with the seed; null: all."""


@dataclass(frozen=True)
class EvaluateSettings:
    """An evaluation recipe."""

    model: EvaluatedModel = field(default_factory=EvaluatedModel)
    """See the table of its keys."""
    benchmarks: list[str | dict[str, Any]] = field(default_factory=list)
    """Names (gsm8k, math, math500, svamp, asdiv, mawps, deepmind_math, college_math), or mappings {name, path, limit,
    sample, shots, label, allow_other_count}; {source: generated, kind, size, seed, avoid} and {source: file, path} are
    questions of other kinds. docs/evaluation.md tells of each."""
    output_dir: str = ""
    """Where replies (journal/), samples.jsonl and results.json are kept."""
    name: str | None = None
    """What reports call this run; null: the last part of model.model."""
    seed: int = 0
    """Seed of what is drawn: questions of a `sample`, trajectories of the probe, answers above temperature 0, and the
    resamples of the bootstrap."""
    samples: int = 1
    """Answers for each question; more than one needs a temperature."""
    max_rejected_share: float = 0.05
    """Stop where the model refuses a larger share of the prompts, such as by a context that is too short; fewer count
    as wrong answers."""
    other_template: Literal["refuse", "allow"] = "refuse"
    """Where the model's folder says that it was trained with another prompt than model.template: refuse to evaluate
    it, or allow it."""
    probe: Probe = field(default_factory=Probe)
    """See the table of its keys."""
    teacher: ModelSettings = field(default_factory=lambda: ModelSettings(engine="offline"))
    """What names the types of errors: offline, the rules; or a model, with the keys of a collection's teacher."""
    prompts: str | None = None
    """A folder with prompts of your own for the teacher; files that it lacks are taken from lemma_train/prompts."""
    attempts: int = 3
    """How often the teacher is asked about one answer while its replies fail their checks."""
