"""Models shared as folders, on this machine or on the Hugging Face Hub."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import yaml

from pyro_mfcvae.errors import ConfigError, RunError, shown

if TYPE_CHECKING:
    from huggingface_hub import HfApi


class Shared(ABC):
    """What can be saved as a folder with a model card, and sent to the Hub."""

    @abstractmethod
    def save_pretrained(self, folder: Path | str, title: str | None = None) -> Path:
        """Write what is needed to use the model, and its model card ``README.md``.

        Args:
            folder: a new one.
            title: name in the model card; None takes the folder's.

        Returns:
            the folder.

        Raises:
            ConfigError: if the folder exists.
        """

    def push_to_hub(
        self, repo_id: str, *, private: bool = True, token: str | None = None, message: str = ""
    ) -> str:
        """Send what :meth:`save_pretrained` writes to the Hugging Face Hub.

        Args:
            repo_id: ``"OWNER/NAME"``, which is made if it does not exist.
            private: whether nobody else sees a repository that is made.
            token: of the account; None takes that of ``hf auth login``.
            message: of the commit.

        Returns:
            the address of the repository.

        Raises:
            ConfigError: if ``huggingface_hub`` is not installed.
            RunError: if the Hub refuses it, or cannot be reached.
        """
        api = _api(token)
        with TemporaryDirectory() as parent:
            folder = self.save_pretrained(Path(parent, "model"), repo_id)
            with _explaining(f"the model was not sent to {shown(repo_id)}"):
                address = api.create_repo(repo_id, private=private, exist_ok=True)
                api.upload_folder(
                    repo_id=repo_id, folder_path=folder, commit_message=message or "Upload model"
                )
        return str(address)


@contextmanager
def fetching(
    name: Path | str, files: Sequence[str], revision: str | None = None, token: str | None = None
) -> Iterator[Path]:
    """The folder of that name, or else for a while a copy of a repository of the Hub.

    Args:
        name: a folder, or ``"OWNER/NAME"``.
        files: patterns of those to fetch; no others are.
        revision: branch, tag or commit.
        token: of an account that may read the repository.

    Raises:
        ConfigError: if ``huggingface_hub`` is not installed.
        RunError: if there is neither, or the Hub cannot be reached.
    """
    if Path(name).is_dir():
        yield Path(name)
        return
    api = _api(token)
    with TemporaryDirectory() as folder:
        with _explaining(f"{shown(str(name))} is no folder, and cannot be fetched from the Hub"):
            api.snapshot_download(
                str(name), revision=revision, local_dir=folder, allow_patterns=list(files)
            )
        yield Path(folder)


def card_head(tags: Sequence[str], results: Mapping[str, Any] | None = None) -> str:
    """The head of a model card, which the Hub reads.

    Args:
        tags: besides those of every model.
        results: its ``model-index``, an entry of results by the model's name.
    """
    head: dict[str, Any] = {
        "library_name": "pyro_mfcvae",
        "tags": ["clustering", "variational-autoencoder", "pyro", *tags],
    }
    if results is not None:
        head["model-index"] = [dict(results)]
    return f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---\n"


def _api(token: str | None) -> HfApi:
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise ConfigError(
            'the Hub needs the package huggingface_hub: pip install "pyro_mfcvae[hub]"'
        ) from None
    return HfApi(token=token, library_name="pyro_mfcvae")


@contextmanager
def _explaining(what: str) -> Iterator[None]:
    """Let an error of the Hub say what it ended."""
    try:
        yield
    except Exception as error:  # of the Hub, or of the way to it
        told = " ".join(f"{type(error).__name__}: {error}".split())
        raise RunError(f"{what} ({told})") from error
