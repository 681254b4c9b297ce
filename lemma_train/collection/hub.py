"""A collected data set goes to the Hugging Face Hub.

Enters: the collection's folder and a name. Leaves: a data set repository with the rows, the card and its pictures.
Journals and stage files stay here. The token comes from the environment and appears nowhere.
"""

import os
import re
from pathlib import Path

from lemma_train.collection.data_card import ERROR_TYPES, FUNNEL, NUMBERS, README
from lemma_train.collection.dataset_files import PARQUET
from lemma_train.errors import InputError, first_line

TOKEN_VARIABLE = "HF_TOKEN"


def check(repo_id: str) -> str:
    """Find what is wrong with an upload without sending anything; returns the token.

    Raises:
        InputError: the name is no `owner/name`, the machine is offline, or the token is missing or broken.
    """
    if not re.fullmatch(r"[\w.-]{1,96}/[\w.-]{1,96}", repo_id, re.ASCII):
        raise InputError(f"push_to_hub: {repo_id!r} must be of the form owner/name.")

    import huggingface_hub

    if huggingface_hub.is_offline_mode():
        raise InputError(
            "push_to_hub: HF_HUB_OFFLINE is set, so that nothing can be uploaded; unset it, or leave the key out."
        )
    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    if not token:
        raise InputError(f"push_to_hub: set the environment variable {TOKEN_VARIABLE} to a token that may write.")
    if not re.fullmatch("[!-~]+", token):  # the HTTP client would quote it in its complaint
        raise InputError(f"push_to_hub: {TOKEN_VARIABLE} holds characters that no token has; copy it again.")
    return token


def push(folder: Path, repo_id: str, private: bool = True) -> str:
    """Upload `dataset.parquet`, `README.md`, `card.json` and the pictures; returns the address.

    A repository that exists is added to as one commit, and keeps being public or private as it is.

    Raises:
        InputError: as `check`; the folder has no finished data set, or the Hub refuses.
    """
    missing = [name for name in (PARQUET, README) if not (folder / name).is_file()]
    if missing:
        raise InputError(f"push_to_hub: {folder} holds no {' and no '.join(missing)}; run the stage assembly first.")
    token = check(repo_id)

    import httpx2  # huggingface_hub's HTTP client, whose errors it passes on
    import huggingface_hub

    api = huggingface_hub.HfApi(token=token)
    try:
        url = api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True)
        api.upload_folder(
            folder_path=folder,
            repo_id=repo_id,
            repo_type="dataset",
            allow_patterns=[PARQUET, README, NUMBERS, ERROR_TYPES, FUNNEL],
            commit_message="Add the collected data set",
        )
    except (httpx2.HTTPError, OSError, ValueError) as error:
        raise InputError(f"push_to_hub: {repo_id} cannot be uploaded to: {first_line(error)}.") from None
    return str(url)
