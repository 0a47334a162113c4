"""Bundles on a hub of models. Enters: ``owner/name`` and a revision. Leaves: card and weights in a folder.

The code of a bundle stays on the hub: nothing that a stranger wrote is to run here, so nothing of it need come. The
addresses are those of the Hugging Face Hub; the environment variable ``HF_ENDPOINT`` names another server.
"""

import os
import re
from pathlib import Path
from urllib.parse import quote

from ..core.errors import ConfigError, DataError, IncompatibleBundle
from ..io.download import download, read_url
from .bundle import WEIGHTS, read_card

ENDPOINT = "https://huggingface.co"
NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
MAX_CARD_BYTES = 1 << 20
MAX_WEIGHTS_BYTES = 1 << 30
"""The production model has 2 MB; what a card asks for beyond this is not fetched."""


def fetch_from_hub(name: str, revision: str, folder: Path) -> None:
    """Put ``bundle.json`` and the weights of a model into ``folder``; the weights are checked against the card.

    Parameters
    ----------
    name : ``owner/name``
    revision : branch, tag or commit

    Raises
    ------
    ConfigError
        ``name`` is not of that form.
    DataError
        The hub has no such model, or it did not come as a whole.
    IncompatibleBundle
        It is of another schema version or not a bundle at all.
    """
    if not NAME.fullmatch(name):
        raise ConfigError(f"'{name}': no such folder; a folder, models:/<name>@<alias> or <owner>/<name> is needed")
    endpoint = os.environ.get("HF_ENDPOINT") or ENDPOINT
    base = f"{endpoint.rstrip('/')}/{name}/resolve/{quote(revision, safe='')}"
    try:
        (folder / "bundle.json").write_bytes(read_url(f"{base}/bundle.json", MAX_CARD_BYTES))
    except DataError as error:
        raise DataError(f"'{name}': no such folder, and no such model on the hub ({error})") from None
    entry = read_card(folder)["files"].get(WEIGHTS)
    if not (isinstance(entry, dict) and isinstance(entry.get("n_bytes"), int) and isinstance(entry.get("sha256"), str)):
        raise IncompatibleBundle(f"'{name}': its bundle.json does not say which weights are its own")
    if not 0 < entry["n_bytes"] <= MAX_WEIGHTS_BYTES:
        raise IncompatibleBundle(
            f"'{name}': weights of {entry['n_bytes']} bytes; at most {MAX_WEIGHTS_BYTES} are fetched"
        )
    download([f"{base}/{WEIGHTS}"], folder / WEIGHTS, entry["sha256"], entry["n_bytes"])
