"""`lemma merge` with small shards, in a process of its own: prints the most memory in bytes that the merge has held.

`python tests/measured_merge.py CHECKPOINT OUT DTYPE SHARD_SIZE`
"""

import sys
from pathlib import Path

import deepspeed.utils.zero_to_fp32
import peft.tuners.lora  # noqa: F401 - what is imported before the watch begins is not counted
import transformers
from anonymous_memory import Watch

from lemma_train.training import merge, merge_stream

if __name__ == "__main__":
    checkpoint, out, dtype, merge_stream.SHARD_SIZE = sys.argv[1:]
    _ = transformers.LlamaForCausalLM, deepspeed.utils.zero_to_fp32, merge.shutil
    watch = Watch()
    merge.merge(Path(checkpoint), Path(out), dtype)
    print(f"held {watch.most()}")
