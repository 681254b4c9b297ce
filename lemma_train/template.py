"""The one renderer: an instruction becomes prompt ids, an instruction and its output become input_ids and labels.

Enters: plain strings and a tokenizer. Leaves: token ids, labels and loss weights that come out of the same loop, so
that they cannot disagree. Training, evaluation and sampling all call this module; nothing else joins a prompt to a
completion. It reads no files and knows no data format.
"""

import hashlib
import json
from array import array
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from lemma_train.errors import InputError
from lemma_train.token_rows import Encoded, EncodedRows, Tokenized, tokenize
from lemma_train.unwrapping import unwrapped

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORED = -100  # the label that every Hugging Face loss leaves out

# The prompt of LEMMA's evaluation (arXiv 2503.17439, section 4.1 and its code), without a trailing space; the
# completion follows after one space. "alpaca" is the form that other instruction sets are published in.
PROMPTS = {
    "lemma": "### Instruction:\n{instruction}\n\n### Response: Let's think step by step.",
    "alpaca": "### Instruction:\n{instruction}\n\n### Response:",
}
CHAT = "chat"
BETWEEN_SHOTS = "\n\n\n"  # two blank lines: with the next "#" they hold "\n\n#", at which the authors' answers stop
_WORD_BOUNDARY = "\u2581"  # how SentencePiece spells the space before a word


