"""The local model: a reply depends on its request alone, whatever stands in the batch beside it."""

import asyncio
import dataclasses
import threading

import pytest

from lemma_train.errors import InputError
from lemma_train.llm.local_transformers import LocalModel
from lemma_train.llm.protocol import Rejected, Reply, Request, Unanswered

TEXTS = (
    "Tom has 3 apples and buys 4 more. How many apples does he have?",
    "2 + 2 =",
    "A shop sells 12 pens a day. How many pens does it sell in a week, if it is closed on Sunday? Let's see.",
    "Hi",
    "What is half of 48?",
)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """The tiny model's steps are so short that threads would only wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def requests(**fields) -> list[Request]:
    given = {"task": "sampling", "max_tokens": 12, "temperature": 0.7, **fields}
    return [Request(prompt=text, seed=i, **given) for i, text in enumerate(TEXTS)]


def ask(folder, asked: list[Request], together: bool = True, **options) -> list[Reply]:
    async def answers():
        model = LocalModel(str(folder), **{"dtype": "float32", "device": "cpu", **options})
        try:
            if together:
                return await asyncio.gather(*map(model.generate, asked))
            return [await model.generate(request) for request in asked]
        finally:
            await model.close()

    return asyncio.run(answers())


@pytest.mark.parametrize("fields", [{}, {"top_p": 0.9}, {"temperature": 0}, {"temperature": 1.5, "top_p": 0.5}])
def test_a_request_gets_the_same_reply_alone_as_in_a_batch_of_others(tiny_llama, fields):
    asked = requests(**fields)
    alone = ask(tiny_llama, asked, together=False)
    assert ask(tiny_llama, asked) == alone
    assert ask(tiny_llama, asked[::-1], batch_size=2)[::-1] == alone
    assert len({reply.text for reply in alone}) > 3


def test_padding_moves_no_position_where_positions_are_absolute(smollm2_tokenizer, tmp_path):
    """Llama's positions are relative and would not show it; GPT-2 learns one vector a place."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    shape = {"vocab_size": len(smollm2_tokenizer), "n_positions": 128, "n_embd": 32, "n_layer": 1, "n_head": 2}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = GPT2LMHeadModel(GPT2Config(**shape, initializer_range=1.0, bos_token_id=1, eos_token_id=2))
    model.save_pretrained(tmp_path)
    smollm2_tokenizer.save_pretrained(tmp_path)
    asked = requests(temperature=0)
    assert ask(tmp_path, asked) == ask(tmp_path, asked, together=False)


@pytest.mark.slow
def test_a_real_model_answers_the_same_alone_and_in_a_batch(smollm2_folder):
    asked = requests(max_tokens=24)
    assert ask(smollm2_folder, asked) == ask(smollm2_folder, asked, together=False)


@pytest.mark.slow
def test_a_real_model_goes_on_from_what_the_prompt_says(smollm2_folder):
    asked = Request("sampling", prompt="The capital of France is", temperature=0, max_tokens=3)
    assert "Paris" in ask(smollm2_folder, [asked])[0].text


def test_rows_of_other_limits_and_temperatures_share_a_batch(tiny_llama):
    asked = [
        dataclasses.replace(request, max_tokens=3 * i + 1, temperature=0.5 * i) for i, request in enumerate(requests())
    ]
    replies = ask(tiny_llama, asked)
    assert replies == ask(tiny_llama, asked, together=False)
    assert [reply.completion_tokens for reply in replies] == [1, 4, 7, 10, 13]


def test_another_seed_gives_another_reply_and_the_same_seed_the_same(tiny_llama):
    first, again, other = ask(tiny_llama, [Request("sampling", prompt="Hi", max_tokens=8, seed=s) for s in (1, 1, 2)])
    assert first == again
    assert first.text != other.text


def test_two_prompts_do_not_share_their_luck(tiny_llama):
    """The model is nearly uniform, so with the same noise both prompts would draw nearly the same tokens."""
    first, second = ask(
        tiny_llama, [Request("sampling", prompt=text, max_tokens=8, temperature=100.0, seed=0) for text in TEXTS[:2]]
    )
    assert first.text != second.text


