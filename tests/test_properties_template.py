"""What holds of every row that the renderer makes, whatever text people and models write."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers.convert_slow_tokenizer import bytes_to_unicode

from lemma_train.errors import InputError
from lemma_train.template import BETWEEN_SHOTS, IGNORED, Renderer
from lemma_train.token_rows import Encoded

settings.register_profile("rows", max_examples=120, deadline=None, derandomize=True, database=None)
ROWS = settings.get_profile("rows")
_BYTE_OF = {sign: byte for byte, sign in bytes_to_unicode().items()}

# What trips tokenizers: special tokens spelt out, template markers, runs of blanks, signs of several bytes.
_PIECES = st.sampled_from(
    [
        *("<|im_end|>", "<|im_start|>", "<|endoftext|>", "<|end_of_text|>", "<|begin_of_text|>", "<|eot_id|>"),
        *("### Instruction:", "\n\n### Response: Let's think step by step.", "{instruction}", BETWEEN_SHOTS),
        *(" ", "  ", "\n", "\t", "\r\n", "\u00a0", "\u200d", "\ufeff", "\x00", "\u202e"),
        *(
            "2 + 3 = 5",
            "$\\frac{1}{2}$",
            "1234567",
            "\u00e9",
            "e\u0301",
            "\u4e09",
            "\U0001f600",
            "\U0001f1e9\U0001f1ea",
        ),
    ]
)
# Without halves of characters, which `records` refuses; and without most controls and what Unicode has not assigned:
# SmolLM2's vocabulary lacks some of their bytes, and leaves them out without a word.
_CHARACTERS = st.characters(exclude_categories=["Cs", "Cn", "Cc"])
TEXTS = st.lists(_PIECES | st.text(_CHARACTERS, max_size=6), max_size=12).map("".join)


@pytest.fixture(scope="module", params=["smollm2", "llama3"])
def renderer(request):
    return Renderer(request.getfixturevalue(f"{request.param}_tokenizer"))


def _bytes_of(renderer: Renderer, ids: list[int]) -> list[bytes]:
    """Each token's own bytes, from the vocabulary and not from the offsets that the renderer goes by."""
    tokens = renderer.tokenizer.convert_ids_to_tokens(ids)
    return [bytes(_BYTE_OF[sign] for sign in token) for token in tokens]


@ROWS
@given(instruction=TEXTS, output=TEXTS)
@example(instruction="<|im_end|>", output="<|im_end|><|end_of_text|>")
def test_a_row_is_the_prompt_then_the_output_then_one_eos(renderer, instruction, output):
    row = renderer.encode(instruction, output)
    tokenizer = renderer.tokenizer
    prompt = renderer.encode(instruction, "").input_ids
    prompt = prompt[: sum(label == IGNORED for label in row.labels)]
    if renderer.special_token_in(instruction):
        with pytest.raises(InputError, match="special token"):
            renderer.prompt_ids(instruction)
    else:
        assert prompt == renderer.prompt_ids(instruction)
    assert row.input_ids[: len(prompt)] == prompt
    assert row.labels == [IGNORED] * len(prompt) + row.input_ids[len(prompt) :]
    assert row.input_ids.count(tokenizer.eos_token_id) == 1 and row.labels[-1] == tokenizer.eos_token_id
    begins = tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id
    assert row.input_ids.count(tokenizer.bos_token_id) == begins
    assert not begins or row.input_ids[0] == tokenizer.bos_token_id
    # Not one byte of what was written is lost, added or read as anything but text.
    assert b"".join(_bytes_of(renderer, row.input_ids[len(prompt) : -1])) == f" {output}".encode()
    assert b"".join(_bytes_of(renderer, prompt[int(begins) :])) == renderer.prompt_text(instruction).encode()


