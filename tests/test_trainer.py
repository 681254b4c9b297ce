"""The loss, its weights, its independence of how a batch is split, how many steps an epoch has, and checkpoints that
count only when whole."""

from pathlib import Path

import pytest
import torch
from datasets import Dataset
from launching import SMALL, losses, run, write_recipe, write_rows
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback

from lemma_train.template import Renderer
from lemma_train.training import checkpoints, row_order
from lemma_train.training.checkpoints import Course
from lemma_train.training.plan_steps import Steps, count_steps, find_rows
from lemma_train.training.recipe import Recipe, load_recipe
from lemma_train.training.tokenizer import settle_padding
from lemma_train.training.trainer import LemmaTrainer

COURSE = Course({}, "d", "t", 1, 0)


@pytest.fixture
def renderer(tiny_llama):
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    settle_padding(tokenizer)
    return Renderer(tokenizer)


def rows(renderer: Renderer, weight: float = 1.0, count: int = 8) -> Dataset:
    encoded = [
        renderer.encode(f"What is {i} + 1?", f"It is {i}. " + "Hmm. " * i + f"It is {i + 1}.", (0, 7), weight)
        for i in range(count)
    ]
    columns = {
        "input_ids": [e.input_ids for e in encoded],
        "labels": [e.labels for e in encoded],
        "length": [len(e.input_ids) for e in encoded],
    }
    if encoded[0].loss_weights:
        columns["loss_weights"] = [e.loss_weights for e in encoded]
    return Dataset.from_dict(columns)


def trainer_for(tiny_llama, renderer, dataset, folder: Path, held_out=None, **keys) -> LemmaTrainer:
    given = {**SMALL, "model_name_or_path": str(tiny_llama), "output_dir": str(folder), **keys}
    recipe = Recipe(Path("r.yaml"), given)
    model = AutoModelForCausalLM.from_pretrained(
        tiny_llama, dtype=torch.float32, attn_implementation=given.get("attn_implementation", "sdpa")
    )
    return LemmaTrainer(
        model,
        recipe.sft_config(),
        COURSE,
        renderer,
        dataset,
        held_out,
        partial_last_step=recipe["partial_last_step"],
        supervised_head=recipe["supervised_head"],
        token_metrics=recipe["token_metrics"],
    )


class Gradients(TrainerCallback):
    """Keeps the gradients of the first optimizer step."""

    def __init__(self):
        self.kept: dict[str, torch.Tensor] = {}

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        if not self.kept:
            self.kept = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def first_gradients(tiny_llama, renderer, dataset, folder, **keys) -> dict[str, torch.Tensor]:
    trainer = trainer_for(tiny_llama, renderer, dataset, folder, max_steps=1, max_grad_norm=0.0, **keys)
    gradients = Gradients()
    trainer.add_callback(gradients)
    trainer.train()
    return gradients.kept


def plain_loss(tiny_llama, dataset: Dataset) -> torch.Tensor:
    """The weighted mean negative log-likelihood, written out without TRL."""
    model = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32).eval()
    total, divisor = torch.tensor(0.0), torch.tensor(0.0)
    for row in dataset:
        with torch.no_grad():
            scores = model(torch.tensor([row["input_ids"]])).logits[0, :-1].log_softmax(-1)
        labels = torch.tensor(row["labels"][1:])
        weights = torch.tensor(row.get("loss_weights", [1.0] * len(row["labels"]))[1:]) * (labels != -100)
        total -= (scores.gather(1, labels.clamp(min=0)[:, None])[:, 0] * weights).sum()
        divisor += weights.sum()
    return total / divisor


@pytest.mark.parametrize("weight", [1.0, 0.0, 0.3, 2.0])
def test_the_loss_is_the_weighted_mean_over_all_supervised_tokens(tiny_llama, renderer, tmp_path, weight):
    dataset = rows(renderer, weight)
    keys = {"max_steps": 1, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}
    trainer = trainer_for(tiny_llama, renderer, dataset, tmp_path, **keys)
    trainer.train()
    logged = next(entry["loss"] for entry in trainer.state.log_history if "loss" in entry)
    assert logged == pytest.approx(float(plain_loss(tiny_llama, dataset)), rel=1e-5)


