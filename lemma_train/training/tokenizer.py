"""The tokenizer, with a padding token that never equals an end token.

Enters: a recipe's values. Leaves: a fast tokenizer whose pad, EOS and chat template are settled. A pad that equals EOS
is the classic trap: whatever masks padding then masks the end of every answer, and the model never learns to stop.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from lemma_train.errors import InputError, first_line
from lemma_train.model_names import missing_folder
from lemma_train.training.recipe import Recipe

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NEW_PAD = "<|pad|>"
# Tokens that vocabularies set aside, in the order of preference: made for padding, then merely reserved.
_RESERVED = ("<|finetune_right_pad_id|>", "<|pad|>", "<pad>", "[PAD]", "<|reserved_special_token_0|>")


def load_tokenizer(recipe: Recipe) -> "PreTrainedTokenizerBase":
    """Load and settle the tokenizer of a recipe's model.

    Raises:
        InputError: the folder or Hub name holds no usable tokenizer, or `eos_token` or `chat_template_path` is wrong.
    """
    from transformers import AutoTokenizer

    name = recipe["model_name_or_path"]
    if missing := missing_folder(name):
        raise InputError(f"model_name_or_path: {missing}")
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            name, revision=recipe["model_revision"], trust_remote_code=recipe["trust_remote_code"]
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ImportError) as error:
        raise InputError(unreadable(name, "tokenizer", error)) from error
    if len(tokenizer) < 2:
        raise InputError(f"model_name_or_path: {name} holds no usable tokenizer (its vocabulary is empty).")
    if recipe["eos_token"] is not None:
        if recipe["eos_token"] not in tokenizer.get_vocab():
            raise InputError(f"eos_token: {recipe['eos_token']!r} is not in the vocabulary of {name}.")
        tokenizer.eos_token = recipe["eos_token"]
    if recipe["chat_template_path"] is not None:
        try:
            tokenizer.chat_template = Path(recipe["chat_template_path"]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"chat_template_path: {first_line(error)}; it must name a Jinja file.") from error
    settle_padding(tokenizer)
    return tokenizer


def settle_padding(tokenizer: "PreTrainedTokenizerBase") -> str:
    """Give the tokenizer a pad token other than EOS, and say which rule found it.

    The rules, in order: its own pad token; a token that the vocabulary reserves; the unknown token; a new token
    `<|pad|>`, for which the model's embedding is grown where it has no spare row.

    Returns:
        `own`, `reserved`, `unknown` or `new`.

    Example:
        >>> settle_padding(llama3_tokenizer), llama3_tokenizer.pad_token   # doctest: +SKIP
        ('reserved', '<|reserved_special_token_0|>')
    """
    tokenizer.padding_side = "right"
    if tokenizer.pad_token_id is not None and tokenizer.pad_token_id != tokenizer.eos_token_id:
        return "own"
    vocabulary = tokenizer.get_vocab()
    for token in _RESERVED:
        if token in vocabulary and vocabulary[token] != tokenizer.eos_token_id:
            tokenizer.pad_token = token
            return "reserved"
    if tokenizer.unk_token_id is not None and tokenizer.unk_token_id != tokenizer.eos_token_id:
        tokenizer.pad_token = tokenizer.unk_token
        return "unknown"
    tokenizer.add_special_tokens({"pad_token": NEW_PAD})
    return "new"


def unreadable(name: str, part: str, error: BaseException) -> str:
    """The message for a model folder or Hub name of which `part` cannot be loaded."""
    if Path(name).is_dir():
        return f"model_name_or_path: the folder {name} holds no usable {part}: {first_line(error)}"
    return (
        f"model_name_or_path: {name!r} is neither a folder here nor a model that can be loaded from the Hugging Face "
        f"Hub: {first_line(error)} Offline, download it first and give its path."
    )
