"""Bytes that the decoder layers and the head keep or use for a micro-batch.

Enters: a `Setting`. Leaves: bytes. Counted are the tensors that autograd keeps in transformers' decoder layers and in
the head (TRL's, or on CPUs our own), one by one; state, buffers and sums are `memory`'s business.
"""

import math

from lemma_train.training.memory_setting import Setting

OWN_TILE_ELEMENTS = 2**25  # logits that our own head holds at one time
_HEAD_TOKENS, _HEAD_COLUMNS = 4096, 32768  # one tile of TRL's chunked head


def layer_input_bytes(setting: Setting) -> float:
    """Bytes of the hidden states that enter a layer, which is what a recomputed one keeps."""
    return setting.tokens * setting.shape.hidden * (2 if setting.half and not setting.fp32_stream else 4)


def offloaded_input_bytes(setting: Setting) -> float:
    """Bytes of host memory for the inputs of recomputed layers that wait there (transformers' `offload`).

    They lie in pinned memory, of which torch takes blocks of powers of two and gives none back.
    """
    if not setting.offloads_inputs:
        return 0.0
    block = 2 ** math.ceil(math.log2(layer_input_bytes(setting)))
    return float(setting.recomputed_layers * block)


def layer_saved_bytes(setting: Setting) -> float:
    """Bytes a position that one decoder layer keeps for its backward pass."""
    shape = setting.shape
    return _norms(setting) + _attention(setting) + _mlp(setting) + _adapters(setting) + _head_norms(setting, shape.key)


def layer_working_bytes(setting: Setting) -> float:
    """Bytes that the backward pass of one layer needs besides what the layer has kept."""
    shape, width = setting.shape, setting.width
    mlp = 3 * shape.intermediate * width
    attention = 0.0
    if setting.attention == "eager":
        attention = shape.heads * setting.length * (4 + 4 + width)
    elif setting.attention == "sdpa":
        attention = 4 * shape.query * width
    return setting.tokens * (max(mlp, attention) + 2 * shape.hidden * width)


def masks_bytes(setting: Setting) -> float:
    """The attention mask of a padded micro-batch, one for all layers; SDPA makes a bias of its own type of it."""
    if not setting.padded or setting.flattened or setting.attention == "flash":
        return 0.0
    return setting.micro_batch * setting.length**2 * (1.0 + setting.width)


def head_bytes(setting: Setting) -> float:
    """Bytes at the loss: TRL never builds all logits, but tiles of them, and sums gradients in fp32.

    With label smoothing transformers builds them all.
    """
    shape, width = setting.shape, setting.width
    positions = setting.tokens if setting.flattened else setting.micro_batch * (setting.length - 1)
    rows = min(positions, _HEAD_TOKENS)
    trains = setting.adapter is None or "lm_head" in setting.adapter.saved
    if setting.own_head:
        return _own_head_bytes(setting, positions, trains)
    hidden = positions * shape.hidden * (4 + width)
    tile = rows * _HEAD_COLUMNS * width
    # Without Triton, a tile's used columns are worked on in seven fp32 tensors and a mask.
    worked_on = rows * min(shape.vocab, _HEAD_COLUMNS) * 29 if setting.cpu else 0
    weight = shape.embedding * 4.0 if trains else 0.0
    # The fp32 sum is cast to the weight's own type when the last tile is done.
    cast = shape.embedding * 2.0 if trains and setting.sharding.engine and setting.half else 0.0
    logits = 0.0
    if setting.full_logits:
        logits = positions * shape.vocab * (width + 4 + 4 + width)  # and their log-probabilities and gradients
    return hidden + tile + weight + max(worked_on, cast) + logits


def _own_head_bytes(setting: Setting, positions: int, trains: bool) -> float:
    """Bytes at the loss where `head` works on supervised positions; every position may be one."""
    shape, width = setting.shape, setting.width
    rows = min(positions, max(1, OWN_TILE_ELEMENTS // shape.vocab))
    hidden = positions * shape.hidden * (4 + width)
    # A tile's logits, in 16 bits also their fp32 copy, and the log-probabilities that become the gradient.
    tile = rows * shape.vocab * (4 + width + (4 if setting.half else 0))
    table = shape.embedding * 2.0 if setting.fp32_stream and setting.half else 0.0
    weight = shape.embedding * (4.0 + width) if trains else 0.0  # the fp32 sum, and a tile's part of it
    return hidden + tile + table + weight


def _norms(setting: Setting) -> float:
    """Two RMSNorms: the fp32 input, what it is multiplied with its weight, and the result that linear layers read."""
    hidden, frozen = setting.shape.hidden, setting.adapter is not None
    if not setting.half:
        return 2 * hidden * (4 + (0 if frozen else 8))
    if setting.fp32_stream:
        # Each of the five linear layers makes a 16-bit copy of the fp32 result for itself.
        return 2 * hidden * (4 + (0 if frozen else 4)) + (0 if frozen else 5 * 2 * hidden)
    return 2 * hidden * (4 + (0 if frozen else 4))


def _attention(setting: Setting) -> float:
    """Queries, keys, values, the result, and the log-sum-exp of each head or, eager, the scores themselves."""
    shape, width = setting.shape, setting.width
    # Under a mask SDPA cannot share keys and values between heads: they are repeated.
    repeated = setting.attention == "eager" or (setting.attention == "sdpa" and setting.padded)
    key = shape.query if repeated else shape.key
    kept = width * (shape.query + 2 * key + shape.query)
    if setting.attention == "eager":
        return kept + shape.heads * setting.length * (4 + width)
    return kept + 4 * shape.heads


def _head_norms(setting: Setting, key: int) -> float:
    """RMSNorms of single heads, where the model has them."""
    return (setting.shape.query + key) * (4 + 2) if setting.shape.head_norms else 0.0


def _mlp(setting: Setting) -> float:
    """Gate, its activation, up and, where the last weight trains, their product."""
    return setting.shape.intermediate * setting.width * (4 if setting.adapter is None else 3)


def _adapters(setting: Setting) -> float:
    """Each adapter keeps its own input: after dropout, with the mask, and what comes out of its first matrix."""
    adapter = setting.adapter
    if adapter is None:
        return 0.0
    width = setting.width
    inputs = sum(setting.shape.linear(name)[0] for name in adapter.targets)
    mask = (width if setting.cpu else 1) * adapter.dropout  # on a GPU it is of single bytes
    return inputs * (width + mask) + len(adapter.targets) * adapter.rank * width