@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_one_batch_of_eight_and_eight_batches_of_one_give_the_same_gradients(tiny_llama, renderer, tmp_path, weight):
    dataset = rows(renderer, weight)
    whole = first_gradients(
        tiny_llama, renderer, dataset, tmp_path / "a", per_device_train_batch_size=8, gradient_accumulation_steps=1
    )
    split = first_gradients(
        tiny_llama, renderer, dataset, tmp_path / "b", per_device_train_batch_size=1, gradient_accumulation_steps=8
    )
    assert whole.keys() == split.keys() and len(whole) > 10
    for name, gradient in whole.items():
        torch.testing.assert_close(split[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("weight", [1.0, 0.3])
@pytest.mark.parametrize("ours", [True, False], ids=["our head", "TRL's head"])
def test_the_loss_and_its_gradient_are_those_of_trl(tiny_llama, renderer, tmp_path, weight, ours):
    """TRL's own compute_loss beside ours, which replaces it; TRL scales no token, so its heads's output is scaled."""
    dataset = rows(renderer, weight)
    kept = {}
    for name, keys in (("ours", {"supervised_head": ours}), ("trl", {"supervised_head": False, "token_metrics": True})):
        trainer = trainer_for(tiny_llama, renderer, dataset, tmp_path / name, **keys)
        assert trainer._own_head is (name == "ours" and ours)
        trainer._plain_loss = name == "ours"  # any other loss goes through TRL's compute_loss
        inputs = trainer.data_collator([dict(row) for row in trainer.train_dataset.remove_columns("length")])
        trainer.model.train()
        loss = trainer.compute_loss(trainer.model, inputs, num_items_in_batch=torch.tensor(100))
        loss.backward()
        kept[name] = (loss, {n: p.grad for n, p in trainer.model.named_parameters()})
    torch.testing.assert_close(kept["ours"][0], kept["trl"][0], rtol=1e-6, atol=1e-6)
    for name, gradient in kept["trl"][1].items():
        torch.testing.assert_close(kept["ours"][1][name], gradient, rtol=1e-4, atol=5e-6, msg=name)


@pytest.mark.parametrize("kept", [{}, {"every_n_layers": 2}, {"selective": True}], ids=["none", "a layer", "attention"])
def test_what_is_kept_for_the_backward_pass_changes_no_gradient(tiny_llama, renderer, tmp_path, kept):
    dataset = rows(renderer)
    given = {"activation_checkpointing": True, "activation_checkpointing_kwargs": kept}
    chosen = first_gradients(tiny_llama, renderer, dataset, tmp_path / "chosen", **given)
    for name, gradient in first_gradients(tiny_llama, renderer, dataset, tmp_path / "plain").items():
        torch.testing.assert_close(chosen[name], gradient, rtol=1e-6, atol=1e-9, msg=name)


def sharpen(model) -> None:
    """A random model guesses almost evenly, with the same entropy everywhere: now it does not."""
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(20)


@pytest.mark.parametrize("ours", [True, False], ids=["our head", "TRL's head"])
def test_entropy_and_accuracy_are_logged_where_they_are_asked_for(tiny_llama, renderer, tmp_path, ours):
    dataset = rows(renderer)
    model = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.float32)
    entropy = correct = count = 0
    sharpen(model)
    for row in dataset:
        labels = torch.tensor(row["labels"][1:])
        with torch.no_grad():
            scores = model(torch.tensor([row["input_ids"]])).logits[0, :-1].log_softmax(-1)[labels != -100]
        entropy -= float((scores.exp() * scores).sum())
        correct += int((scores.argmax(-1) == labels[labels != -100]).sum())
        count += len(scores)
    keys = {"max_steps": 1, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 4, "supervised_head": ours}
    for asked in (True, False):
        trainer = trainer_for(tiny_llama, renderer, dataset, tmp_path, held_out=dataset, token_metrics=asked, **keys)
        sharpen(trainer.model)
        held_out = trainer.evaluate()
        trainer.train()
        logged = next(entry for entry in trainer.state.log_history if "loss" in entry)
        assert ("entropy" in logged) == ("eval_entropy" in held_out) == asked
        if asked:
            for found in (logged, {name.removeprefix("eval_"): value for name, value in held_out.items()}):
                assert found["entropy"] == pytest.approx(entropy / count, rel=1e-5)
                assert found["mean_token_accuracy"] == pytest.approx(correct / count)


def test_nothing_is_read_from_the_device_between_two_logs(tiny_llama, renderer, tmp_path, monkeypatch):
    """Reading a number makes the host wait for a GPU. TRL's compute_loss does so at each micro-batch, ours never."""
    reads = []

    def reads_of(work) -> int:
        reads.clear()
        work()
        return len(reads)

    made = {}
    for asked in (False, True):
        keys = {"token_metrics": asked, "supervised_head": False}
        made[asked] = trainer_for(tiny_llama, renderer, rows(renderer), tmp_path, **keys)
    columns = made[False].train_dataset.remove_columns("length")
    for name in ("item", "tolist", "__bool__", "__float__", "__int__"):
        real = getattr(torch.Tensor, name)
        monkeypatch.setattr(torch.Tensor, name, lambda self, real=real: (reads.append(1), real(self))[1])

    def loss_of(trainer) -> None:
        inputs = trainer.data_collator([dict(row) for row in columns])
        trainer.compute_loss(trainer.model.train(), inputs, num_items_in_batch=torch.tensor(100))

    inputs = made[False].data_collator([dict(row) for row in columns])
    of_the_model = reads_of(lambda: made[False].model(inputs["input_ids"], attention_mask=inputs["attention_mask"]))
    assert [reads_of(lambda t=made[asked]: loss_of(t)) for asked in (False, True)] == [of_the_model] * 2
    made[True]._plain_loss = False  # any other loss goes through TRL's
    assert reads_of(lambda: loss_of(made[True])) > of_the_model


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_packed_rows_do_not_attend_to_each_other(tiny_llama, renderer, tmp_path, attention):
    dataset = rows(renderer)
    keys = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 1, "attn_implementation": attention}
    apart = first_gradients(tiny_llama, renderer, dataset, tmp_path / "a", **keys)
    flattened = first_gradients(tiny_llama, renderer, dataset, tmp_path / "b", padding_free=True, **keys)
    packed = first_gradients(tiny_llama, renderer, dataset, tmp_path / "c", packing=True, max_length=4096, **keys)
    for name, gradient in apart.items():
        torch.testing.assert_close(flattened[name], gradient, rtol=1e-3, atol=1e-5, msg=name)
        torch.testing.assert_close(packed[name], gradient, rtol=1e-3, atol=1e-5, msg=name)


