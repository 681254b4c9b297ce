"""A model whose tensors are read one at a time, each when it is about to be written.

Enters: a model's files, an adapter beside them, or DeepSpeed's partitions. Leaves: the model without its weights, and a
state dict for `save_pretrained` that reads a tensor when it is taken out. So a merge holds one shard of the result and
the tensor under work, not the model. Where the names or shapes of the files are not those of the model (mixtures of
experts, added tokens), it leaves None, and the caller holds the model whole.
"""

import contextlib
import functools
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from safetensors import SafetensorError, safe_open

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PretrainedConfig, PreTrainedModel

SHARD_SIZE = "5GB"  # of a file of the result, and so of what is held: the size that model hubs advise
Read = Callable[[str], torch.Tensor]


class Unread(dict[str, torch.Tensor]):
    """A state dict of shapes; what is popped is read, and not held here.

    `save_pretrained` plans its shards by shapes, then pops the tensors of one shard, writes them and forgets them.
    tests/test_merge_memory.py fails when a release does otherwise.
    """

    def __init__(self, model: "PreTrainedModel", read: Read):
        super().__init__(model.state_dict())
        self._read = read

    def pop(self, name: str, *default: Any) -> torch.Tensor:
        super().pop(name, *default)
        return self._read(name)


def without_weights(config: "PretrainedConfig", dtype: torch.dtype | None) -> "PreTrainedModel":
    """The model of a configuration without its weights. dtype: None is fp32."""
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype or torch.float32)
    model.tie_weights()
    return model


def stored_otherwise(model: "PreTrainedModel") -> bool:
    """Whether the files of this model name or shape its weights otherwise than it does: mixtures of experts."""
    from transformers.conversion_mapping import get_model_conversion_mapping

    return bool(get_model_conversion_mapping(model, add_legacy=False))


def names_of(model: "PreTrainedModel") -> set[str]:
    """The names of the tensors that a folder of this model holds: of tied ones one."""
    return set(model.state_dict()) - set(model.all_tied_weights_keys)


def of_folder(name: str, dtype: str, revision: str | None = None) -> "tuple[PreTrainedModel, Read] | None":
    """A model folder or a model of the Hub's cache; None where its files are not safetensors under the model's names.

    dtype: `auto` is what the configuration says, else what the files hold. None also where they cannot be read: what
    loads the model whole then says why.
    """
    from transformers import AutoConfig, GenerationConfig

    try:
        stored = _stored(name, revision)
        config = AutoConfig.from_pretrained(name, revision=revision)
    except (OSError, ValueError, KeyError, SafetensorError):
        return None
    if not stored or getattr(config, "quantization_config", None) is not None:
        return None
    wanted = getattr(torch, dtype) if dtype != "auto" else config.dtype
    model = without_weights(config, wanted or stored[next(iter(stored))].dtype)
    if stored_otherwise(model) or not _of_one_type(model) or not _makes_up(stored, model):
        return None
    with contextlib.suppress(OSError):  # a model without one keeps what follows from its configuration
        model.generation_config = GenerationConfig.from_pretrained(name, revision=revision or "main")
    return model, lambda tensor: stored[tensor].to(model.dtype)


def _of_one_type(model: "PreTrainedModel") -> bool:
    """Whether all that is stored of a model has its type: no buffers, and nothing that stays in fp32."""
    parameters = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    return names_of(model) <= parameters and not model._get_dtype_plan(model.dtype)


def _makes_up(stored: "_Stored", model: "PreTrainedModel") -> bool:
    """Whether files hold the tensors of a model and no others, and the same where it ties two."""
    tied, whole = model.all_tied_weights_keys, model.state_dict()
    return (
        set(stored) - set(tied) == names_of(model)
        and all(stored.shape(name) == tuple(whole[name].shape) for name in stored)
        and all(torch.equal(stored[name], stored[tied[name]]) for name in tied if name in stored)
    )


def scaffold(model: "PreTrainedModel") -> "PreTrainedModel":
    """A second model whose weights are one repeated number: PEFT puts an adapter on the device of its base layer,
    which must therefore be the CPU, and takes no memory so."""
    made = without_weights(model.config, model.dtype)
    for name, parameter in list(made.named_parameters()):
        module = made.get_submodule(name.rpartition(".")[0])
        # In fp32, because PEFT rounds an adapter that it loads so to the type of its base layer.
        hollow = torch.zeros((), dtype=torch.float32).expand(parameter.shape)
        setattr(module, name.rpartition(".")[2], torch.nn.Parameter(hollow, requires_grad=False))
    made.tie_weights()
    return made


