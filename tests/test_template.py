"""The renderer on two real tokenizers, with exact ids; nothing here may change without changing every trained model."""

import copy

import pytest

from lemma_train.errors import InputError
from lemma_train.template import IGNORED, Renderer

QUESTION, ANSWER = "What is 2 + 3?", "It is 5."
TEXT = "### Instruction:\nWhat is 2 + 3?\n\n### Response: Let's think step by step."
# fmt: off
PROMPT_IDS = {
    "smollm2": [3757, 20880, 42, 198, 1780, 314, 216, 34, 1232, 216, 35, 47, 198, 198, 3757, 14212, 42, 2959, 506,
                1510, 1833, 411, 1833, 30],
    "llama3": [128000, 14711, 30151, 512, 3923, 374, 220, 17, 489, 220, 18, 1980, 14711, 6075, 25, 6914, 596, 1781,
               3094, 555, 3094, 13],
}
# fmt: on
COMPLETION_IDS = {"smollm2": [657, 314, 216, 37, 30, 2], "llama3": [1102, 374, 220, 20, 13, 128001]}
CHAT_PREFIX = (
    "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
    "<|im_start|>user\n"
)


@pytest.fixture(params=["smollm2", "llama3"])
def model(request):
    return request.param


@pytest.fixture
def tokenizer(request, model):
    return request.getfixturevalue(f"{model}_tokenizer")


@pytest.fixture
def renderer(tokenizer):
    return Renderer(tokenizer)


def test_prompt_has_the_papers_text_and_exact_ids(renderer, model):
    assert renderer.prompt_text(QUESTION) == TEXT
    assert renderer.prompt_ids(QUESTION) == PROMPT_IDS[model]


def test_row_has_exact_ids_and_labels(renderer, model):
    row = renderer.encode(QUESTION, ANSWER)
    assert row.input_ids == PROMPT_IDS[model] + COMPLETION_IDS[model]
    assert row.labels == [IGNORED] * len(PROMPT_IDS[model]) + COMPLETION_IDS[model]
    assert row.loss_weights is None


def test_llama3_gets_one_bos_and_smollm2_none(smollm2_tokenizer, llama3_tokenizer):
    llama = Renderer(llama3_tokenizer).encode(QUESTION, ANSWER).input_ids
    assert llama[0] == 128000 and llama.count(128000) == 1
    assert smollm2_tokenizer.bos_token_id not in Renderer(smollm2_tokenizer).encode(QUESTION, ANSWER).input_ids


def test_eos_is_last_supervised_and_the_only_one(renderer, tokenizer):
    row = renderer.encode(QUESTION, ANSWER, error_span=(0, len(ANSWER)), error_span_weight=0.0)
    assert row.input_ids[-1] == row.labels[-1] == tokenizer.eos_token_id
    assert row.input_ids.count(tokenizer.eos_token_id) == 1
    assert set(row.labels[:-1]) == {IGNORED}


@pytest.mark.parametrize("question", [QUESTION, "1\n\n2", "  spaced  ", "a ###", "Prix: 5€ 🧮", "x" * 500, "日本語?"])
@pytest.mark.parametrize("answer", [ANSWER, "\n", "5", "ïve", "$5$", "\\boxed{5}\n\n#### 5"])
def test_masked_part_of_a_row_is_the_evaluation_prompt(renderer, tokenizer, question, answer):
    prompt, row = renderer.prompt_ids(question), renderer.encode(question, answer)
    assert row.input_ids[: len(prompt)] == prompt
    assert [label == IGNORED for label in row.labels] == [True] * len(prompt) + [False] * (
        len(row.labels) - len(prompt)
    )
    decoded = tokenizer.decode(row.input_ids[:-1], skip_special_tokens=True, clean_up_tokenization_spaces=False)
    assert decoded == renderer.prompt_text(question) + " " + answer


