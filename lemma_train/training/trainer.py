"""TRL's SFTTrainer with small overrides: weighted tokens, durable checkpoints, throughput, a finite loss.

Enters: a model, prepared rows and an SFTConfig. Leaves: a trained model. The training loop, the loss and its
normalisation over the whole global batch are TRL's and transformers'; what is overridden here says why, and
tests/test_trainer.py fails when a release changes what the overrides rely on.
"""

import json
import math
import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from trl import SFTTrainer
from trl.trainer.utils import compute_flops_per_token, compute_mfu, get_peak_flops

from lemma_train.template import IGNORED, Renderer
from lemma_train.training import checkpoints, other_ranks
from lemma_train.training.checkpoints import Course
from lemma_train.training.collator import WEIGHT_UNIT, WEIGHTS, WeightedCollator

if TYPE_CHECKING:
    from peft import PeftConfig
    from transformers import PreTrainedModel
    from trl import SFTConfig

TEMPLATE_FILE = "lemma_template.json"


class LemmaTrainer(SFTTrainer):
    """See the module's docstring.

    Args:
        course: what decides the training's course; stored with each checkpoint.
        renderer: its description is stored with each model.
        partial_last_step: keep or drop, as the recipe's key of that name.
        peft_config, and everything that SFTTrainer takes besides.
    """

    _tag_names = ["trl", "sft", "lemma"]  # noqa: RUF012 - the base class declares a list

    def __init__(
        self,
        model: "PreTrainedModel",
        args: "SFTConfig",
        course: Course,
        renderer: Renderer,
        train_dataset: Any,
        eval_dataset: Any = None,
        peft_config: "PeftConfig | None" = None,
        partial_last_step: str = "keep",
    ):
        self.course = course
        self.partial_last_step = partial_last_step
        self.renderer = renderer
        tokenizer = renderer.tokenizer
        # The rows are tokenised and within max_length: TRL would only copy them. Packing is its work.
        args.dataset_kwargs = None if args.packing else {"skip_prepare_dataset": True}
        if args.padding_free and not args.packing:
            args.max_length = None  # TRL demands it; the rows were held to the limit before
        if peft_config is not None and course.zero_stage == 3 and args.activation_checkpointing:
            # TRL asks for reentrant checkpointing here, but under the name that transformers no longer reads.
            given = args.activation_checkpointing_kwargs
            reentrant = {**(given if isinstance(given, dict) else {}), "use_reentrant": True}
            args.activation_checkpointing_kwargs = args.gradient_checkpointing_kwargs = reentrant
        weighted = WEIGHTS in train_dataset.column_names
        multiple = args.pad_to_multiple_of if isinstance(args.pad_to_multiple_of, int) else None
        collator = WeightedCollator(tokenizer.pad_token_id, pad_to_multiple_of=multiple)
        super().__init__(
            model=model,
            args=args,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=tokenizer,
            peft_config=peft_config,
            data_collator=collator if weighted else None,
        )
        self._text_config = model.config.get_text_config()
        self._tokens_since_log = torch.zeros(3, dtype=torch.long)  # real, supervised, padding
        self._held_out = torch.zeros(2, dtype=torch.float64)  # sum of held-out losses, supervised tokens
        self._logged_at: float | None = None
        self._mean_length = max(1, sum(train_dataset["length"][:1000]) // min(1000, len(train_dataset)))

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        columns = [*dict.fromkeys([*(self._signature_columns or ()), WEIGHTS])]
        self._signature_columns = columns  # type: ignore[assignment] # transformers declares None, TRL sets a list

    # --- weighted tokens

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """TRL's loss, with each token's log-probability scaled by its weight while training.

        The held-out loss stays unweighted, so that runs with different weights can be compared by it.
        """
        weights = inputs.pop(WEIGHTS, None)
        if not model.training:
            result = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
            tokens = inputs["labels"][:, 1:].ne(IGNORED).sum()
            loss = result[0] if return_outputs else result
            self._held_out = self._held_out.to(tokens.device) + torch.stack([loss.double() * tokens, tokens.double()])
            return result
        if weights is None:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)

        def weighted_model(**kwargs):
            outputs = model(**kwargs)
            # Log-probabilities come shifted: position t scores token t + 1.
            outputs.log_probs = outputs.log_probs * (weights[:, 1:] / WEIGHT_UNIT)
            return outputs

        return super().compute_loss(weighted_model, inputs, return_outputs, num_items_in_batch)

    def evaluation_loop(
        self, dataloader, description, prediction_loss_only=None, ignore_keys=None, metric_key_prefix="eval"
    ):
        """The held-out loss is the mean over tokens; transformers' mean over batches would change with their size."""
        self._held_out = torch.zeros(2, dtype=torch.float64)
        output = super().evaluation_loop(dataloader, description, prediction_loss_only, ignore_keys, metric_key_prefix)
        assert output.metrics is not None
        loss, tokens = self.accelerator.reduce(self._held_out.to(self.args.device), reduction="sum").tolist()
        output.metrics[f"{metric_key_prefix}_loss"] = loss / max(tokens, 1.0)
        return output

    def _get_num_items_in_batch(self, batch_samples, device):
        """With weights, the loss is a weighted mean: the divisor is the sum of weights, not the number of tokens."""
        if not batch_samples or WEIGHTS not in batch_samples[0]:
            return super()._get_num_items_in_batch(batch_samples, device)
        supervised = [batch["labels"][:, 1:].ne(IGNORED) * batch[WEIGHTS][:, 1:] for batch in batch_samples]
        total = torch.stack([weights.sum() for weights in supervised]).sum().to(device) / WEIGHT_UNIT
        if self.args.average_tokens_across_devices and self.args.world_size > 1:
            total = self.accelerator.gather(total).sum()
        return total

    # --- throughput

    def get_batch_samples(self, epoch_iterator, num_batches, device):
        """Also count the tokens that go by, without waiting for the device."""
        if self._logged_at is None:
            self._logged_at = time.perf_counter()
        batches, num_items = super().get_batch_samples(epoch_iterator, num_batches, device)
        for batch in batches:
            labels = batch["labels"]
            real = batch["attention_mask"].sum() if "attention_mask" in batch else labels.new_tensor(labels.numel())
            counted = torch.stack([real, labels.ne(IGNORED).sum(), labels.new_tensor(labels.numel()) - real])
            self._tokens_since_log = self._tokens_since_log.to(counted.device) + counted
        return batches, num_items

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add throughput and memory to the training logs; stop on a loss that is not finite."""
        if "loss" in logs:
            self._demand_finite(logs["loss"])
            logs |= self._throughput()
        super().log(logs, start_time)

    def _demand_finite(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"The loss became {loss} by step {self.state.global_step}; the newest checkpoint is from before. "
                "A smaller learning_rate or max_grad_norm, or fp32 (bf16: false), usually mends it."
            )

    def _throughput(self) -> dict[str, float]:
        now = time.perf_counter()
        counts = self._tokens_since_log.to(self.accelerator.device)
        real, supervised, padded = self.accelerator.reduce(counts, reduction="sum").tolist()
        seconds = max(now - (self._logged_at or now), 1e-9)
        self._logged_at = now
        self._tokens_since_log = torch.zeros(3, dtype=torch.long)
        measured = {
            "tokens_per_second": round(real / seconds, 1),
            "supervised_tokens": supervised,
            "supervised_tokens_per_second": round(supervised / seconds, 1),
            "padding_share": round(padded / max(1, real + padded), 4),
            "peak_memory_gib": round(_peak_memory_bytes(self.args.device) / 2**30, 3),
        }
        mfu = self._mfu(real / seconds)
        return measured if mfu is None else {**measured, "mfu_percent": round(mfu, 2)}

    def _mfu(self, tokens_per_second: float) -> float | None:
        """Model FLOPs utilisation in percent, where the device's peak is known.

        Counts the forward and backward pass of a full fine-tuning; for adapters it is an upper estimate.
        """
        if self.args.device.type != "cuda":
            return None
        dtype = "bfloat16" if self.args.bf16 else "float16" if self.args.fp16 else "float32"
        peak = get_peak_flops(torch.cuda.get_device_name(), dtype)
        if peak is None:
            return None
        flops = compute_flops_per_token(self._text_config, self._mean_length)
        return compute_mfu(flops, tokens_per_second, self.args.world_size, peak)

    # --- steps

    def set_initial_training_values(self, args, dataloader):
        """With `partial_last_step: drop` an epoch ends with its last whole step; `lemma plan` counts the same way."""
        values = super().set_initial_training_values(args, dataloader)
        epochs, _, examples, samples, batch, micro_batches, steps = values
        whole = micro_batches // args.gradient_accumulation_steps
        if self.partial_last_step == "keep" or whole == 0:
            return values  # an epoch of less than one step is that step
        if args.max_steps > 0:
            epochs = math.ceil(steps / whole)
        else:
            steps = math.ceil(args.num_train_epochs * whole)
            samples = steps * batch
        return epochs, whole, examples, samples, batch, whole * args.gradient_accumulation_steps, steps

    # --- durable checkpoints

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        """transformers looks for the end only after a step: a run resumed from its last step would take one more."""
        if self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
            return
        super()._run_epoch(*args, **kwargs)

    def _save_checkpoint(self, model, trial):
        """Save, then mark the checkpoint complete, and only then delete older ones.

        transformers deletes older checkpoints as the last step of its own save, when nothing yet says that the new
        one has reached the disk: its limit is taken away for that call and applied here.
        """
        # The losses since the last log have not been looked at: a checkpoint must not be made of them unseen.
        self._demand_finite(self.accelerator.reduce(self._tr_loss.detach().clone(), reduction="sum").item())
        folder = Path(self._get_output_dir(trial)) / f"checkpoint-{self.state.global_step}"
        if self.is_world_process_zero() and folder.exists():
            checkpoints.discard(folder)  # what a run that was cut off at this step has left
        self.accelerator.wait_for_everyone()
        limit, self.args.save_total_limit = self.args.save_total_limit, None
        try:
            super()._save_checkpoint(model, trial)
        finally:
            self.args.save_total_limit = limit
        self.accelerator.wait_for_everyone()
        if self.is_world_process_zero():
            checkpoints.mark_complete(folder, self.course)
            checkpoints.rotate(folder.parent, limit, self.state.best_model_checkpoint)
        self.accelerator.wait_for_everyone()

    def _save_rng_state(self, output_dir: str) -> None:
        """Also what this rank has summed up since the last log: the next log must tell of the whole interval."""
        super()._save_rng_state(output_dir)
        unlogged = {
            "loss": self._tr_loss.item(),
            "logged_step": self._globalstep_last_logged,
            "tokens": self._tokens_since_log.tolist(),
            "trl_tokens": self._total_train_tokens,
            "trl_metrics": self._metrics["train"],
        }
        file = Path(output_dir) / f"unlogged_{self.args.process_index}.json"
        file.write_text(json.dumps(unlogged), encoding="utf-8")

    def _load_rng_state(self, checkpoint: str | None) -> None:
        super()._load_rng_state(checkpoint)
        files = list(Path(checkpoint).glob("unlogged_*.json")) if checkpoint is not None else []
        unlogged = other_ranks.unlogged_share(files, self.args.process_index, self.args.world_size)
        if unlogged is not None:
            self._tr_loss += unlogged["loss"]
            self._globalstep_last_logged = unlogged["logged_step"]
            # The first batches after the resume may have been counted already.
            self._tokens_since_log += torch.tensor(unlogged["tokens"], device=self._tokens_since_log.device)
            self._total_train_tokens = unlogged["trl_tokens"]
            self._metrics["train"].update(unlogged["trl_metrics"])

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        super()._save(output_dir, state_dict)
        if self.args.should_save and output_dir is not None:
            described = {**self.renderer.description(), "fingerprint": self.renderer.fingerprint}
            text = json.dumps(described, indent=1, ensure_ascii=False)
            (Path(output_dir) / TEMPLATE_FILE).write_text(text + "\n", encoding="utf-8")

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        """Checkpoints carry no card; the final model's card is written by `export`."""


def _peak_memory_bytes(device: torch.device) -> int:
    """Peak memory of this process: on the GPU where there is one, else resident in RAM."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
