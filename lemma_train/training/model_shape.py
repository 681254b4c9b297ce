"""The shape of a model: how many parameters stand where, without loading one.

Enters: a recipe's model name or folder. Leaves: a `ModelShape`, from the folder's config.json, from the table of the
models that the recipes train, or from a config.json that the Hub's cache holds. It reads no weights, asks no network
and imports no heavy library; it knows dense models built like Llama.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lemma_train.errors import InputError, first_line

LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_TYPES = ("llama", "mistral", "qwen2", "qwen3")
_MOST_LAYERS, _WIDEST = 10_000, 10_000_000


@dataclass(frozen=True)
class ModelShape:
    """A decoder of Llama's build.

    hidden, intermediate, vocab: widths. kv_heads: below heads with grouped-query attention. tied: the head is the
    embedding. qkv_bias, o_bias, mlp_bias: which linear layers have one. head_norms: q and k are normalised per head.
    """

    name: str
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    tied: bool = False
    qkv_bias: bool = False
    o_bias: bool = False
    mlp_bias: bool = False
    head_norms: bool = False

    @property
    def query(self) -> int:
        """Width of all query heads together."""
        return self.heads * self.head_dim

    @property
    def key(self) -> int:
        """Width of all key heads together, and of all value heads."""
        return self.kv_heads * self.head_dim

    def linear(self, name: str) -> tuple[int, int]:
        """Inputs and outputs of one linear layer, by its name within a decoder layer."""
        return {
            "q_proj": (self.hidden, self.query),
            "k_proj": (self.hidden, self.key),
            "v_proj": (self.hidden, self.key),
            "o_proj": (self.query, self.hidden),
            "gate_proj": (self.hidden, self.intermediate),
            "up_proj": (self.hidden, self.intermediate),
            "down_proj": (self.intermediate, self.hidden),
        }[name]

    @property
    def embedding(self) -> int:
        """Parameters of the embedding; as many as of the head."""
        return self.vocab * self.hidden

    def parameters(self) -> dict[str, int]:
        """Parameters by module, all layers together; `lm_head` is 0 where it is tied to the embedding.

        Example:
            >>> sum(KNOWN["HuggingFaceTB/SmolLM2-135M"].parameters().values())
            134515008
        """
        biased = {"q_proj": self.qkv_bias, "k_proj": self.qkv_bias, "v_proj": self.qkv_bias, "o_proj": self.o_bias}
        found = {"embed_tokens": self.embedding}
        for name in LINEAR:
            inputs, outputs = self.linear(name)
            found[name] = self.layers * outputs * (inputs + biased.get(name, self.mlp_bias))
        found["norms"] = self.hidden * (2 * self.layers + 1) + self.layers * 2 * self.head_dim * self.head_norms
        found["lm_head"] = 0 if self.tied else self.embedding
        return found

    @property
    def total(self) -> int:
        return sum(self.parameters().values())

    @property
    def in_linear_layers(self) -> int:
        """Parameters of the decoder layers' linear layers: what quantisation shrinks and autocast copies."""
        parameters = self.parameters()
        return sum(parameters[name] for name in LINEAR)

    @property
    def layer(self) -> int:
        """Parameters of one decoder layer."""
        return (self.total - self.parameters()["lm_head"] - self.embedding - self.hidden) // self.layers

    @property
    def largest_linear(self) -> int:
        return max(inputs * outputs for inputs, outputs in map(self.linear, LINEAR))

    @property
    def multiplied(self) -> int:
        """Parameters that every token is multiplied with: all but the embedding's table; a tied head counts."""
        return self.total - (0 if self.tied else self.embedding)


def _llama(name: str, hidden: int, intermediate: int, layers: int, heads: int, kv_heads: int, vocab: int, **more: bool):
    return ModelShape(name, hidden, intermediate, layers, heads, kv_heads, hidden // heads, vocab, **more)


# From the models' published config.json files.
KNOWN = {
    shape.name: shape
    for shape in (
        _llama("meta-llama/Meta-Llama-3-8B", 4096, 14336, 32, 32, 8, 128256),
        _llama("meta-llama/Meta-Llama-3-70B", 8192, 28672, 80, 64, 8, 128256),
        _llama("deepseek-ai/deepseek-math-7b-base", 4096, 11008, 30, 32, 32, 102400),
        _llama("mistralai/Mistral-7B-v0.1", 4096, 14336, 32, 32, 8, 32000),
        _llama("Qwen/Qwen2-Math-7B", 3584, 18944, 28, 28, 4, 152064, qkv_bias=True),
        _llama("HuggingFaceTB/SmolLM2-135M", 576, 1536, 30, 9, 3, 49152, tied=True),
    )
}
# The quickstart makes this folder; a plan should be possible before it has.
_FOLDERS = {"models/smollm2-135m": "HuggingFaceTB/SmolLM2-135M"}


def shape_of(name: str, revision: str | None = None) -> ModelShape:
    """The shape of a model folder or Hub name.

    Raises:
        InputError: its config.json is damaged or of a kind that is not modelled, or there is none and the name is not
            in the table.
    """
    folder = Path(name)
    if (folder / "config.json").is_file():
        return _from_config(folder / "config.json", name)
    known = {key.lower(): shape for key, shape in KNOWN.items()}.get(_FOLDERS.get(name, name).lower())
    if known is not None:
        return known
    if not folder.is_dir():
        from huggingface_hub import try_to_load_from_cache
        from huggingface_hub.errors import HFValidationError

        try:
            cached = try_to_load_from_cache(name, "config.json", revision=revision)
        except HFValidationError:
            cached = None
        if isinstance(cached, str):
            return _from_config(Path(cached), name)
    raise InputError(
        f"model_name_or_path: the shape of {name} is not known here ({', '.join(KNOWN)} are built in); give the path "
        "of a folder that holds its config.json."
    )


def _from_config(path: Path, name: str) -> ModelShape:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"model_name_or_path: {path} is not readable JSON: {first_line(error)}.") from error
    if not isinstance(config, dict) or config.get("model_type") not in _TYPES:
        kind = config.get("model_type") if isinstance(config, dict) else None
        raise InputError(
            f"model_name_or_path: {path}: model_type {kind!r} is not one that `lemma plan` knows: {', '.join(_TYPES)}."
        )
    kind = config["model_type"]
    hidden, heads = _size(config, "hidden_size", path), _size(config, "num_attention_heads", path)
    kv_heads = _size(config, "num_key_value_heads", path, heads)
    if heads % kv_heads:
        raise InputError(f"model_name_or_path: {path}: {heads} heads cannot share {kv_heads} key-value heads.")
    bias = bool(config.get("attention_bias")) and kind in ("llama", "qwen3")
    return ModelShape(
        name=name,
        hidden=hidden,
        intermediate=_size(config, "intermediate_size", path),
        layers=_size(config, "num_hidden_layers", path),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=_size(config, "head_dim", path, max(1, hidden // heads)),
        vocab=_size(config, "vocab_size", path),
        tied=bool(config.get("tie_word_embeddings")),
        qkv_bias=bias or kind == "qwen2",
        o_bias=bias,
        mlp_bias=bool(config.get("mlp_bias")) and kind == "llama",
        head_norms=kind == "qwen3",
    )


def _size(config: Mapping[str, Any], key: str, path: Path, default: int | None = None) -> int:
    value = config.get(key)
    value = default if value is None else value
    most = _MOST_LAYERS if key == "num_hidden_layers" else _WIDEST
    if type(value) is not int or not 1 <= value <= most:
        raise InputError(f"model_name_or_path: {path}: {key} must be a whole number from 1 to {most}; it is {value!r}.")
    return value