def test_the_held_out_loss_is_an_unweighted_mean_over_tokens(tiny_llama, renderer, tmp_path):
    dataset = rows(renderer, 0.3)
    plain = plain_loss(tiny_llama, dataset.remove_columns("loss_weights"))
    for size in (1, 3, 8, 2 * len(dataset)):  # a mean over batches would differ between them
        for drop_last in (False, True):  # which is for training: no held-out row is left out
            keys = {"per_device_eval_batch_size": size, "dataloader_drop_last": drop_last}
            trainer = trainer_for(tiny_llama, renderer, dataset, tmp_path, **keys)
            assert trainer.evaluate(dataset)["eval_loss"] == pytest.approx(float(plain), rel=1e-5)


@pytest.mark.parametrize("keys", [{}, {"label_smoothing_factor": 0.1}, {"loss_type": "dft"}], ids=str)
def test_what_fills_up_the_last_batches_of_a_held_out_set_counts_for_nothing(tiny_llama, renderer, tmp_path, keys):
    dataset = rows(renderer)
    keys = {**keys, "per_device_eval_batch_size": 2}
    trainer = trainer_for(tiny_llama, renderer, dataset, tmp_path, **keys)
    plain = trainer.evaluate(dataset)["eval_loss"]
    filled = row_order.filled_up(dataset, 8 * len(dataset))  # many batches without any label
    assert len(filled) == 8 * len(dataset) and filled[: len(dataset)] == dataset[:]
    assert trainer.evaluate(filled)["eval_loss"] == pytest.approx(plain, rel=1e-5)


