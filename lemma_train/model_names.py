"""Whether a model's name means a folder here or a repository of the Hugging Face Hub.

Enters: a name. Leaves: what to say where it means a folder that does not exist, so that nobody waits for the Hub to
say that it has no such repository. It reads no file.
"""

import os

_OUR_FOLDERS = ("models/", "outputs/")  # where scripts and recipes put models
_DEMO = "models/smollm2-135m"


def missing_folder(name: str) -> str | None:
    """A sentence about a folder that is not here; None for a folder that is, and for a name on the Hub (OWNER/MODEL).

    Example:
        >>> missing_folder("/nowhere/llama")
        'there is no folder /nowhere/llama.'
        >>> missing_folder("meta-llama/Meta-Llama-3-8B")
    """
    if name.startswith(("http://", "https://")):
        return f"{name} is an address; give the model's name on the Hub, OWNER/MODEL."
    means_folder = name.startswith((".", "/", "~", *_OUR_FOLDERS)) or name.count("/") > 1
    if not means_folder or os.path.isdir(os.path.expanduser(name)):  # noqa: PTH111, PTH112 - Path raises for "~nobody"
        return None
    if name.rstrip("/") == _DEMO:
        return f"there is no folder {_DEMO} here; in the checkout `python scripts/get_smollm2.py {_DEMO}` makes it."
    return f"there is no folder {name}{'' if name[0] in '/~' else ' (paths are taken from the current folder)'}."