class Renderer:
    """Renders rows for one tokenizer with one template.

    Args:
        tokenizer: a fast tokenizer with an EOS token.
        template: `lemma`, `alpaca`, `chat` (the tokenizer's own chat template), or a text that holds `{instruction}`:
            the completion follows after one space, or at once where the text ends in a line break.

    Raises:
        InputError: the template is unknown, or the tokenizer cannot reproduce it.

    Example:
        >>> renderer = Renderer(tokenizer)                                    # doctest: +SKIP
        >>> renderer.prompt_text("What is 2 + 3?")                            # doctest: +SKIP
        "### Instruction:\\nWhat is 2 + 3?\\n\\n### Response: Let's think step by step."
        >>> renderer.encode("What is 2 + 3?", "It is 5.").labels[-1] == tokenizer.eos_token_id   # doctest: +SKIP
        True
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", template: str = "lemma"):
        if not getattr(tokenizer, "is_fast", False):
            raise InputError(
                f"The tokenizer of {tokenizer.name_or_path!r} has no fast version (tokenizer.json), which the template "
                "needs for exact character offsets; convert it with transformers first."
            )
        if tokenizer.eos_token_id is None:
            raise InputError(
                f"The tokenizer of {tokenizer.name_or_path!r} has no EOS token, so no answer could ever end; "
                "name one with the key eos_token."
            )
        self.tokenizer = tokenizer
        self.template = template
        self._prompt_format, self._separator = self._resolve(template)
        first_id = (tokenizer("a")["input_ids"] or [None])[0]
        self._bos = [first_id] if first_id is not None and first_id == tokenizer.bos_token_id else []
        # SentencePiece-like tokenizers put a word boundary before every text they are given: there the boundary is
        # the separating space, and spelling the space out as well would double it.
        first_piece = tokenizer.convert_ids_to_tokens(tokenizer("a", add_special_tokens=False)["input_ids"])[0]
        puts_boundary = first_piece.startswith(_WORD_BOUNDARY)
        if puts_boundary and self._separator == "" and self._prompt_format is not None:
            raise InputError(
                "template: it ends in a line break, after which this model's tokenizer always puts a space; take the "
                "line break off (a text after `template: |` in YAML ends in one, after `template: |-` in none)."
            )
        self._spelled_separator = "" if puts_boundary and self._separator == " " else self._separator
        specials = set(tokenizer.all_special_tokens)
        if self._prompt_format is None:  # a chat prompt is read with every special token of the vocabulary
            specials |= {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
        self._specials = sorted({t for t in specials if len(t) > 2}, key=len, reverse=True)
        self._special_begins = sorted({token[:2] for token in self._specials})
        if self.template not in (*PROMPTS, CHAT):
            self._check_special_tokens()
        self._check_round_trip()

    def prompt_text(self, instruction: str, shots: Sequence[tuple[str, str]] = ()) -> str:
        """The prompt as text, without BOS; nothing follows it, not even a space.

        shots: worked examples that precede it, as pairs of instruction and output. Each is rendered as a training row,
            and two blank lines follow it; with a chat template they are earlier turns.
        """
        if self._prompt_format is not None:
            rows = [(self._prompt_format.replace("{instruction}", asked), output) for asked, output in shots]
            shown = "".join(prompt + self._separator + output + BETWEEN_SHOTS for prompt, output in rows)
            return shown + self._prompt_format.replace("{instruction}", instruction)
        turns = [turn for asked, output in shots for turn in (("user", asked), ("assistant", output))]
        messages = [{"role": role, "content": content} for role, content in [*turns, ("user", instruction)]]
        text = self._chat(messages, add_generation_prompt=True)
        bos = self.tokenizer.bos_token
        return text.removeprefix(bos) if self._bos and bos else text

    def prompt_ids(self, instruction: str, shots: Sequence[tuple[str, str]] = ()) -> list[int]:
        """The prompt's token ids, shape (prompt_len,): one BOS where the tokenizer wants one, then the template.

        With shots, the ids of each are those of its training row without EOS, and the prompt's own are the same as
        without them: prompts, outputs and the blank lines between them are tokenised apart. With a chat template the
        whole conversation is tokenised at once.

        Raises:
            InputError: a text spells out a special token, which must never be read as one.
        """
        for text in (instruction, *(text for shot in shots for text in shot)):
            if held := self.special_token_in(text):
                raise InputError(f"The instruction {text[:60]!r} spells the special token {held!r}; remove it.")
        if self._prompt_format is None:
            return self._bos + self._ids([self.prompt_text(instruction, shots)], prompt=True)[0]
        ids = list(self._bos)
        if shots:
            between = self._ids([BETWEEN_SHOTS], prompt=True)[0]
            if self.tokenizer.convert_ids_to_tokens(between[0]) == _WORD_BOUNDARY:
                between = between[1:]  # a boundary before a line break would be read as a space at the line's end
            for row in self.encode_batch([asked for asked, _ in shots], [output for _, output in shots]):
                ids += row.input_ids[len(self._bos) : -1] + between
        return ids + self._ids([self.prompt_text(instruction)], prompt=True)[0]

    def encode(
        self,
        instruction: str,
        output: str,
        error_span: tuple[int, int] | None = None,
        error_span_weight: float = 1.0,
    ) -> Encoded:
        """One row; see `encode_batch`."""
        return self.encode_batch([instruction], [output], [error_span], error_span_weight)[0]

    def encode_batch(
        self,
        instructions: Sequence[str],
        outputs: Sequence[str],
        error_spans: Sequence[tuple[int, int] | None] | None = None,
        error_span_weight: float = 1.0,
    ) -> list[Encoded]:
        """Prompt and completion are tokenised apart and their ids joined; EOS comes last and is always supervised.

        Args:
            instructions, outputs: n texts each.
            error_spans: for each row `(start, end)` characters of its output that hold the wrong part, or None.
            error_span_weight: factor on the loss of tokens that overlap the span. 0.0 masks them (label -100);
                a factor other than 0 and 1 fills `loss_weights`.

        Returns:
            n rows; prompt tokens carry the label -100.
        """
        tokenized = self.tokenize(instructions, outputs, offsets=error_span_weight != 1.0)
        rows = self.join(tokenized, error_spans, error_span_weight)
        return [rows.row(i) for i in range(len(rows))]

    def tokenize(self, instructions: Sequence[str], outputs: Sequence[str], offsets: bool) -> Tokenized:
        """The first half of `encode_batch`: prompts and completions apart. Almost all of it runs beside Python.

        offsets: the second half needs to know where tokens stand, because a weight is not 1.
        """
        prompts = [self.prompt_text(text) for text in instructions]
        completions = [self._spelled_separator + text for text in outputs]
        return Tokenized(
            tokenize(self.tokenizer, prompts, special_stay_text=self._prompt_format is not None),
            tokenize(self.tokenizer, completions, special_stay_text=True, offsets=offsets),
            offsets,
        )

    def join(
        self,
        tokenized: Tokenized,
        error_spans: Sequence[tuple[int, int] | None] | None = None,
        error_span_weight: float = 1.0,
    ) -> EncodedRows:
        """The second half of `encode_batch`: ids, labels and weights, in flat arrays."""
        weighted, eos = error_span_weight != 1.0, self.tokenizer.eos_token_id
        assert tokenized.offsets or not weighted, "spans cannot be found without offsets"
        ids = array("i")
        supervised, starts = [], [0]  # where the labels begin in each row, and where the rows do
        for prompt, completion in zip(tokenized.prompts, tokenized.completions, strict=True):
            ids.fromlist(self._bos)
            ids.fromlist(prompt.ids)
            supervised.append(len(ids))
            ids.fromlist(completion.ids)
            ids.append(eos)
            starts.append(len(ids))
        input_ids = np.asarray(ids)  # the same memory
        labels, weights = input_ids.copy(), np.ones(len(ids) if weighted else 0)
        for i, first in enumerate(supervised):
            labels[starts[i] : first] = IGNORED
            span = error_spans[i] if error_spans is not None and weighted else None
            if span is None or first == starts[i + 1] - 1:
                continue
            edges = np.fromiter(chain.from_iterable(tokenized.completions[i].offsets), dtype=np.int32)
            begins, ends = edges[::2] - len(self._spelled_separator), edges[1::2] - len(self._spelled_separator)
            # A token that only touches the span with one character is still partly wrong text: it belongs to it.
            wrong = first + np.flatnonzero((begins < span[1]) & (np.maximum(ends, begins + 1) > span[0]))
            weights[wrong] = error_span_weight
            if not error_span_weight:
                labels[wrong] = IGNORED
        told = weights if error_span_weight not in (0.0, 1.0) else None
        return EncodedRows(input_ids, labels, told, np.array(starts, dtype=np.int32))

    def unwrap(self, instruction: str, output: str) -> tuple[str, str, bool]:
        """Take a template off an instruction that already holds one, so that it is never wrapped twice.

        Returns and raises as `unwrapping.unwrapped`.
        """
        return unwrapped(instruction, output, opens_with_phrase=self.template == "lemma")

    def special_token_in(self, text: str) -> str | None:
        """The first special token of the vocabulary that `text` spells out, or None."""
        if not any(begin in text for begin in self._special_begins):
            return None  # Llama 3 has 256 special tokens, and hardly a text holds their "<|"
        return next((token for token in self._specials if token in text), None)

    def description(self) -> dict[str, str | bool]:
        """What is stored beside a model, so that its evaluation can be held to the same template."""
        return {
            "template": self.template,
            "prompt": self._prompt_format if self._prompt_format is not None else self.tokenizer.chat_template,
            "separator": self._separator,
            "bos": bool(self._bos),
        }

    @property
    def fingerprint(self) -> str:
        """SHA-256 over `description()`, shortened to 16 hexadecimal digits."""
        text = json.dumps(self.description(), sort_keys=True, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _resolve(self, template: str) -> tuple[str | None, str]:
        if template == CHAT:
            self._check_chat_template()
            return None, ""
        if template in PROMPTS:
            return PROMPTS[template], " "
        if "{instruction}" not in template:
            raise InputError(
                f"template: {template!r} is neither {', '.join(PROMPTS)}, {CHAT} nor a text that holds {{instruction}}."
            )
        prompt = template.rstrip(" ")
        return prompt, "" if prompt.endswith("\n") else " "

    def _check_special_tokens(self) -> None:
        """In a template of one's own a special token would be read as plain text, and be other ids to every server."""
        known = {token.content for token in self.tokenizer.added_tokens_decoder.values() if token.special}
        known.update(self.tokenizer.all_special_tokens)
        spelled = next((token for token in sorted(known) if len(token) > 2 and token in self.template), None)
        if spelled:
            raise InputError(
                f"template: it spells the special token {spelled!r}, which would be trained as plain text; use "
                "template: chat, and give the format as a Jinja file with chat_template_path."
            )

    def _chat(self, messages: list[dict[str, str]], **options: Any) -> str:
        return str(self.tokenizer.apply_chat_template(messages, tokenize=False, **options))

    def _check_chat_template(self) -> None:
        if not self.tokenizer.chat_template:
            raise InputError(
                f"template: chat needs a chat template, and the tokenizer of {self.tokenizer.name_or_path!r} has none; "
                "use template: lemma or name one with chat_template_path."
            )
        turns = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]
        ending = self._chat(turns).rpartition("A")[2].strip()
        if ending and not ending.startswith(self.tokenizer.eos_token):
            raise InputError(
                f"template: chat ends a turn with {ending!r} but the tokenizer's EOS is {self.tokenizer.eos_token!r}; "
                "set eos_token to the token that ends a turn."
            )

    def _ids(self, texts: list[str], prompt: bool) -> list[list[int]]:
        # A chat prompt needs its special tokens read as such; everywhere else text must stay text.
        special_stay_text = not (prompt and self._prompt_format is None)
        return [found.ids for found in tokenize(self.tokenizer, texts, special_stay_text)]

    def _check_round_trip(self) -> None:
        row = self.encode("What is 2 + 3?", "It is 5.")
        decoded: Any = self.tokenizer.decode(row.input_ids[len(self._bos) : -1], clean_up_tokenization_spaces=False)
        expected = self.prompt_text("What is 2 + 3?") + self._separator + "It is 5."
        if decoded.strip() != expected.strip():
            raise InputError(
                f"The tokenizer of {self.tokenizer.name_or_path!r} does not reproduce the template: {expected!r} came "
                f"back as {decoded!r}. Use another template or another tokenizer."
            )
