"""Models of one's own, from a Python file.

Settings record a file's path and checksum. A file is imported only where a person, or the process
that they started, names it; never because settings do.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from typing_extensions import override

from pyro_mfcvae.config import Config, ModelSource
from pyro_mfcvae.data.registry import DATASETS
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.guides import GUIDES
from pyro_mfcvae.models.base import FacetModel
from pyro_mfcvae.models.registry import MODELS, model_names, name_of, unknown_model
from pyro_mfcvae.nets.registry import DECODERS, ENCODERS, LIKELIHOODS

_REGISTRIES: dict[str, dict[str, Any]] = {
    "model": MODELS,
    "guide": GUIDES,
    "likelihood": LIKELIHOODS,
    "encoder": ENCODERS,
    "decoder": DECODERS,
    "data set": DATASETS,
}
_LOADED: dict[str, ModelSource] = {}
_PREFIX = "mfcvae_model_file_"  # of modules' names
_GIVEN = ("observation", "facets", "likelihood", "encoder", "decoder")


def load_model_file(text: str) -> ModelSource:
    """Import a file, and make one of its models known to settings that record the file.

    Guides, likelihoods and so on that it registers are known by their names. Its folder is not
    searched for other modules. A file is imported once, and anew after a change, which replaces
    everything that it registered before.

    Args:
        text: ``path/to/file.py:Name``.

    Returns:
        the file and its checksum.

    Raises:
        ConfigError: if there is no such file or model, the file cannot be imported or registers a
            name that is taken, or the model cannot be made as settings make one.
    """
    path, name = _parsed(text)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file; expected path/to/file.py:Name") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    source = ModelSource(path=str(path), sha256=hashlib.sha256(content).hexdigest())
    with _undone_on_failure():
        module = _imported(source, content)
        MODELS[name_of(name, source)] = _model_in(module, name)
    _LOADED[f"{path}:{name}"] = source
    return source


def loaded_files() -> dict[str, ModelSource]:
    """What :func:`load_model_file` was given in this process, and what it returned."""
    return dict(_LOADED)


def load_again(files: Mapping[str, ModelSource]) -> None:
    """Load in a further process what :func:`loaded_files` told in the one that started it.

    Raises:
        ConfigError: if a file has changed meanwhile, or as for :func:`load_model_file`.
    """
    for text, source in files.items():
        if load_model_file(text) != source:
            raise ConfigError(f"{source.path} has changed since this was started; start it again")


def with_model(config: Config, text: str) -> Config:
    """Settings with another model, and all else as it was.

    Args:
        config: the settings.
        text: a registered name, or ``path/to/file.py:Name`` of a file that is loaded with it.

    Raises:
        ConfigError: if there is no such model, or as for :func:`load_model_file`.
    """
    if text in model_names():
        name, source = text, None
    elif ":" in text or "/" in text or text.endswith(".py"):
        source, name = load_model_file(text), text.rpartition(":")[2]
    else:
        raise unknown_model(text)
    return replace(config, model=replace(config.model, name=name, source=source))


class _Content(SourceFileLoader):
    """Runs what was read, and neither asks nor writes ``__pycache__``, which may be older."""

    def __init__(self, fullname: str, path: str, content: bytes) -> None:
        super().__init__(fullname, path)
        self.content = content

    @override
    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.content, self.path)


def _parsed(text: str) -> tuple[Path, str]:
    file, _, name = text.rpartition(":")
    if not file.endswith(".py") or not name.isidentifier():
        raise ConfigError(
            f"expected a Python file and the name of a model in it, as path/to/file.py:Name, got "
            f"{text!r}"
        )
    return Path(file).expanduser().resolve(), name


def _module_name(source: ModelSource) -> str:
    return f"{_PREFIX}{source.sha256[:16]}"


def _imported(source: ModelSource, content: bytes) -> ModuleType:
    """The file as a module; what it held before, if that was imported, is forgotten."""
    _forget_earlier(source)
    name = _module_name(source)
    if name in sys.modules:
        return sys.modules[name]
    loader = _Content(name, source.path, content)
    spec = importlib.util.spec_from_file_location(name, source.path, loader=loader)
    module = importlib.util.module_from_spec(spec)
    before = {what: dict(table) for what, table in _REGISTRIES.items()}
    sys.modules[name] = module  # dataclasses look there for the names of their file
    try:
        loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever a person's code may raise
        told = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigError(f"{source.path} cannot be imported: {told}") from error
    _check_names(before, source.path)
    return module


def _forget_earlier(source: ModelSource) -> None:
    """Take what an earlier state of a file registered out of all registries."""
    for text, earlier in loaded_files().items():
        if earlier.path != source.path or earlier.sha256 == source.sha256:
            continue
        name = _module_name(earlier)
        for table in _REGISTRIES.values():
            for key in [key for key, part in table.items() if part.__module__ == name]:
                del table[key]
        MODELS.pop(name_of(text.rpartition(":")[2], earlier), None)
        sys.modules.pop(name, None)
        del _LOADED[text]


@contextmanager
def _undone_on_failure() -> Iterator[None]:
    """Leave registries and modules as they were if a file cannot be used."""
    tables = [(table, dict(table)) for table in [*_REGISTRIES.values(), _LOADED]]
    modules = {name: module for name, module in sys.modules.items() if name.startswith(_PREFIX)}
    try:
        yield
    except BaseException:
        for table, before in tables:
            table.clear()
            table.update(before)
        for name in [name for name in sys.modules if name.startswith(_PREFIX)]:
            del sys.modules[name]
        sys.modules.update(modules)
        raise


def _check_names(before: Mapping[str, Mapping[str, Any]], path: str) -> None:
    """Raise a ConfigError if a file has taken a name that stood for something else."""
    for what, table in before.items():
        for name, part in table.items():
            home = getattr(sys.modules.get(part.__module__), "__file__", None)
            if _REGISTRIES[what].get(name) is not part and home != path:
                raise ConfigError(
                    f"{path} registers the {what} {name!r}, a name that is taken; choose another"
                )


def _model_in(module: ModuleType, name: str) -> type[FacetModel]:
    """The model called name in a file that has been imported."""
    path, names = module.__file__, vars(module)
    if name not in names:
        own = [key for key, value in names.items()
               if _is_model(value) and value.__module__ == module.__name__]  # fmt: skip
        told = f"its models are {', '.join(own)}" if own else "it has no subclass of FacetModel"
        raise ConfigError(f"{path} has no {name}; {told}")
    model = names[name]
    if not _is_model(model):
        raise ConfigError(f"{name} of {path} must be a subclass of FacetModel, got {model!r}")
    if missing := sorted(model.__abstractmethods__):
        raise ConfigError(f"{name} of {path} must define {', '.join(missing)}")
    try:
        inspect.signature(model).bind_partial(*_GIVEN)
    except TypeError as error:
        raise ConfigError(
            f"{name} of {path} must be made of {', '.join(_GIVEN)}, in this order, as FacetModel "
            f"is: {error}"
        ) from None
    return model


def _is_model(value: object) -> bool:
    return inspect.isclass(value) and issubclass(value, FacetModel) and value is not FacetModel
