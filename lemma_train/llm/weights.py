"""Which weights a model's folder holds, told by a short fingerprint: the same path can hold another model tomorrow.

Enters: a folder. Leaves: a fingerprint of its configuration and weights. It loads no tensor.
"""

import hashlib
from pathlib import Path

_WEIGHTS = ("*.safetensors", "*.bin", "*.gguf")
_CONFIGURATIONS = ("config.json", "adapter_config.json")
_SPOTS, _SPOT = 256, 4096  # a training moves every tensor, so that some blocks of a file tell two models apart


def weights_fingerprint(folder: Path) -> str | None:
    """16 hexadecimal digits; None where the folder holds no weights.

    Small files are read whole, of large ones 256 blocks of 4 KiB, evenly spread from the first byte to the last.
    """
    files = sorted(file for pattern in _WEIGHTS for file in folder.glob(pattern))
    if not files:
        return None
    digest = hashlib.sha256()
    for file in [*(folder / name for name in _CONFIGURATIONS if (folder / name).is_file()), *files]:
        size = file.stat().st_size
        digest.update(f"{file.name} {size}\n".encode())
        with file.open("rb") as stream:
            if size <= _SPOTS * _SPOT:
                digest.update(stream.read())
                continue
            for spot in range(_SPOTS):
                stream.seek((size - _SPOT) * spot // (_SPOTS - 1))
                digest.update(stream.read(_SPOT))
    return digest.hexdigest()[:16]
