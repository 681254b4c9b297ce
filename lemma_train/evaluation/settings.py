"""Every key of an evaluation recipe, as dataclasses with the meaning beneath each.

Declarations only: `run` gets the values.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from lemma_train.collection.settings import ModelSettings


@dataclass(frozen=True)
class EvaluatedModel(ModelSettings):
    """The model that is evaluated: the keys of a collection's student, with other defaults.

    model: a folder or Hub name; a folder with a LoRA adapter is taken with its base. Behind a server the folder of its
    tokenizer belongs in `tokenizer`.
    """

    engine: Literal["openai", "vllm", "transformers", "offline"] = "transformers"
    """openai: any server with OpenAI's API, such as vLLM's. vllm: vLLM in this process, where it is installed.
    transformers: in this process, on a CPU or one GPU."""
    temperature: float = 0.0
    """0: greedy, as in LEMMA's evaluation. Above it, `samples` answers are drawn (0.7 for maj@32)."""
    stop: list[str] = field(default_factory=lambda: ["\n\n#", "\n\nInstruction:", "### Instruction"])
    """Texts that end an answer."""


@dataclass(frozen=True)
class Probe:
    """The forced-error probe: a wrong beginning is put into the model's mouth, does it recover?"""

    path: str = ""
    """Trajectories with error_span, such as a collection's dataset.jsonl; empty: no probe."""
    limit: int | None = 500
    """Most trajectories, drawn with the seed; null: all."""


@dataclass(frozen=True)
class EvaluateSettings:
    """An evaluation recipe."""

    model: EvaluatedModel = field(default_factory=EvaluatedModel)
    """See the table of its keys."""
    benchmarks: list[str | dict[str, Any]] = field(default_factory=list)
    """Names (gsm8k, math, math500, svamp, asdiv, mawps, deepmind_math, college_math), or mappings {name, path, limit,
    sample, shots}; {source: generated, kind, size, seed} and {source: file, path} are questions of other kinds."""
    output_dir: str = ""
    """Where responses, samples.jsonl and results.json are kept."""
    name: str | None = None
    """What reports call this run; null: the model's."""
    seed: int = 0
    """Seed of every draw."""
    samples: int = 1
    """Answers for each question; more than one needs a temperature."""
    max_rejected_share: float = 0.05
    """Stop where the model refuses a larger share of the prompts, such as by a context that is too short; fewer count
    as wrong answers."""
    other_template: Literal["refuse", "allow"] = "refuse"
    """What to do where the model was trained with another prompt than this recipe's."""
    probe: Probe = field(default_factory=Probe)
    """See the table of its keys."""
    teacher: ModelSettings = field(default_factory=lambda: ModelSettings(engine="offline"))
    """What names the types of errors: offline, the rules; or a model, with the keys of a collection's teacher."""
    prompts: str | None = None
    """The teacher's prompts; as in a collection."""
    attempts: int = 3
    """How often the teacher is asked while its replies fail their checks."""