def test_greedy_reply_is_that_of_transformers_own_generate(tiny_llama, smollm2_tokenizer):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_llama)
    replies = ask(tiny_llama, requests(temperature=0))
    for text, reply in zip(TEXTS, replies, strict=True):
        ids = smollm2_tokenizer(text, return_tensors="pt")
        made = model.generate(**ids, max_new_tokens=12, do_sample=False)[0, ids["input_ids"].shape[1] :]
        assert reply.text == smollm2_tokenizer.decode(made, skip_special_tokens=True)


def test_tokens_are_counted_and_a_cut_off_reply_says_so(tiny_llama, smollm2_tokenizer):
    request = requests()[0]
    reply = ask(tiny_llama, [request])[0]
    assert reply.finish_reason == "length"
    assert reply.completion_tokens == 12
    assert reply.prompt_tokens == len(smollm2_tokenizer(request.prompt)["input_ids"])


def test_prompt_ids_are_taken_as_they_are_and_win_over_the_text(tiny_llama, smollm2_tokenizer):
    ids = tuple(smollm2_tokenizer(TEXTS[1])["input_ids"])
    as_text, as_ids = ask(
        tiny_llama,
        [
            Request("sampling", prompt=TEXTS[1], max_tokens=6, seed=4),
            Request("sampling", prompt="something else", prompt_ids=ids, max_tokens=6, seed=4),
        ],
    )
    assert as_ids == as_text
    assert as_ids.prompt_tokens == len(ids)


def test_messages_go_through_the_chat_template(tiny_llama, smollm2_tokenizer):
    turns = ({"role": "user", "content": "How many legs has a spider?"},)
    text = smollm2_tokenizer.apply_chat_template(list(turns), tokenize=False, add_generation_prompt=True)
    as_turns, as_text = ask(
        tiny_llama,
        [Request("analysis", messages=turns, max_tokens=6), Request("analysis", prompt=text, max_tokens=6)],
    )
    assert as_turns == as_text


def test_the_stop_text_and_what_follows_are_cut_off_and_end_the_reply(tiny_llama):
    request = requests(max_tokens=40)[0]
    whole = ask(tiny_llama, [request])[0].text
    stop = whole[20:26]
    cut = ask(tiny_llama, [dataclasses.replace(request, stop=("never said", stop))])[0]
    assert cut.text == whole[: whole.index(stop)]
    assert cut.finish_reason == "stop"
    assert cut.completion_tokens < 40


def test_an_end_token_ends_the_reply_is_counted_and_is_no_part_of_the_text(tiny_llama, smollm2_tokenizer, tmp_path):
    """The tiny model hardly ever says EOS by itself, so a token that it says is declared to be one."""
    import shutil

    from transformers import GenerationConfig

    request = Request("sampling", prompt=TEXTS[0], max_tokens=5, temperature=20.0)
    whole = ask(tiny_llama, [request])[0]
    said = smollm2_tokenizer(whole.text, add_special_tokens=False)["input_ids"]
    assert len(set(said)) == 5
    folder = shutil.copytree(tiny_llama, tmp_path / "model")
    GenerationConfig(eos_token_id=[said[2], 2]).save_pretrained(folder)
    ended = ask(folder, [request])[0]
    assert (ended.finish_reason, ended.completion_tokens) == ("stop", 3)
    assert ended.text == smollm2_tokenizer.decode(said[:2])


def test_a_prompt_that_fills_the_context_is_rejected_and_the_others_are_answered(tiny_llama):
    long = Request("sampling", prompt_ids=(5,) * 1024, max_tokens=4)
    nearly = Request("sampling", prompt_ids=(5,) * 1022, max_tokens=4)

    async def answers():
        model = LocalModel(str(tiny_llama), dtype="float32")
        try:
            asked = [model.generate(long), model.generate(nearly), model.generate(requests()[0])]
            return await asyncio.gather(*asked, return_exceptions=True)
        finally:
            await model.close()

    rejected, short, plain = asyncio.run(answers())
    assert isinstance(rejected, Rejected) and rejected.reason == "context_length"
    assert (short.completion_tokens, short.finish_reason) == (2, "length")
    assert plain.completion_tokens == 12


