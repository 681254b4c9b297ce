"""The vocabulary head and the loss, worked out only where there is a label.

Enters: a causal language model and batches with labels. Leaves: the model, whose forward also answers a call with
`token_weights`: with the summed loss of the supervised tokens instead of logits. TRL's own fused head does that on GPUs
with a Triton kernel; on CPUs it scores every position, keeps no tile and multiplies gradients in fp32, which took two
thirds of a step's time. So CPUs get the function below; everything else goes on through TRL's head.
"""

import functools
import types
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from transformers.utils import ModelOutput
from trl.trainer.utils import maybe_gather_lm_head_ctx

from lemma_train.template import IGNORED
from lemma_train.training.memory_activations import OWN_TILE_ELEMENTS

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Models that scale or cap their logits name it by one of these; their heads are left to TRL.
_LOGIT_CHANGES = (
    "final_logit_softcapping",
    "logit_scale",
    "output_multiplier",
    "lm_head_multiplier",
    "logits_scaling",
)


@dataclass
class HeadOutput(ModelOutput):
    """What a forward with `token_weights` gives: scalars in fp32, sums over the supervised tokens.

    loss: weighted negative log-likelihood times `scale`. entropy, correct: None unless `token_metrics` was asked for;
    neither is weighted, and no gradient flows through them.
    """

    loss: torch.Tensor | None = None
    entropy: torch.Tensor | None = None
    correct: torch.Tensor | None = None


def supports(model: "PreTrainedModel", device: torch.device) -> bool:
    """Whether `add_supervised_head` can serve this model: trained on CPUs, with plain logits.

    device: where it is going to train. Where its weights lie now says nothing: under ZeRO-1 and 2 and under FSDP they
    wait on the CPU for the launcher to move them. Mixtures of experts are left to TRL, which adds their balancing loss.
    """
    config = model.config.get_text_config()
    plain = all(getattr(config, name, None) is None for name in _LOGIT_CHANGES)
    return device.type == "cpu" and plain and not hasattr(config, "output_router_logits")


def add_supervised_head(model: "PreTrainedModel") -> None:
    """Let `model(..., labels=labels, token_weights=weights, scale=s)` return a `HeadOutput`.

    labels: (rows, length), -100 where a token is not supervised; position t is scored by the output at t - 1.
    token_weights: (rows, length) or True for 1 everywhere. scale: a factor on the loss. Other calls are answered as
    before. Add it before the model is wrapped by anything but PEFT, whose wrapper passes the arguments on.
    """
    inner = model.forward

    @functools.wraps(type(model).forward)  # `generate` looks at the signature
    def forward(self, *args: Any, token_weights=None, scale=1.0, token_metrics=False, **kwargs: Any) -> Any:
        if token_weights is None:
            return inner(*args, **kwargs)
        labels = kwargs.pop("labels")[:, 1:]
        kwargs["use_cache"] = False
        # Looked up at each call, because wrappers replace them.
        hidden = self.base_model(*args, **kwargs).last_hidden_state[:, :-1]
        head = self.get_output_embeddings()
        positions = labels.ne(IGNORED).flatten().nonzero().flatten()
        weights = None if token_weights is True else token_weights[:, 1:].flatten().index_select(0, positions)
        with maybe_gather_lm_head_ctx(head.weight, head.bias):  # under ZeRO-3 it is split among the ranks
            loss, entropy, correct = _HeadLoss.apply(
                hidden.flatten(0, 1).index_select(0, positions),
                head.weight,
                head.bias,
                labels.flatten().index_select(0, positions),
                weights,
                scale,
                token_metrics,
                torch.is_grad_enabled(),
            )
        return HeadOutput(loss, entropy, correct) if token_metrics else HeadOutput(loss)

    model.forward = types.MethodType(forward, model)  # as TRL does


