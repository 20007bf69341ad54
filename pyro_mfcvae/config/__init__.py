"""Settings of a run: frozen dataclasses to and from JSON, unknown keys refused.

Built directly, the dataclasses raise pydantic's ``ValidationError`` (a ``ValueError``) for values
of the wrong type or range; the functions turn it into one ``ConfigError``.
"""

from pyro_mfcvae.config.changes import override, parse_clusters, parse_facets, with_facets
from pyro_mfcvae.config.identity import digest, identity
from pyro_mfcvae.config.parts import (
    Component,
    Count,
    FacetConfig,
    GuideConfig,
    ModelConfig,
    ModelSource,
    Options,
    Part,
    Positive,
    SameRun,
    Whole,
)
from pyro_mfcvae.config.run import (
    VERSION,
    Config,
    config_from_dict,
    config_from_json,
    config_to_dict,
    config_to_json,
)
from pyro_mfcvae.config.training import TrainingConfig, WarpConfig

__all__ = [
    "VERSION",
    "Component",
    "Config",
    "Count",
    "FacetConfig",
    "GuideConfig",
    "ModelConfig",
    "ModelSource",
    "Options",
    "Part",
    "Positive",
    "SameRun",
    "TrainingConfig",
    "WarpConfig",
    "Whole",
    "config_from_dict",
    "config_from_json",
    "config_to_dict",
    "config_to_json",
    "digest",
    "identity",
    "override",
    "parse_clusters",
    "parse_facets",
    "with_facets",
]
