"""Models, guides and other parts from a person's own files and packages."""

from pyro_mfcvae.plugins.files import loaded_files, loaded_parts
from pyro_mfcvae.plugins.user import (
    build_model,
    check_given_once,
    guide_class,
    guide_name,
    load_again,
    load_guide_file,
    load_model_file,
    model_class,
    with_guide,
    with_model,
)

__all__ = [
    "build_model",
    "check_given_once",
    "guide_class",
    "guide_name",
    "load_again",
    "load_guide_file",
    "load_model_file",
    "loaded_files",
    "loaded_parts",
    "model_class",
    "with_guide",
    "with_model",
]
