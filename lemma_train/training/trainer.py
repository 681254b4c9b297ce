"""TRL's SFTTrainer with small overrides: the loss, the order of rows, durable checkpoints, throughput.

Enters: a model, prepared rows and an SFTConfig. Leaves: a trained model. The training loop, the loss and its
normalisation over the whole global batch are TRL's and transformers'; what is overridden here says why, and
tests/test_trainer.py fails when a release changes what the overrides rely on.
"""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers.trainer_pt_utils import BatchRebalanceSampler, LengthGroupedSampler
from trl import SFTTrainer
from trl.trainer.utils import add_fused_lm_head

from lemma_train.template import IGNORED, Renderer
from lemma_train.training import checkpoints, head, other_ranks, row_order
from lemma_train.training.checkpointing import make_reentrant
from lemma_train.training.checkpoints import Course
from lemma_train.training.collator import WEIGHT_UNIT, WEIGHTS, WeightedCollator
from lemma_train.training.throughput import Throughput

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
        partial_last_step, supervised_head, token_metrics: as the recipe's keys of those names.
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
        supervised_head: bool = True,
        token_metrics: bool = False,
    ):
        self.course = course
        self.partial_last_step = partial_last_step
        self.token_metrics = token_metrics
        self.renderer = renderer
        tokenizer = renderer.tokenizer
        # The rows are tokenised and within max_length: TRL would only copy them. Packing is its work.
        args.dataset_kwargs = None if args.packing else {"skip_prepare_dataset": True}
        if args.packing and args.train_sampling_strategy == "batch_rebalance":
            args.train_sampling_strategy = "random"  # packs are of one length
        if args.padding_free and not args.packing:
            args.max_length = None  # TRL demands it; the rows were held to the limit before
        if peft_config is not None and course.zero_stage == 3:
            make_reentrant(args)
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
        parallel = self.accelerator.parallelism_config
        self._plain_loss = (
            args.loss_type == "nll"
            and not (args.label_smoothing_factor or self.aux_loss_enabled)
            and not (parallel is not None and parallel.sp_enabled)
        )
        self._own_head = supervised_head and self._plain_loss and head.supports(model, args.device)
        if self._own_head:
            head.add_supervised_head(model)  # an adapter's wrapper passes everything on to it
        elif self._plain_loss and not token_metrics:
            add_fused_lm_head(model, outputs=("log_probs",))  # over TRL's, which works out its metrics every time
        mean_length = max(1, sum(train_dataset["length"][:1000]) // min(1000, len(train_dataset)))
        self.throughput = Throughput(args, model.config.get_text_config(), mean_length)
        self._held_out = torch.zeros(4, dtype=torch.float64)  # sums: loss, supervised tokens, entropy, right guesses

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        columns = [*dict.fromkeys([*(self._signature_columns or ()), WEIGHTS])]
        self._signature_columns = columns  # type: ignore[assignment] # transformers declares None, TRL sets a list

    # --- the loss

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """TRL's loss, with weights and with no more read from the device than the loss needs.

        TRL reads entropy, accuracy and a count of tokens from every micro-batch, and waits for the device each time.
        Here they are summed up and read with the log. Weights count only while training, so that held-out losses of
        runs with different weights can be compared. Other losses than the plain one are left to TRL.
        """
        weights = inputs.pop(WEIGHTS, None)
        training = model.training
        factors = weights / WEIGHT_UNIT if weights is not None and training else None
        tokens = inputs["labels"][:, 1:].ne(IGNORED).sum()
        entropy = correct = None
        if return_outputs or not self._plain_loss:
            weighted = model if factors is None else head.weighted(model, factors)
            result = super().compute_loss(weighted, inputs, return_outputs, num_items_in_batch)
            loss = result[0] if return_outputs else result
        else:
            divisor = tokens if num_items_in_batch is None else torch.as_tensor(num_items_in_batch)
            scale = 1.0 / divisor.clamp(min=1)
            if self.args.average_tokens_across_devices and num_items_in_batch is not None:
                # The divisor counts the tokens of every rank, and DDP takes the mean of the ranks' gradients.
                scale = scale * (self.accelerator.num_processes // self.get_tp_size())
            asked = (factors, scale, self._own_head, self.token_metrics)
            loss, entropy, correct = head.summed_loss(model, inputs, *asked)
            result = loss
        if not training:
            # Of a batch without labels some losses are 0 / 0.
            summed = torch.where(tokens > 0, loss * tokens, 0.0)
            sums = [summed, tokens, *(tokens.new_zeros(()) if v is None else v for v in (entropy, correct))]
            self._held_out = self._held_out.to(tokens.device) + torch.stack([value.double() for value in sums])
        elif entropy is not None and correct is not None:
            self.throughput.count_guesses(entropy, correct, tokens)
        return result

    def evaluation_loop(
        self, dataloader, description, prediction_loss_only=None, ignore_keys=None, metric_key_prefix="eval"
    ):
        """The held-out loss is the mean over tokens; transformers' mean over batches would change with their size."""
        self._held_out = torch.zeros(4, dtype=torch.float64)
        output = super().evaluation_loop(dataloader, description, prediction_loss_only, ignore_keys, metric_key_prefix)
        loss, tokens, entropy, correct = self._over_ranks(self._held_out.to(self.args.device)).tolist()
        assert output.metrics is not None
        output.metrics[f"{metric_key_prefix}_loss"] = loss / max(tokens, 1.0)
        if self.token_metrics and self._plain_loss:
            output.metrics[f"{metric_key_prefix}_entropy"] = entropy / max(tokens, 1.0)
            output.metrics[f"{metric_key_prefix}_mean_token_accuracy"] = correct / max(tokens, 1.0)
        return output

    def get_eval_dataloader(self, eval_dataset=None):
        """Every batch of every process is full: accelerate would repeat rows, `dataloader_drop_last` leave some out."""
        rows = self.eval_dataset if eval_dataset is None else eval_dataset
        return super().get_eval_dataloader(row_order.filled_up(rows, self.args.eval_batch_size * self.args.world_size))

    def _over_ranks(self, tensor: torch.Tensor) -> torch.Tensor:
        return self.accelerator.reduce(tensor, reduction="sum")

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
        self.throughput.start()
        batches, num_items = super().get_batch_samples(epoch_iterator, num_batches, device)
        for batch in batches:
            self.throughput.count(batch)
        return batches, num_items

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add throughput and memory to the training logs; stop on a loss that is not finite."""
        if "loss" in logs:
            self._demand_finite(logs["loss"])
            logs |= self.throughput.figures(self._over_ranks)
            if self.token_metrics and self._plain_loss:
                logs |= self.throughput.guesses(self._over_ranks)
        super().log(logs, start_time)

    def _demand_finite(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"The loss became {loss} by step {self.state.global_step}; the newest checkpoint is from before. "
                "A smaller learning_rate or max_grad_norm, or fp32 (bf16: false), usually mends it."
            )

    # --- rows and steps

    def _get_train_sampler(self, train_dataset=None):
        sampler = super()._get_train_sampler(train_dataset)
        self._row_order = None
        if isinstance(sampler, BatchRebalanceSampler | LengthGroupedSampler):
            seed = self.args.seed if self.args.data_seed is None else self.args.data_seed
            drop_last = self.args.dataloader_drop_last or self.partial_last_step == "drop"
            sampler = self._row_order = row_order.seeded(sampler, seed, drop_last)
        return sampler

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

    def _init_training_state(self, max_steps, *args: Any, **kwargs: Any) -> tuple[int, int]:
        """A resumed run saves, logs and evaluates as its recipe says; transformers asks the checkpoint."""
        found = super()._init_training_state(max_steps, *args, **kwargs)
        self.state.compute_steps(self.args, max_steps)
        return found

    # --- durable checkpoints

    def _run_epoch(self, model, epoch, *args: Any, **kwargs: Any) -> None:
        """transformers looks for the end only after a step: a run resumed from its last step would take one more.

        It also fails to tell the sampler of the epoch where a resume and several processes each wrap it once.
        """
        if self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
            return
        if self._row_order is not None:
            self._row_order.set_epoch(epoch)
        super()._run_epoch(model, epoch, *args, **kwargs)

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
            "throughput": self.throughput.state(),
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
            self.throughput.restore(unlogged["throughput"])
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
