"""Runs `lemma merge` in a process of its own, and tells how much memory it held."""

import subprocess
import sys
from pathlib import Path

import torch
from launching import ROOT, environment
from safetensors.torch import load_file


def held_by_merge(checkpoint: Path, out: Path, dtype: str, shard_size: str) -> int:
    # Freed memory goes back at once: what glibc keeps for later is not what the merge holds.
    env = environment(MALLOC_MMAP_THRESHOLD_="65536", PYTHONPATH=str(ROOT))
    command = [sys.executable, ROOT / "tests" / "measured_merge.py", checkpoint, out, dtype, shard_size]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return int(done.stdout.rpartition("held ")[2])


def tensors_of(folder: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()}