def test_the_event_loop_runs_on_while_the_model_works(tiny_llama):
    async def ticks_beside_an_answer():
        model = LocalModel(str(tiny_llama), dtype="float32")
        try:
            answer = asyncio.create_task(model.generate(Request("sampling", prompt="Hi", max_tokens=400)))
            ticks = 0
            while not answer.done():
                await asyncio.sleep(0.001)
                ticks += 1
            return ticks
        finally:
            await model.close()

    assert asyncio.run(ticks_beside_an_answer()) > 20


def test_one_that_is_cancelled_before_it_is_rejected_holds_up_no_other(tiny_llama):
    async def one_is_cancelled():
        model = LocalModel(str(tiny_llama), dtype="float32")
        long, good = (
            asyncio.create_task(model.generate(asked))
            for asked in (Request("sampling", prompt_ids=(5,) * 1024, max_tokens=4), requests()[0])
        )
        await asyncio.sleep(0.1)  # both are with the thread, which loads the model
        long.cancel()
        try:
            return await asyncio.wait_for(good, timeout=60)
        finally:
            await model.close()

    assert asyncio.run(one_is_cancelled()).completion_tokens == 12


def test_closing_ends_a_long_answer_and_the_thread(tiny_llama):
    async def close_in_the_middle():
        model = LocalModel(str(tiny_llama), dtype="float32")
        await model.generate(requests()[0])
        answers = [asyncio.create_task(model.generate(Request("sampling", prompt=t, max_tokens=1000))) for t in TEXTS]
        await asyncio.sleep(0.2)
        await model.close()
        await model.close()
        with pytest.raises(Unanswered):
            await model.generate(requests()[0])
        return await asyncio.gather(*answers, return_exceptions=True)

    outcomes = asyncio.run(close_in_the_middle())
    assert all(isinstance(outcome, Unanswered) for outcome in outcomes), outcomes
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("local-model")]


def test_requests_that_come_later_are_answered_too(tiny_llama):
    async def in_two_waves():
        model = LocalModel(str(tiny_llama), dtype="float32")
        try:
            first = [asyncio.create_task(model.generate(request)) for request in requests()]
            await asyncio.sleep(0.1)
            second = [asyncio.create_task(model.generate(request)) for request in requests()]
            return await asyncio.gather(*first), await asyncio.gather(*second)
        finally:
            await model.close()

    first, second = asyncio.run(in_two_waves())
    assert first == second


def test_an_adapter_changes_the_replies_as_its_merged_model_does(tiny_llama, tmp_path):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    adapted = get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_llama), LoraConfig(target_modules=["down_proj"]))
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=5.0, generator=torch.Generator().manual_seed(0))
    adapted.save_pretrained(tmp_path / "adapter")
    adapted.merge_and_unload().save_pretrained(tmp_path / "merged")
    AutoTokenizer.from_pretrained(tiny_llama).save_pretrained(tmp_path / "merged")

    asked = requests(temperature=0)
    replies = ask(tiny_llama, asked, adapter=str(tmp_path / "adapter"))
    assert replies == ask(tmp_path / "merged", asked)
    assert replies != ask(tiny_llama, asked)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "no/such/folder"}, "The model no/such/folder: no folder here, and not to be had from the Hub"),
        ({"model": "no/model"}, "The model no/model: no folder here, and not to be had from the Hub"),
        ({"device": "cuda:7"}, "device cuda:7"),
        ({"dtype": "float8"}, "dtype must be one of"),
        ({"adapter": "nowhere"}, "adapter nowhere"),
    ],
)
def test_what_cannot_be_loaded_is_named(tiny_llama, options, message):
    folder = options.pop("model", tiny_llama)
    with pytest.raises(InputError, match=message):
        ask(folder, requests(), **options)


def test_a_model_without_a_chat_template_cannot_be_asked_in_messages(tiny_llama, tmp_path):
    import shutil

    folder = shutil.copytree(tiny_llama, tmp_path / "model")
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(InputError, match="no chat template"):
        ask(folder, [Request("analysis", messages=({"role": "user", "content": "Hi"},))])


def test_ids_of_another_tokenizer_are_named(tiny_llama):
    with pytest.raises(InputError, match="holds token 128000"):
        ask(tiny_llama, [Request("sampling", prompt_ids=(128000, 5))])
