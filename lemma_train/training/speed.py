"""Measures that make training faster or smaller without touching what it works out: memory kept, layers compiled.

Enters: nothing, or a model. Leaves: this process or the model changed in place. What they gain is in
docs/performance.md.
"""

import ctypes
import logging
import os
import sys
from typing import Any

import torch
from transformers import TrainerCallback

logger = logging.getLogger(__name__)

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_LARGEST = 2**31 - 1
STEPS_BETWEEN_RETURNS = 4


def keep_freed_memory() -> bool:
    """Have malloc keep what is freed, for the next micro-batch, instead of giving it back to the system each time.

    By default glibc maps each tensor above 32 MiB anew, and the system fills the pages with zeros one by one.
    `GiveBack` returns now and then what batches of other lengths have left unused.

    Returns:
        whether it is so now; False where the C library is another one.
    """
    libc = _glibc()
    return libc is not None and all(libc.mallopt(option, _LARGEST) for option in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD))


def give_back_freed_memory() -> None:
    """Return what `keep_freed_memory` has kept and nobody uses."""
    libc = _glibc()
    if libc is not None:
        libc.malloc_trim(0)


class GiveBack(TrainerCallback):
    """After each few steps returns what malloc has kept: batches of ever other lengths leave ever other holes."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step % STEPS_BETWEEN_RETURNS == 0:
            give_back_freed_memory()


def forget_old_shapes() -> None:
    """Have oneDNN keep the code of the last few shapes instead of the last thousand products.

    Each length of a batch that has not been there before makes new code and scratch memory, some 20 MB for a small
    model, and hardly ever comes again. ONEDNN_PRIMITIVE_CACHE_CAPACITY in the environment wins. It counts where no
    product has been worked out yet.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")


def _glibc() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") else None


def compile_layers(model: torch.nn.Module, device: torch.device, warns: bool = True) -> int:
    """Compile the model's repeated layers in place, all by the code that is made for the first.

    Elementwise work between the matrix products is then done in one pass. Lengths are left open, so that batches of
    another shape need no new code. torch makes the code at the first step, which takes it about half a minute on two
    cores.

    Each value is rounded where the uncompiled layer rounds it. Without that a sum of three bf16 numbers is rounded
    once: where residual stream and output end half-way between two bf16 numbers, which they often do, the smallest
    LoRA update then decides every time, and the training loss of SmolLM2 fell by 0.05 after one step that moved its
    loss in fp32 by 0.002.

    Args:
        device: what the layers will run on. Where the weights lie now says nothing: they may wait elsewhere.
        warns: whether this process is the one that tells the user why no layer was compiled.

    Returns:
        the number of layers; 0 on CPUs without a C++ compiler, and for models without a list of like layers.

    Example:
        >>> compile_layers(model, args.device, warns=trainer.is_world_process_zero())     # doctest: +SKIP
        30
    """
    lists = [module for module in model.modules() if isinstance(module, torch.nn.ModuleList) and len(module) > 1]
    layers = [layer for block in lists if len({type(layer) for layer in block}) == 1 for layer in block]
    why = mend = ""
    if device.type == "cpu" and not _has_cpp_compiler():
        why, mend = "torch needs a C++ compiler for it and can start none", " Install g++, or name a compiler in CXX."
    elif not layers:
        why = "the model has no list of like layers"
    if why:
        if warns:
            logger.warning("compile_layers: %s; the layers stay as they are, which is slower.%s", why, mend)
        return 0
    for layer in layers:
        layer.compile(dynamic=True, options={"emulate_precision_casts": True})
    return len(layers)


def _has_cpp_compiler() -> bool:
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except (InvalidCxxCompiler, OSError):  # CXX may name a file that may not be executed, or a folder
        return False
    return True