def test_batch_and_single_rows_agree(renderer):
    batch = renderer.encode_batch([QUESTION, "Q2"], [ANSWER, "It is not."], [(0, 2), None], 0.5)
    assert batch == [
        renderer.encode(QUESTION, ANSWER, (0, 2), 0.5),
        renderer.encode("Q2", "It is not.", None, 0.5),
    ]


def test_llama3_ids_are_those_of_metas_own_encoder(llama3_tokenizer, llama3_bpe_file):
    import conftest
    import tiktoken
    from tiktoken.load import load_tiktoken_bpe

    meta = tiktoken.Encoding(
        "llama3",
        pat_str=conftest.LLAMA3_PATTERN,
        mergeable_ranks=load_tiktoken_bpe(str(llama3_bpe_file)),
        special_tokens={token: 128000 + i for i, token in enumerate(conftest.LLAMA3_SPECIAL_TOKENS)},
    )
    renderer = Renderer(llama3_tokenizer)
    assert llama3_tokenizer("###", add_special_tokens=False)["input_ids"] == [14711]
    for question in (QUESTION, "Prix: 5€ 🧮 naïve\n\n\tx", "1234567 <|eot_id|>", "日本語?", "it'S  we'LL \r\n"):
        text = renderer.prompt_text(question)
        assert renderer.prompt_ids(question) == [128000, *meta.encode(text, disallowed_special=())]


# --- worked examples before the prompt ------------------------------------------------------------------------------

SHOTS = [("What is 1 + 1?", "It is 2."), ("What is 9 - 2?", "It is 7.")]
BLANK_LINES_IDS = {"smollm2": [16506], "llama3": [1432]}


def test_no_shots_change_nothing(renderer, model):
    assert renderer.prompt_text(QUESTION, []) == TEXT
    assert renderer.prompt_ids(QUESTION, []) == PROMPT_IDS[model]


def test_shots_are_training_rows_with_two_blank_lines_between(renderer):
    assert renderer.prompt_text(QUESTION, SHOTS) == (
        "### Instruction:\nWhat is 1 + 1?\n\n### Response: Let's think step by step. It is 2.\n\n\n"
        "### Instruction:\nWhat is 9 - 2?\n\n### Response: Let's think step by step. It is 7.\n\n\n" + TEXT
    )


def test_shots_have_the_ids_of_their_training_rows_and_one_bos(renderer, tokenizer, model):
    bos = PROMPT_IDS[model][:1] if model == "llama3" else []
    rows = [renderer.encode(*shot).input_ids[len(bos) : -1] + BLANK_LINES_IDS[model] for shot in SHOTS]
    ids = renderer.prompt_ids(QUESTION, SHOTS)
    assert ids == bos + rows[0] + rows[1] + PROMPT_IDS[model][len(bos) :]
    assert tokenizer.eos_token_id not in ids
    assert tokenizer.decode(ids[len(bos) :]) == renderer.prompt_text(QUESTION, SHOTS)


def test_shots_of_a_chat_template_are_earlier_turns(smollm2_tokenizer):
    text = Renderer(smollm2_tokenizer, "chat").prompt_text(QUESTION, SHOTS[:1])
    assert text == (
        CHAT_PREFIX + "What is 1 + 1?<|im_end|>\n<|im_start|>assistant\nIt is 2.<|im_end|>\n"
        "<|im_start|>user\n" + QUESTION + "<|im_end|>\n<|im_start|>assistant\n"
    )
    ids = Renderer(smollm2_tokenizer, "chat").prompt_ids(QUESTION, SHOTS[:1])
    assert ids == smollm2_tokenizer(text, add_special_tokens=False)["input_ids"]
    assert ids.count(smollm2_tokenizer.eos_token_id) == 4  # <|im_end|> after each of the four turns


