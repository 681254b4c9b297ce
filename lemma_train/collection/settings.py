"""Every key of a collection recipe, as dataclasses with the meaning beneath each.

Declarations only: `recipe` reads a YAML file into them, the stages get their values.
"""

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Prices:
    """Price of a million tokens, in the recipe's currency."""

    input: float = 0.0
    """Tokens of the prompt."""
    output: float = 0.0
    """Tokens of the reply."""
    cached_input: float | None = None
    """Tokens of the prompt that the server held in its cache; null: as `input`."""


@dataclass(frozen=True)
class ModelSettings:
    """A model that answers: student or teacher."""

    engine: Literal["openai", "vllm", "transformers", "offline"] = "openai"
    """openai: any server with OpenAI's API, such as vLLM's. vllm: vLLM in this process, where it is installed.
    transformers: in this process, on a CPU or one GPU. offline: rules, no model."""
    model: str = ""
    """The name that the server knows the model by, or the folder or Hub name that vllm or transformers loads."""
    base_urls: list[str] = field(default_factory=list)
    """Addresses of servers that share the load, each ending in /v1; none: OpenAI itself."""
    api_key_env: str = "OPENAI_API_KEY"
    """The environment variable that holds the key. Servers named in base_urls may go without one."""
    tokenizer: str | None = None
    """Student behind a server: the folder of its tokenizer. With it prompts travel as token ids, exactly as trained."""
    template: str = "lemma"
    """Student: the prompt, as in training recipes (lemma, alpaca, chat, or a text that holds {instruction})."""
    temperature: float = 0.7
    """0: always the likeliest token."""
    top_p: float = 1.0
    """Draw from the likeliest tokens that together have this probability."""
    max_tokens: int = 1024
    """Most tokens of a reply; a reply that is cut off there is not used."""
    stop: list[str] = field(default_factory=lambda: ["\n\n#", "\n\nInstruction:"])
    """Student: texts that end an answer."""
    concurrency: int = 32
    """Most requests in flight at one server, of each run: shards that run at once add up."""
    requests_per_minute: int | None = None
    """Limit for each server, of each run; null: none."""
    tokens_per_minute: int | None = None
    """Limit for each server, of each run, prompt and reply together; null: none."""
    timeout_seconds: float = 300.0
    """How long one request may take."""
    max_tries: int = 8
    """How often a request is sent while the server fails."""
    outage_minutes: float = 30.0
    """How long to wait for a server that is down before the run ends."""
    json_mode: Literal["auto", "schema", "object", "text"] = "auto"
    """Teacher: how replies are asked for. schema: by a JSON schema; object: as any JSON object; text: by the prompt
    alone; auto: by schema, and in plain text where the server knows none."""
    system_turn: bool = True
    """Teacher: false puts the instructions into the user's turn, for models that know no system turn."""
    extra_body: dict[str, Any] = field(default_factory=dict)
    """Further fields of each request, as the server understands them."""
    prices: Prices = field(default_factory=Prices)
    """What tokens cost; for the estimate, the report and the budget."""
    batch_size: int = 32
    """transformers: most answers that are written at once."""
    engine_args: dict[str, Any] = field(default_factory=dict)
    """vllm: its own engine arguments under their own names, as in {tensor_parallel_size: 2, data_parallel_size: 4,
    gpu_memory_utilization: 0.9}."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """transformers, vllm: the number format of the weights: float32, bfloat16 or float16; auto: bfloat16."""
    device: str = "auto"
    """transformers: auto, cpu, cuda, cuda:1."""
    adapter: str | None = None
    """transformers, vllm: a LoRA adapter's folder."""
    mistake_share: float = 0.6
    """offline student: the share of its answers that are wrong."""


@dataclass(frozen=True)
class Sampling:
    """The student answers every question."""

    enabled: bool = True
    """false: no student; every question counts as failed, and errors are injected only."""
    samples: int = 4
    """Answers for each question."""


@dataclass(frozen=True)
class Analysis:
    """The teacher names each wrong answer's error type and first wrong step."""

    per_question: int | None = None
    """Most wrong answers of one question that are looked at; the others enter no further stage. null: all."""


@dataclass(frozen=True)
class Injection:
    """The teacher writes new wrong solutions (error augmentation)."""

    enabled: bool = True
    """false: only the student's own errors."""
    per_question: int = 2
    """Injected errors for each question, where allocation is fixed."""
    types: Literal["question", "data_set", "uniform"] | dict[str, float] = "question"
    """Where error types are drawn from. question: the student's errors on the same question, as in the paper;
    data_set: its errors on all questions of the same source; uniform: every type alike; or weights by type, as in
    {calculation_error: 2, missing_step: 1}. Where no error was found that can be injected, every type alike."""
    only_failed: bool = True
    """Only questions that the student got wrong at least once."""
    allocation: Literal["fixed", "failure_rate"] = "fixed"
    """fixed: per_question errors for each question. failure_rate: LEMMA-Hard; a question gets failure rate x k_max
    rows, half from its own errors, half injected."""
    k_max: int = 20
    """Rows of a question that always fails, where allocation is failure_rate."""


