"""The results of a run: a model folder that is checked before it gets its name, its card, and the run's record.

Enters: a trained `LemmaTrainer`. Leaves: `<output_dir>/final` and `run.json`. `final` is written under another name,
read back tensor by tensor, and renamed only when it is whole.
"""

import importlib.metadata
import json
import platform
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from safetensors import safe_open

from lemma_train.errors import InputError
from lemma_train.training.checkpoints import flush, write_json_durably

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from lemma_train.training.trainer import LemmaTrainer

RUN_FILE = "run.json"
_PACKAGES = [
    "torch",
    "transformers",
    "trl",
    "peft",
    "accelerate",
    "deepspeed",
    "datasets",
    "tokenizers",
    "safetensors",
    "flash-attn",
]


def save_final(trainer: "LemmaTrainer", folder: Path, record: Mapping[str, Any], card: str) -> None:
    """Write, check and name the final model; every rank calls this, rank 0 writes.

    Raises:
        RuntimeError: the folder that was written lacks a tensor, or a tensor has another shape or is not finite.
        OSError: the disk is full; an earlier `final` and every checkpoint stay as they are.
    """
    staging = folder.with_name(f".{folder.name}.unfinished")
    if trainer.is_world_process_zero():
        shutil.rmtree(staging, ignore_errors=True)
    trainer.accelerator.wait_for_everyone()
    if trainer.is_fsdp_enabled:
        # The checkpoints of FSDP are sharded; the result must be one plain model.
        trainer.accelerator.state.fsdp_plugin.set_state_dict_type("FULL_STATE_DICT")
    trainer.save_model(str(staging), _internal_call=True)
    trainer.accelerator.wait_for_everyone()
    if trainer.is_world_process_zero():
        (staging / "training_args.bin").unlink(missing_ok=True)  # a pickle; run.json says the same in plain text
        faults = check_folder(staging, shapes_of(trainer.model))
        if faults:
            raise RuntimeError(f"The saved model in {staging} is not whole: {'; '.join(faults[:5])}.")
        (staging / "README.md").write_text(card, encoding="utf-8")
        flush(staging)
        write_json_durably(staging / RUN_FILE, record)
        shutil.rmtree(folder, ignore_errors=True)
        staging.rename(folder)
    trainer.accelerator.wait_for_everyone()


def check_folder(folder: Path, expected: Mapping[str, tuple[int, ...]] | None = None) -> list[str]:
    """Read a saved model back and name everything that is wrong with it; an empty list means it is whole.

    A full model is held against `expected` (by default the shapes that its own config.json asks for); an adapter's
    tensors must be there and finite, and its B matrices must have moved from their zero start.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        return ["it holds no safetensors file"]
    faults, shapes, moved = [], {}, False
    for file in files:
        with safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - it cannot be iterated
                tensor = tensors.get_tensor(name)
                shapes[name] = tuple(tensor.shape)
                if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                    faults.append(f"{name} holds values that are not finite")
                moved = moved or ("lora_B" in name and bool(tensor.any()))
    if (folder / "adapter_config.json").exists():
        has_lora = any("lora_B" in name for name in shapes)
        return [*faults, *(["the adapter has learnt nothing: every lora_B is zero"] if has_lora and not moved else [])]
    for name, shape in (config_shapes(folder) if expected is None else expected).items():
        if name not in shapes:
            faults.append(f"{name} is missing")
        elif shapes[name] != shape:
            faults.append(f"{name} has the shape {shapes[name]} instead of {shape}")
    return faults


def shapes_of(model: torch.nn.Module | None) -> dict[str, tuple[int, ...]]:
    """Full shapes of what a folder of a live model holds, also where ZeRO-3 or FSDP2 splits it; tied ones count once.

    Mixtures of experts are stored by expert, under other names than the model's.
    """
    from transformers.core_model_loading import revert_weight_conversion

    assert model is not None
    whole = {n: torch.empty(getattr(p, "ds_shape", p.shape), device="meta") for n, p in model.named_parameters()}
    stored = revert_weight_conversion(cast("PreTrainedModel", model), whole)
    return {name: tuple(tensor.shape) for name, tensor in stored.items()}


def config_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors that a model folder's config.json asks for.

    Builds the model on the meta device, so it must not run inside a ZeRO-3 training: there transformers would
    partition it, which needs every rank.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    model.tie_weights()
    return shapes_of(model)


def run_record(resolved: Mapping[str, Any], **facts: Any) -> dict[str, Any]:
    """What was run, with what, on what: the recipe as resolved, versions, git commit and hardware, plus `facts`."""
    return {
        "recipe": dict(resolved),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
        "python": platform.python_version(),
        "git_commit": _git_commit(),
        "hardware": _hardware(),
        "written_at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        **facts,
    }


def finished_course(output_dir: Path) -> dict[str, Any] | None:
    """The course of the finished run in a folder, or None where none has finished.

    Raises:
        InputError: `final` stands there and is not of this project.
    """
    if not (output_dir / "final").exists():
        return None
    try:
        return json.loads((output_dir / "final" / RUN_FILE).read_text(encoding="utf-8"))["course"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{output_dir}/final is not a model of this project; choose another output_dir.") from error


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """The commit of the code that runs, with `+changes` where the tree differs from it; None outside git."""
    root = Path(__file__).resolve().parents[2]
    command = ["git", "-C", str(root), "describe", "--always", "--dirty=+changes", "--abbrev=40", "--exclude=*"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None


def _hardware() -> dict[str, Any]:
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {"machine": platform.machine(), "cpu_threads": torch.get_num_threads(), "gpus": gpus}