@pytest.mark.parametrize("template", ["lemma", "chat"])
@pytest.mark.parametrize("shot", [("a {} b", "It is 2."), ("What?", "It is {}.")])
def test_shots_must_not_spell_special_tokens(smollm2_tokenizer, template, shot):
    eos = smollm2_tokenizer.eos_token
    with pytest.raises(InputError, match="spells the special token"):
        Renderer(smollm2_tokenizer, template).prompt_ids(QUESTION, [tuple(text.format(eos) for text in shot)])


# --- the loss on the wrong part -------------------------------------------------------------------------------------

# (output, error_span, tokens of the completion without EOS, which of them belong to the wrong part)
SPANS = {
    "smollm2": [
        ("One two three.", (0, 3), [" One", " two", " three", "."], [1, 0, 0, 0]),
        ("One two three.", (4, 7), [" One", " two", " three", "."], [0, 1, 0, 0]),
        ("One two three.", (3, 7), [" One", " two", " three", "."], [0, 1, 0, 0]),
        ("One two three.", (5, 9), [" One", " two", " three", "."], [0, 1, 1, 0]),
        ("One two three.", (0, 14), [" One", " two", " three", "."], [1, 1, 1, 1]),
        ("unbelievable sum", (4, 6), [" unbelie", "vable", " sum"], [1, 0, 0]),
        ("5€ 🧮 na", (1, 2), [" ", "5", "€", " \ufffd", "\ufffd", "\ufffd", " na"], [0, 0, 1, 0, 0, 0, 0]),
        ("5€ 🧮 na", (3, 4), [" ", "5", "€", " \ufffd", "\ufffd", "\ufffd", " na"], [0, 0, 0, 1, 1, 1, 0]),
    ],
    "llama3": [
        ("One two three.", (0, 3), [" One", " two", " three", "."], [1, 0, 0, 0]),
        ("One two three.", (4, 7), [" One", " two", " three", "."], [0, 1, 0, 0]),
        ("One two three.", (3, 7), [" One", " two", " three", "."], [0, 1, 0, 0]),
        ("One two three.", (5, 9), [" One", " two", " three", "."], [0, 1, 1, 0]),
        ("One two three.", (0, 14), [" One", " two", " three", "."], [1, 1, 1, 1]),
        ("unbelievable sum", (4, 6), [" unbelievable", " sum"], [1, 0]),
        ("5€ 🧮 na", (1, 2), [" ", "5", "€", " \ufffd", "\ufffd", "\ufffd", " na"], [0, 0, 1, 0, 0, 0, 0]),
        ("5€ 🧮 na", (3, 4), [" ", "5", "€", " \ufffd", "\ufffd", "\ufffd", " na"], [0, 0, 0, 1, 1, 1, 0]),
    ],
}


@pytest.mark.parametrize("case", range(8))
@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0, 2.0])
def test_error_span_weights_token_by_token(renderer, tokenizer, model, case, weight):
    output, span, pieces, wrong = SPANS[model][case]
    row = renderer.encode("Q", output, span, weight)
    start = len(renderer.prompt_ids("Q"))
    completion = row.input_ids[start:-1]
    assert [tokenizer.decode([token]) for token in completion] == pieces
    assert row.labels[:start] == [IGNORED] * start and row.labels[-1] == tokenizer.eos_token_id
    if weight == 0.0:
        assert row.labels[start:-1] == [IGNORED if w else t for t, w in zip(completion, wrong, strict=True)]
    else:
        assert row.labels[start:-1] == completion
    if weight in (0.0, 1.0):
        assert row.loss_weights is None
    else:
        assert row.loss_weights == [1.0] * start + [weight if w else 1.0 for w in wrong] + [1.0]
    assert row.input_ids == renderer.encode("Q", output).input_ids


@pytest.mark.parametrize("span", [None, (0, 3)])
def test_weight_one_changes_nothing(renderer, span):
    assert renderer.encode("Q", "One two.", span, 1.0) == renderer.encode("Q", "One two.")


def test_weight_zero_without_span_supervises_the_whole_output(renderer):
    assert renderer.encode("Q", "One two.", None, 0.0) == renderer.encode("Q", "One two.")