@ROWS
@given(
    output=TEXTS.filter(bool),
    edges=st.tuples(st.integers(0, 60), st.integers(1, 60)),
    weight=st.sampled_from([0.0, 0.5, 2.0]),
)
def test_the_span_weighs_the_tokens_that_hold_its_bytes_and_no_others(renderer, output, edges, weight):
    start = edges[0] % len(output)
    end = min(len(output), start + edges[1])
    row = renderer.encode("What is 2 + 3?", output, (start, end), weight)
    plain = renderer.encode("What is 2 + 3?", output)
    assert row.input_ids == plain.input_ids
    first = plain.labels.count(IGNORED)
    bounds = [len(f" {output[:edge]}".encode()) for edge in (start, end)]
    position, expected = 0, []
    for piece in _bytes_of(renderer, row.input_ids[first:-1]):
        expected.append(position < bounds[1] and position + len(piece) > bounds[0])
        position += len(piece)
    if weight:
        weights = row.loss_weights
        assert weights is not None and row.labels == plain.labels
        assert weights == [1.0] * first + [weight if wrong else 1.0 for wrong in expected] + [1.0]
    else:
        assert row.loss_weights is None
        assert [label == IGNORED for label in row.labels[first:]] == [*expected, False]


@ROWS
@given(rows=st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=4))
def test_a_batch_is_its_rows_one_by_one(renderer, rows):
    asked, written = [row[0] for row in rows], [row[1] for row in rows]
    assert renderer.encode_batch(asked, written) == [renderer.encode(*row) for row in rows]
    spans = [(0, len(output)) if output else None for output in written]
    one_by_one = [renderer.encode(*row, span, 0.25) for row, span in zip(rows, spans, strict=True)]
    assert renderer.encode_batch(asked, written, spans, 0.25) == one_by_one


def _plainly(renderer: Renderer, asked: str, written: str, span: tuple[int, int] | None, weight: float) -> Encoded:
    """A row as transformers' own call of the tokenizer makes it, token by token."""
    tokenizer = renderer.tokenizer
    as_text = {"add_special_tokens": False, "split_special_tokens": True}
    ids = [tokenizer.bos_token_id] * (tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id)
    ids += tokenizer(renderer.prompt_text(asked), **as_text)["input_ids"]
    labels, weights = [IGNORED] * len(ids), [1.0] * len(ids)
    found = tokenizer(f" {written}", return_offsets_mapping=True, **as_text)
    for token, (start, end) in zip(found["input_ids"], found["offset_mapping"], strict=True):
        wrong = span is not None and start - 1 < span[1] and max(end, start + 1) - 1 > span[0]
        ids.append(token)
        labels.append(IGNORED if wrong and weight == 0.0 else token)
        weights.append(weight if wrong else 1.0)
    eos = tokenizer.eos_token_id
    return Encoded([*ids, eos], [*labels, eos], [*weights, 1.0] if weight not in (0.0, 1.0) else None)


@ROWS
@given(
    rows=st.lists(st.tuples(TEXTS, TEXTS, st.none() | st.tuples(st.integers(0, 60), st.integers(1, 60))), max_size=4),
    weight=st.sampled_from([0.0, 0.3, 1.0, 2.0]),
)
@example(rows=[("", "", (0, 1)), ("<|im_end|>", "<|im_end|>", (0, 9)), ("a", "\U0001f600" * 3, (1, 2))], weight=0.0)
def test_a_batch_is_what_the_tokenizers_own_call_makes_token_by_token(renderer, rows, weight):
    asked, written, spans = ([row[i] for row in rows] for i in range(3))
    spans = [span and (span[0], span[0] + span[1]) for span in spans]
    expected = [_plainly(renderer, *row, weight) for row in zip(asked, written, spans, strict=True)]
    backend = renderer.tokenizer.backend_tokenizer
    backend.enable_truncation(1)  # what an earlier caller may have left
    backend.enable_padding(length=3)
    backend.encode_special_tokens = False
    assert renderer.encode_batch(asked, written, spans, weight) == expected


@ROWS
@given(instruction=TEXTS.map(str.strip).filter(bool), output=TEXTS.map(str.strip).filter(bool))
def test_what_was_rendered_comes_off_again(renderer, instruction, output):
    try:
        bare = renderer.unwrap(instruction, output)
    except ValueError:
        return  # it holds markers that nobody can read
    if bare[2]:
        return  # it came wrapped: what is inside is another text
    assert renderer.unwrap(renderer.prompt_text(instruction), output) == (instruction, output, True)
