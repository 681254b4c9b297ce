"""Whether a model's name means a folder here or a repository of the Hugging Face Hub.

Enters: a name. Leaves: what to say where it means a folder that does not exist, so that nobody waits for the Hub to
say that it has no such repository. It reads no file.
"""

from pathlib import Path

_OUR_FOLDERS = ("models/", "outputs/")  # where scripts and recipes put models
_DEMO = "models/smollm2-135m"


def missing_folder(name: str) -> str | None:
    """A sentence about a folder that is not here; None for a folder that is, and for a name on the Hub (OWNER/MODEL).

    Example:
        >>> missing_folder("./llama")
        'there is no folder ./llama.'
        >>> missing_folder("meta-llama/Meta-Llama-3-8B")
    """
    means_folder = name.startswith((".", "/", "~", *_OUR_FOLDERS)) or name.count("/") > 1
    if not means_folder or Path(name).expanduser().is_dir():
        return None
    mend = f"; `python scripts/get_smollm2.py {_DEMO}` makes it" if name.rstrip("/") == _DEMO else ""
    return f"there is no folder {name}{mend}."
