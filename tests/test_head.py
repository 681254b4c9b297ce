"""The head on supervised positions: the same loss and gradients as the whole logits give, however it is tiled."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM
from trl.trainer import utils as trl_utils

from lemma_train.training import head

LABELS = [[-100, -100, 7, 8, 9, -100], [-100, 11, -100, -100, -100, -100], [-100] * 6]
INPUTS = {
    "input_ids": torch.tensor([[5, 6, 7, 8, 9, 2], [10, 11, 12, 2, 2, 2], [3, 4, 5, 6, 7, 8]]),
    "attention_mask": torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0], [1] * 6]),
    "labels": torch.tensor(LABELS),
}
FACTORS = torch.linspace(0.25, 2.0, 18).view(3, 6)


def load(folder, tied: bool = True, lora: bool = False, bias: bool = False):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    if not tied:
        model.lm_head = torch.nn.Linear(64, model.config.vocab_size, bias=bias)
        with torch.no_grad():
            model.lm_head.weight.copy_(model.model.embed_tokens.weight.flip(0))
            if bias:
                model.lm_head.bias.copy_(torch.linspace(-1, 1, model.config.vocab_size))
    if lora:
        torch.manual_seed(0)
        config = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
        return get_peft_model(model, config)
    return model


def gradients(model) -> dict[str, torch.Tensor]:
    return {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


def by_whole_logits(model, factors, scale):
    """Loss, entropy and right guesses written out over all logits; leaves the gradients in the model."""
    logits = model(INPUTS["input_ids"], attention_mask=INPUTS["attention_mask"]).logits[:, :-1]
    labels = INPUTS["labels"][:, 1:]
    supervised = labels != -100
    scores = logits.float().log_softmax(-1)
    picked = scores.gather(2, labels.clamp(min=0)[..., None])[..., 0]
    weights = supervised * (1.0 if factors is None else factors[:, 1:])
    loss = -(picked * weights).sum() * scale
    loss.backward()
    entropy = -(scores.exp() * scores).sum(-1)[supervised].sum()
    return loss, entropy, (logits.argmax(-1) == labels)[supervised].sum()


@pytest.mark.parametrize("kind", [{}, {"tied": False}, {"tied": False, "bias": True}, {"lora": True}])
@pytest.mark.parametrize("factors", [None, FACTORS], ids=["plain", "weighted"])
@pytest.mark.parametrize("tile", [1, 2, 1000])
def test_loss_and_gradients_are_those_of_the_whole_logits(tiny_llama, monkeypatch, kind, factors, tile):
    whole, ours = load(tiny_llama, **kind), load(tiny_llama, **kind)
    monkeypatch.setattr(head, "OWN_TILE_ELEMENTS", tile * ours.config.vocab_size)
    head.add_supervised_head(ours.get_base_model() if "lora" in kind else ours)
    scale = torch.tensor(0.2)
    expected, entropy, correct = by_whole_logits(whole, factors, scale)
    loss, *guesses = head.summed_loss(ours, dict(INPUTS), factors, scale, own=True, metrics=True)
    loss.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(torch.stack(guesses), torch.stack([entropy, correct.float()]), rtol=1e-5, atol=1e-4)
    wanted, made = gradients(whole), gradients(ours)
    assert wanted.keys() == made.keys() and len(wanted) > 10
    for name, gradient in wanted.items():
        torch.testing.assert_close(made[name], gradient, rtol=1e-4, atol=5e-6, msg=name)


def test_under_autocast_it_is_as_exact_as_an_ordinary_step(tiny_llama):
    """Both are rounded to bf16 in places; ours must not lie further from fp32's gradient than the ordinary step."""
    exact, ordinary, ours = (load(tiny_llama) for _ in range(3))
    head.add_supervised_head(ours)
    scale = torch.tensor(0.2)
    by_whole_logits(exact, None, scale)
    with torch.autocast("cpu", torch.bfloat16):
        by_whole_logits(ordinary, None, scale)
        loss, _, _ = head.summed_loss(ours, dict(INPUTS), None, scale, own=True, metrics=False)
    loss.backward()

    def distance(model) -> float:
        wanted, made = gradients(exact), gradients(model)
        return sum(float((made[n] - g).norm() ** 2) for n, g in wanted.items()) ** 0.5

    assert distance(ours) < 1.2 * distance(ordinary)


def test_a_batch_without_labels_has_no_loss_and_no_gradient(tiny_llama):
    model = load(tiny_llama)
    head.add_supervised_head(model)
    inputs = {**INPUTS, "labels": torch.full_like(INPUTS["labels"], -100)}
    loss, _, _ = head.summed_loss(model, inputs, None, torch.tensor(1.0), own=True, metrics=True)
    loss.backward()
    assert loss == 0 and all(not g.any() for g in gradients(model).values()) and gradients(model)


def test_without_gradients_none_are_made(tiny_llama, monkeypatch):
    model = load(tiny_llama)
    head.add_supervised_head(model)
    products = []
    real = torch.mm
    monkeypatch.setattr(torch, "mm", lambda *a, **k: (products.append(1), real(*a, **k))[1])
    with torch.no_grad():
        head.summed_loss(model, dict(INPUTS), None, torch.tensor(1.0), own=True, metrics=False)
    assert len(products) == 1, "the logits, once"


def test_other_calls_are_answered_as_before(tiny_llama):
    model, plain = load(tiny_llama), load(tiny_llama)
    head.add_supervised_head(model)
    assert torch.equal(model(**INPUTS).logits, plain(**INPUTS).logits)
    generated = [
        m.generate(INPUTS["input_ids"][:1], max_new_tokens=3, do_sample=False).tolist() for m in (model, plain)
    ]
    assert generated[0] == generated[1]


def test_models_with_other_logits_are_left_to_trl(tiny_llama):
    model = load(tiny_llama)
    here = torch.device("cpu")
    assert head.supports(model, here)
    model.config.final_logit_softcapping = 30.0
    assert not head.supports(model, here)


def test_a_model_that_waits_on_the_cpu_for_a_gpu_gets_the_gpus_head(tiny_llama):
    """Under ZeRO-1 and 2 and FSDP the weights lie on the CPU until the launcher takes them."""
    model = load(tiny_llama)
    assert model.device.type == "cpu"
    assert not head.supports(model, torch.device("cuda"))


def test_trls_head_still_scores_every_position_on_cpus(tiny_llama, monkeypatch):
    """The reason for our own: when this fails, TRL has mended it, and ours may go."""
    model, scored = load(tiny_llama), []
    real = trl_utils._ChunkedLogProbFunction.apply
    monkeypatch.setattr(
        trl_utils._ChunkedLogProbFunction,
        "apply",
        lambda hidden, *rest: (scored.append(len(hidden)), real(hidden, *rest))[1],
    )
    trl_utils.add_fused_lm_head(model)
    model(**INPUTS, fused_lm_head=True)
    assert scored == [15] and sum(label != -100 for row in LABELS for label in row[1:]) == 4