def test_tokens_are_counted_without_padding(tiny_llama, renderer, tmp_path):
    dataset = rows(renderer)
    trainer = trainer_for(tiny_llama, renderer, dataset, tmp_path, max_steps=1, per_device_train_batch_size=8)
    trainer.train()
    entry = next(entry for entry in trainer.state.log_history if "loss" in entry)
    assert entry["supervised_tokens"] == sum(label != -100 for row in dataset for label in row["labels"])
    longest, tokens = 8 * max(dataset["length"]), sum(dataset["length"])
    assert entry["padding_share"] == pytest.approx(1 - tokens / longest, abs=1e-3)


def test_a_loss_that_is_not_finite_ends_the_run(tiny_llama, renderer, tmp_path):
    trainer = trainer_for(tiny_llama, renderer, rows(renderer), tmp_path)
    with torch.no_grad():
        trainer.model.model.norm.weight.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="became nan by step 1"):
        trainer.train()


@pytest.mark.parametrize("place", ["while the optimizer is written", "before the marker is written"])
def test_an_older_checkpoint_outlives_a_save_that_fails(tiny_llama, renderer, tmp_path, monkeypatch, place):
    keys = {"save_strategy": "steps", "save_steps": 2, "save_total_limit": 1}
    trainer = trainer_for(tiny_llama, renderer, rows(renderer), tmp_path, **keys)
    owner, name = {
        "while the optimizer is written": (trainer, "_save_optimizer_and_scheduler"),
        "before the marker is written": (checkpoints, "mark_complete"),
    }[place]
    real = getattr(owner, name)

    def fail_at_step_4(*arguments):
        if trainer.state.global_step == 4:
            raise OSError(28, "No space left on device")
        real(*arguments)

    monkeypatch.setattr(owner, name, fail_at_step_4)
    with pytest.raises(OSError, match="No space left"):
        trainer.train()
    assert checkpoints.is_complete(tmp_path / "checkpoint-2")
    assert not checkpoints.is_complete(tmp_path / "checkpoint-4")


def test_a_run_resumed_from_its_last_step_takes_no_further_one(tiny_llama, renderer, tmp_path):
    keys = {"save_strategy": "steps", "save_steps": 4, "lr_scheduler_type": "constant"}
    first = trainer_for(tiny_llama, renderer, rows(renderer, count=40), tmp_path, **keys)
    first.train()
    again = trainer_for(tiny_llama, renderer, rows(renderer, count=40), tmp_path, **keys)
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    assert again.state.global_step == 4
    for name, tensor in first.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], tensor), name


def test_only_the_newest_complete_checkpoints_are_kept(tiny_llama, renderer, tmp_path):
    trainer = trainer_for(
        tiny_llama, renderer, rows(renderer), tmp_path, save_strategy="steps", save_steps=1, save_total_limit=2
    )
    trainer.train()
    left = checkpoints.find_checkpoints(tmp_path)
    assert [p.name for p in left] == ["checkpoint-3", "checkpoint-4"] and all(map(checkpoints.is_complete, left))
    assert (left[0] / "lemma_template.json").exists()


def planned(path: Path, processes: int, *overrides: str, count: int | None = None) -> Steps:
    recipe = load_recipe(path, overrides)
    micro_batch, accumulation = recipe["per_device_train_batch_size"], recipe["gradient_accumulation_steps"]
    return count_steps(recipe, find_rows(recipe, count), processes, micro_batch, accumulation)


# Micro-batches of 2 rows, 4 accumulated: whole steps, a smaller last one, and an epoch that is less than one step. With
# 23 rows random sampling fills the last accumulation, of whose 8 rows one is missing.
@pytest.mark.parametrize(("count", "kept", "dropped"), [(16, 4, 4), (23, 6, 4), (5, 2, 2)])
@pytest.mark.parametrize("choice", ["keep", "drop"])
@pytest.mark.parametrize("order", ["random", "batch_rebalance"])
def test_the_trainer_makes_the_steps_that_the_plan_counts(
    tiny_llama, renderer, tmp_path, count, kept, dropped, choice, order
):
    dropped = 6 if order == "random" and count == 23 else dropped
    keys = {"max_steps": -1, "num_train_epochs": 2, "gradient_accumulation_steps": 4, "partial_last_step": choice}
    keys["train_sampling_strategy"] = order
    trainer = trainer_for(tiny_llama, renderer, rows(renderer, count=count), tmp_path / "out", **keys)
    micro_batches = []
    real = trainer.training_step
    trainer.training_step = lambda *arguments: (micro_batches.append(1), real(*arguments))[1]
    trainer.train()
    plan = planned(write_recipe(tmp_path, tiny_llama, **keys), 1, count=count)
    assert (
        trainer.state.global_step
        == trainer.state.max_steps
        == plan.total_steps
        == (kept if choice == "keep" else dropped)
    )
    if choice == "drop" and count >= 8:
        assert len(micro_batches) == 4 * plan.total_steps, "every step has the whole accumulation"
    assert trainer.state.epoch == 2