@dataclass(frozen=True)
class Correction:
    """The teacher reflects on each error and goes on to a right solution."""

    strategies: list[Literal["fix_and_continue", "fresh_and_restart"]] = field(
        default_factory=lambda: ["fix_and_continue", "fresh_and_restart"]
    )
    """Which corrections each error gets: fix_and_continue mends the wrong step and goes on, fresh_and_restart begins
    the solution anew; leave one out for the ablation."""
    truncate: bool = True
    """false: the wrong solution is kept whole instead of cut off after its first wrong step (ablation)."""
    fix_shows_reference: bool = True
    """Whether the teacher sees the worked solution for fix_and_continue; the final answer it always sees."""
    restart_shows: Literal["nothing", "right_sample", "reference"] = "nothing"
    """What the teacher sees for fresh_and_restart. nothing: as in the paper; right_sample: a right answer of the
    student, else the worked solution (the authors' code); reference: the worked solution."""


@dataclass(frozen=True)
class Smoothing:
    """The teacher rewrites the joined trajectory so that it reads as one train of thought."""

    enabled: bool = True
    """false: the parts are joined as they are (ablation)."""


@dataclass(frozen=True)
class Filters:
    """Bounds of a trajectory, in characters of the whole output."""

    min_characters: int = 40
    """Shortest output; a wrong step, a doubt and an answer hardly fit in fewer characters."""
    max_characters: int = 8192
    """Longest output in characters: some 2,000 tokens of prose, about 4,096 (LEMMA's length) of dense formulas."""


@dataclass(frozen=True)
class Assembly:
    """Which trajectories become the data set."""

    rows: int | None = None
    """Most trajectories; null: all."""
    strategies: dict[str, float] | None = None
    """Shares such as {fix_and_continue: 0.5, fresh_and_restart: 0.5}; null: as they come."""
    origins: dict[str, float] | None = None
    """Shares such as {student: 0.5, injected: 0.5}; null: as they come."""
    max_per_question: int | None = None
    """Most trajectories of one question."""
    near_duplicate_threshold: float | None = 0.9
    """Trajectories of one question whose word 5-grams overlap so far (Jaccard) count as one; null: only equal ones."""
    decontaminate: list[str | dict[str, str]] = field(default_factory=list)
    """Files of test questions, as paths or {path, field}; questions that equal one of them, or share long runs of words
    with one, are left out before anything is asked about them."""
    decontaminate_overlap: float = 0.5
    """The share of runs of 13 words, counted in the shorter of a question and a test question, that the other must
    hold before the question is left out. Questions of fewer words are compared as wholes."""
    references: int | float = 0
    """Worked solutions to add as rows of the strategy `reference`: how many, or (a number with a point, up to 1.0) as
    this share of the set."""
    right_samples: int | float = 0
    """Right answers of the student to add as rows of the strategy `sample`; as for `references`."""
    license: str | None = None
    """The licence that the data card names."""
    push_to_hub: str | None = None
    """A data set's name on the Hugging Face Hub to upload the result to."""
    private: bool = True
    """Whether the uploaded data set is private."""


@dataclass(frozen=True)
class CollectSettings:
    """A collection recipe."""

    problems: list[str | dict[str, Any]] = field(default_factory=list)
    """The questions: a list of {source: gsm8k | math | generated | file, ...}; see docs/collection.md."""
    output_dir: str = ""
    """Where everything is kept."""
    seed: int = 0
    """Seed of every draw."""
    student: ModelSettings = field(default_factory=ModelSettings)
    """The model whose errors are collected."""
    teacher: ModelSettings = field(default_factory=ModelSettings)
    """The model that analyses, injects and corrects."""
    prompts: str | None = None
    """A folder with prompts of your own; files that it lacks are taken from lemma_train/prompts."""
    attempts: int = 3
    """How often the teacher is asked while its replies fail their checks."""
    on_failure: Literal["stop", "set_aside"] = "stop"
    """What to do with requests that got no answer after max_tries. stop: end the stage with a message when the others
    are done, so that the next start tries them again. set_aside: go on without them."""
    budget: float | None = None
    """Most money to spend in all, over every start; each of n shards may spend its n-th part. null: no limit."""
    currency: str = "USD"
    """The currency of prices and budget."""
    sampling: Sampling = field(default_factory=Sampling)
    """See the table of its keys."""
    analysis: Analysis = field(default_factory=Analysis)
    """See the table of its keys."""
    injection: Injection = field(default_factory=Injection)
    """See the table of its keys."""
    correction: Correction = field(default_factory=Correction)
    """See the table of its keys."""
    smoothing: Smoothing = field(default_factory=Smoothing)
    """See the table of its keys."""
    filters: Filters = field(default_factory=Filters)
    """See the table of its keys."""
    assembly: Assembly = field(default_factory=Assembly)
    """See the table of its keys."""