def summed_loss(
    model: Any, inputs: dict[str, Any], factors: torch.Tensor | None, scale: torch.Tensor, own: bool, metrics: bool
) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
    """Loss times `scale`, entropy and right guesses, summed over a micro-batch's supervised tokens.

    model: wrapped or not, with this module's head (`own`) or with TRL's. factors: (rows, length), the tokens' weights,
    or None. The last two results are None unless `metrics` are asked for.
    """
    if own:
        weights = True if factors is None else factors
        outputs = model(**inputs, token_weights=weights, scale=scale, token_metrics=metrics)
        return outputs.loss, outputs.entropy, outputs.correct
    outputs = model(**inputs, use_cache=False, fused_lm_head=True)
    # Log-probabilities come shifted: position t scores token t + 1.
    log_probs = outputs.log_probs if factors is None else outputs.log_probs * factors[:, 1:]
    if not metrics:
        return -log_probs.sum() * scale, None, None
    return -log_probs.sum() * scale, outputs.entropy.sum(), outputs.is_top1.sum()


def weighted(model: Any, factors: torch.Tensor) -> Any:
    """The model with TRL's head, whose log-probabilities come out scaled by the tokens' weights."""

    def call(**kwargs: Any) -> Any:
        outputs = model(**kwargs)
        outputs.log_probs = outputs.log_probs * factors[:, 1:]
        return outputs

    return call


class _HeadLoss(torch.autograd.Function):
    """Sum of -weight * log p(target), tile by tile, with the gradients made in the same pass.

    A tile's logits become its probabilities and then its gradient in place, so that logits are worked out once and
    never all at a time. The products are in autocast's type, as in an ordinary step; the sums over tiles in fp32.
    """

    @staticmethod
    def forward(ctx, hidden, weight, bias, targets, token_weights, scale, token_metrics, with_gradients):
        device = hidden.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
        table = weight.to(dtype)
        wants = [with_gradients and needed for needed in ctx.needs_input_grad[:3]]
        grad_hidden = torch.empty(hidden.shape, dtype=dtype) if wants[0] else None
        grad_weight = torch.zeros(weight.shape) if wants[1] and not len(targets) else None
        grad_bias = torch.zeros(len(weight)) if wants[2] else None
        loss = torch.zeros(())
        entropy, correct = torch.zeros(()), torch.zeros(())
        rows = max(1, OWN_TILE_ELEMENTS // len(weight))
        for start in range(0, len(targets), rows):
            part = slice(start, start + rows)
            inputs, target = hidden[part].to(dtype), targets[part, None]
            logits = torch.mm(inputs, table.t())
            if bias is not None:
                logits += bias.to(dtype)
            scores = torch.log_softmax(logits, -1, dtype=torch.float32)
            factor = None if token_weights is None else token_weights[part, None].float()
            picked = scores.gather(1, target)
            loss -= (picked if factor is None else picked * factor).sum()
            if token_metrics:
                correct += (picked >= scores.amax(-1, keepdim=True)).sum()
                entropy -= (scores.exp() * scores).sum()
            if not any(wants):
                continue
            scores.exp_()  # d loss / d logits = weight * (probability - 1 at the target)
            scores.scatter_add_(1, target, torch.full_like(picked, -1.0))
            if factor is not None:
                scores.mul_(factor)
            slope = logits.copy_(scores)
            if grad_hidden is not None:
                torch.mm(slope, table, out=grad_hidden[part])
            if wants[1]:
                product = torch.mm(slope.t(), inputs)
                grad_weight = product.float() if grad_weight is None else grad_weight.add_(product)
            if grad_bias is not None:
                grad_bias += slope.sum(0, dtype=torch.float32)
        ctx.gradients, ctx.scale = (grad_hidden, grad_weight, grad_bias), scale
        ctx.dtypes = (hidden.dtype, weight.dtype, None if bias is None else bias.dtype)
        ctx.mark_non_differentiable(entropy, correct)
        return loss * scale, entropy, correct

    @staticmethod
    def backward(ctx, grad_loss, *_):
        factor = ctx.scale * grad_loss
        gradients = [
            None if gradient is None else (gradient * factor if i == 0 else gradient.mul_(factor)).to(dtype)
            for i, (gradient, dtype) in enumerate(zip(ctx.gradients, ctx.dtypes, strict=True))
        ]
        ctx.gradients = None  # a second backward pass is not meant to be
        return *gradients, None, None, None, None, None