@pytest.mark.parametrize(("keys", "steps", "epoch"), [({"max_steps": 5}, 5, 2.5), ({"num_train_epochs": 1.5}, 3, 1.5)])
def test_epochs_without_their_ends_may_be_broken_off(tiny_llama, renderer, tmp_path, keys, steps, epoch):
    keys = {"max_steps": -1, "gradient_accumulation_steps": 4, "partial_last_step": "drop", **keys}
    trainer = trainer_for(tiny_llama, renderer, rows(renderer, count=22), tmp_path / "out", **keys)
    trainer.train()
    plan = planned(write_recipe(tmp_path, tiny_llama, **keys), 1, count=22)
    assert trainer.state.global_step == plan.total_steps == steps
    assert trainer.state.epoch == plan.epochs == epoch


@pytest.mark.parametrize("order", ["random", "batch_rebalance", "group_by_length"])
@pytest.mark.parametrize("step", [2, 3])
def test_a_resumed_run_without_the_ends_of_epochs_sees_the_same_rows(tiny_llama, renderer, tmp_path, step, order):
    """8 micro-batches, 3 accumulated: 2 whole steps an epoch. Resumed at an epoch's beginning, and within one."""
    keys = {"max_steps": -1, "num_train_epochs": 3, "gradient_accumulation_steps": 3, "lr_scheduler_type": "constant"}
    keys |= {"save_strategy": "steps", "save_steps": 1, "partial_last_step": "drop"}
    keys["train_sampling_strategy"] = order
    dataset = rows(renderer, count=15)
    whole = trainer_for(tiny_llama, renderer, dataset, tmp_path, **keys)
    whole.train()
    again = trainer_for(tiny_llama, renderer, dataset, tmp_path / "again", **keys)
    again.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{step}"))
    logged = [[e["loss"] for e in t.state.log_history if "loss" in e] for t in (whole, again)]
    assert logged[0] == logged[1] and len(logged[0]) == 6
    parameters = dict(again.model.named_parameters())
    for name, parameter in whole.model.named_parameters():
        assert parameter.equal(parameters[name]), name


@pytest.mark.slow
def test_two_processes_make_the_steps_that_the_plan_counts_and_resume_exactly(tiny_llama, tmp_path):
    """21 rows, 16 a step: 2 steps an epoch, or 1 whole one. Resumed within the second epoch."""
    keys = {"max_steps": -1, "num_train_epochs": 3, "gradient_accumulation_steps": 4, "partial_last_step": "drop"}
    keys |= {"save_strategy": "steps", "save_steps": 1, "lr_scheduler_type": "constant"}
    recipe = write_recipe(tmp_path, tiny_llama, write_rows(tmp_path / "rows.jsonl", 21), **keys)
    kept = ("--partial_last_step", "keep")
    resumed = (*kept, "--resume", str(tmp_path / "kept" / "checkpoint-3"))
    for folder, overrides in (("out", ()), ("kept", kept), ("again", resumed)):
        done = run(recipe, *overrides, "--output_dir", str(tmp_path / folder), config="cpu_ddp.yaml")
        assert done.returncode == 0, done.stderr
    assert len(losses(tmp_path / "out")) == planned(recipe, 2).total_steps == 3
    assert len(losses(tmp_path / "kept")) == planned(recipe, 2, *kept).total_steps == 6
    assert losses(tmp_path / "again")[-3:] == losses(tmp_path / "kept")[-3:]


def test_transformers_still_deletes_checkpoints_by_the_limit_that_the_override_takes_away():
    """Our override takes args.save_total_limit away for transformers' own save; it must be what that save reads."""
    import inspect

    from transformers import Trainer

    source = inspect.getsource(Trainer._save_checkpoint)
    assert "save_total_limit=self.args.save_total_limit" in source