def of_adapter(adapted: "PeftModel", read: Read, dtype: torch.dtype) -> "Read | None":
    """A LoRA adapter merged into its base model layer by layer, by PEFT's own arithmetic.

    adapted: the adapter on a `scaffold`. read: the base model's tensors, in dtype. None for what PEFT keeps in other
    ways than a layer around a layer.
    """
    from peft.tuners.lora import LoraLayer
    from peft.tuners.lora.layer import ParamWrapper
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils import AuxiliaryTrainingWrapper, ModulesToSaveWrapper

    base = cast("PreTrainedModel", adapted.get_base_model())
    wrappers = {n: m for n, m in base.named_modules() if isinstance(m, BaseTunerLayer | AuxiliaryTrainingWrapper)}
    for wrapper in wrappers.values():
        if not isinstance(wrapper, LoraLayer | ModulesToSaveWrapper) or isinstance(wrapper, ParamWrapper):
            return None
        if any(True for _ in _wrapped(wrapper).children()):
            return None
    tied = {name for pair in base.all_tied_weights_keys.items() for name in pair}
    if any(name.startswith(f"{wrapped}.") for name in tied for wrapped in wrappers):
        return None
    merged: dict[str, torch.Tensor] = {}

    def read_merged(name: str) -> torch.Tensor:
        place, _, leaf = name.rpartition(".")
        wrapper = wrappers.get(place)
        if wrapper is None:
            return read(name)
        if isinstance(wrapper, ModulesToSaveWrapper):
            return wrapper.modules_to_save[wrapper.active_adapters[0]].get_parameter(leaf).data.to(dtype)
        if name not in merged:
            layer = _wrapped(wrapper)
            leaves = [own for own, _ in layer.named_parameters(recurse=False)]
            for own in leaves:
                setattr(layer, own, torch.nn.Parameter(read(f"{place}.{own}"), requires_grad=False))
            wrapper.merge(safe_merge=True)
            merged.update({f"{place}.{own}": getattr(layer, own).data for own in leaves})
            for own in leaves:
                setattr(layer, own, None)
        return merged.pop(name)

    return read_merged


def _wrapped(wrapper: Any) -> torch.nn.Module:
    """The base model's layer that PEFT has put a layer of its own around."""
    return wrapper.original_module if hasattr(wrapper, "original_module") else wrapper.get_base_layer()


class _Stored(Mapping[str, torch.Tensor]):
    """The tensors of safetensors files, each read when it is asked for. files: where each lies."""

    def __init__(self, files: Mapping[str, str]):
        self._files = files
        # Kept open for this merge alone: the files of the next one may be others under the same names.
        self._open = functools.lru_cache(maxsize=4)(_open)

    def __getitem__(self, name: str) -> torch.Tensor:
        return self._open(self._files[name]).get_tensor(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def __contains__(self, name: object) -> bool:
        return name in self._files  # without reading it

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._open(self._files[name]).get_slice(name).get_shape())


def _open(file: str) -> Any:
    # Read, not mapped: a mapping would count as this process's memory for as long as the file is open.
    return safe_open(file, framework="pt", backend="pread")


def _stored(name: str, revision: str | None) -> _Stored | None:
    """The tensors of a model; None where it is stored in another way."""
    from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, cached_file

    def find(file: str) -> str | None:
        return cached_file(name, file, revision=revision, _raise_exceptions_for_missing_entries=False)

    single = find(SAFE_WEIGHTS_NAME)
    if single is not None:
        return _Stored(dict.fromkeys(_open(single).keys(), single))
    index = find(SAFE_WEIGHTS_INDEX_NAME)
    if index is None:
        return None
    places = json.loads(Path(index).read_text(encoding="utf-8"))["weight_map"]
    found = {file: find(file) for file in set(places.values())}
    held = {file: set(_open(path).keys()) for file, path in found.items() if path is not None}
    if any(tensor not in held.get(file, ()) for tensor, file in places.items()):
        return None
    return _Stored({tensor: cast(str, found[file]) for tensor, file in places.items()})