# --- other tokenizers, other templates ------------------------------------------------------------------------------


@pytest.fixture(params=["metaspace", "prepend"])
def sentencepiece_like(request):
    """Tokenizers in the two forms of converted SentencePiece models: each puts a word boundary before every text."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    built = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    if request.param == "metaspace":
        built.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always", split=False)
        built.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    else:
        built.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        built.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(content=" ", left=1, right=0)]
        )
    # A vocabulary of single characters: the spans can then be asserted to the character.
    trainer = trainers.BpeTrainer(vocab_size=1, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False)
    built.train_from_iterator([TEXT, ANSWER, "It is wrong. No: it is 5.", "abcdefghijklmnopqrstuvwxyz"], trainer)
    built.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=built, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def test_sentencepiece_like_tokenizer_gets_no_doubled_space(sentencepiece_like):
    renderer = Renderer(sentencepiece_like)
    row = renderer.encode(QUESTION, ANSWER)
    assert row.input_ids[0] == 1 and row.input_ids.count(1) == 1 and row.input_ids[-1] == 2
    pieces = "".join(sentencepiece_like.convert_ids_to_tokens(row.input_ids[1:-1]))
    assert pieces == "▁" + (TEXT + " " + ANSWER).replace(" ", "▁")


def test_sentencepiece_like_tokenizer_puts_no_space_at_the_end_of_a_shot(sentencepiece_like):
    ids = Renderer(sentencepiece_like).prompt_ids(QUESTION, [(QUESTION, ANSWER)])
    pieces = "".join(sentencepiece_like.convert_ids_to_tokens(ids))
    prompt = "▁" + TEXT.replace(" ", "▁")
    assert pieces == "<s>" + prompt + "▁" + ANSWER.replace(" ", "▁") + "\n\n\n" + prompt


def test_sentencepiece_like_tokenizer_places_error_spans(sentencepiece_like):
    renderer = Renderer(sentencepiece_like)
    output = "It is wrong. No: it is 5."
    row = renderer.encode(QUESTION, output, (0, 12), 0.0)
    kept = [i for i, label in zip(row.input_ids, row.labels, strict=True) if label != IGNORED]
    masked = row.input_ids[len(renderer.prompt_ids(QUESTION)) : -len(kept)]
    assert "".join(sentencepiece_like.convert_ids_to_tokens(masked)) == "▁It▁is▁wrong."
    assert "".join(sentencepiece_like.convert_ids_to_tokens(kept)) == "▁No:▁it▁is▁5.</s>"


def test_chat_template_is_the_tokenizers_own(smollm2_tokenizer):
    renderer = Renderer(smollm2_tokenizer, "chat")
    row = renderer.encode(QUESTION, ANSWER)
    whole = CHAT_PREFIX + QUESTION + "<|im_end|>\n<|im_start|>assistant\n" + ANSWER + "<|im_end|>"
    assert row.input_ids == smollm2_tokenizer(whole, add_special_tokens=False)["input_ids"]
    assert [label for label in row.labels if label != IGNORED] == [1589, 314, 216, 37, 30, 2]
    assert row.input_ids[: len(renderer.prompt_ids(QUESTION))] == renderer.prompt_ids(QUESTION)


def test_chat_prompt_refuses_every_special_token_of_the_vocabulary(smollm2_tokenizer):
    # <file_sep> is special but has no role, so it is in no list of named special tokens.
    for token in ("<|im_end|>", "<file_sep>"):
        with pytest.raises(InputError, match="spells the special token"):
            Renderer(smollm2_tokenizer, "chat").prompt_ids(f"What is {token}?")


def test_chat_needs_a_chat_template(llama3_tokenizer):
    with pytest.raises(InputError, match="template: chat needs a chat template"):
        Renderer(llama3_tokenizer, "chat")


def test_chat_refuses_a_turn_that_ends_in_another_token_than_eos(llama3_tokenizer):
    tokenizer = copy.deepcopy(llama3_tokenizer)
    tokenizer.chat_template = (
        "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{{ m.content }}"
        "<|eot_id|>{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n"
        "{% endif %}"
    )
    with pytest.raises(InputError, match="set eos_token"):
        Renderer(tokenizer, "chat")
    tokenizer.eos_token = "<|eot_id|>"
    ids = Renderer(tokenizer, "chat").encode("Q", "A").input_ids
    # header and end-of-header tokens round the roles, one BOS although the template spells it as well
    assert ids == [128000, 128006, 882, 128007, 271, 48, 128009, 128006, 78191, 128007, 271, 32, 128009]


def test_custom_template(renderer, tokenizer, model):
    custom = Renderer(tokenizer, "Q: {instruction}\nA: ")
    assert custom.prompt_text("1 {instruction}") == "Q: 1 {instruction}\nA:"
    ids = custom.encode("Why?", ANSWER).input_ids
    assert tokenizer.decode(ids, skip_special_tokens=True) == "Q: Why?\nA: It is 5."
    assert custom.encode("Why?", ANSWER).labels[-len(COMPLETION_IDS[model]) :] == COMPLETION_IDS[model]


def test_after_a_template_that_ends_in_a_line_break_the_answer_follows_at_once(renderer, tokenizer, model):
    custom = Renderer(tokenizer, "Q: {instruction}\nA:\n")
    row = custom.encode("Why?", ANSWER, (0, 5), 0.0)
    assert tokenizer.decode(row.input_ids, skip_special_tokens=True) == "Q: Why?\nA:\nIt is 5."
    prompt = custom.prompt_ids("Why?")
    assert row.input_ids[: len(prompt)] == prompt and tokenizer.decode(prompt).endswith("\nA:\n")
    assert tokenizer.decode([label for label in row.labels if label != IGNORED]) == " 5." + tokenizer.eos_token
    assert custom.fingerprint != Renderer(tokenizer, "Q: {instruction}\nA:").fingerprint


def test_a_tokenizer_that_puts_a_space_there_refuses_a_template_that_ends_in_a_line_break(sentencepiece_like):
    with pytest.raises(InputError, match=r"template: it ends in a line break, .* take the line break off"):
        Renderer(sentencepiece_like, "{instruction}\n")


@pytest.mark.parametrize("text", ["<|im_start|>user\n{instruction}<|im_end|>\n", "{instruction}<file_sep>"])
def test_a_template_of_ones_own_that_spells_special_tokens_is_refused(smollm2_tokenizer, text):
    with pytest.raises(InputError, match=r"spells the special token '<.*use template: chat"):
        Renderer(smollm2_tokenizer, text)


def test_unknown_template_is_refused_with_the_known_names(smollm2_tokenizer):
    with pytest.raises(InputError, match=r"'lema' is neither lemma, alpaca, chat"):
        Renderer(smollm2_tokenizer, "lema")


def test_tokenizer_without_eos_is_refused(llama3_tokenizer):
    tokenizer = copy.deepcopy(llama3_tokenizer)
    tokenizer.eos_token = None
    with pytest.raises(InputError, match="has no EOS token"):
        Renderer(tokenizer)


def test_tokenizer_that_changes_the_text_is_refused(smollm2_tokenizer):
    from tokenizers import normalizers

    tokenizer = copy.deepcopy(smollm2_tokenizer)
    tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()
    with pytest.raises(InputError, match="does not reproduce the template"):
        Renderer(tokenizer)


def test_fingerprint_follows_template_and_bos(smollm2_tokenizer, llama3_tokenizer):
    prints = {
        Renderer(tokenizer, template).fingerprint
        for tokenizer in (smollm2_tokenizer, llama3_tokenizer)
        for template in ("lemma", "alpaca", "Q: {instruction}")
    }
    assert len(prints) == 6
    assert Renderer(smollm2_tokenizer).fingerprint == "7681820d0fc711a3"  # stored with models: must never drift


def test_chat_fingerprint_follows_the_chat_template(smollm2_tokenizer):
    other = copy.deepcopy(smollm2_tokenizer)
    other.chat_template = other.chat_template.replace("helpful", "careful")
    assert Renderer(other, "chat").fingerprint != Renderer(smollm2_tokenizer, "chat").fingerprint


# --- special tokens, templates in the data --------------------------------------------------------------------------


def test_special_tokens_in_text_are_found_and_stay_text(renderer, tokenizer):
    eos = tokenizer.eos_token
    assert renderer.special_token_in(f"a {eos} b") == eos
    assert renderer.special_token_in("a < b | c > d") is None
    with pytest.raises(InputError, match="spells the special token"):
        renderer.prompt_ids(f"What is {eos}?")
    assert renderer.encode("Q", f"a {eos} b").input_ids.count(tokenizer.eos_token_id) == 1


def test_reserved_token_in_a_prompt_stays_text(llama3_tokenizer):
    assert 128009 not in Renderer(llama3_tokenizer).prompt_ids("What is <|eot_id|>?")


PREAMBLE = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
)
WRAPPED = {
    "lemma": TEXT,
    "trailing space": TEXT + " ",
    "no full stop": TEXT.removesuffix("."),
    "alpaca": "### Instruction:\nWhat is 2 + 3?\n\n### Response:",
    "preamble": PREAMBLE + "### Instruction:\nWhat is 2 + 3?\n\n### Response:",
    "preamble and phrase": PREAMBLE + TEXT,
}


@pytest.mark.parametrize("form", WRAPPED)
def test_wrapped_instruction_is_unwrapped(smollm2_tokenizer, form):
    assert Renderer(smollm2_tokenizer).unwrap(WRAPPED[form], ANSWER) == (QUESTION, ANSWER, True)


def test_alpacas_input_section_is_joined_to_the_instruction(smollm2_tokenizer):
    text = "### Instruction:\nAdd them.\n\n### Input:\n2 and 3\n\n### Response:"
    assert Renderer(smollm2_tokenizer).unwrap(text, ANSWER) == ("Add them.\n2 and 3", ANSWER, True)


def test_opening_phrase_in_the_output_belongs_to_the_template(smollm2_tokenizer):
    output = "Let's think step by step. It is 5."
    assert Renderer(smollm2_tokenizer).unwrap(WRAPPED["alpaca"], output) == (QUESTION, ANSWER, True)
    assert Renderer(smollm2_tokenizer, "alpaca").unwrap(WRAPPED["alpaca"], output) == (QUESTION, output, True)


def test_bare_instruction_stays_as_it_is(smollm2_tokenizer):
    assert Renderer(smollm2_tokenizer).unwrap(QUESTION, ANSWER) == (QUESTION, ANSWER, False)


@pytest.mark.parametrize("form", WRAPPED)
def test_a_row_is_never_wrapped_twice(renderer, form):
    instruction, output, _ = renderer.unwrap(WRAPPED[form], ANSWER)
    assert renderer.unwrap(instruction, output) == (instruction, output, False)
    ids = renderer.encode(instruction, output).input_ids
    assert ids == renderer.encode(QUESTION, ANSWER).input_ids
    assert renderer.unwrap(renderer.prompt_text(instruction), output)[:2] == (instruction, output)


@pytest.mark.parametrize(
    "instruction",
    [
        "### Instruction:\nWhat is 2 + 3?",
        "Hello\n### Response: 5",
        "### Instruction:\n### Instruction:\nQ\n\n### Response:\n\n### Response:",
        "### Instruction:\nQ\n\n### Response: A\n\n### Instruction:\nR\n\n### Response:",
    ],
)
def test_unknown_or_nested_template_is_refused(smollm2_tokenizer, instruction):
    with pytest.raises(ValueError, match="the instruction holds"):
        Renderer(smollm2_tokenizer).unwrap(instruction, ANSWER)
