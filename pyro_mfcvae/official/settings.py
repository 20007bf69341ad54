"""The first authors' settings, by their names, checked."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

from pyro_mfcvae.config import Count, Positive, Whole
from pyro_mfcvae.config.text import parse_yaml
from pyro_mfcvae.data.shapes import factor_grid
from pyro_mfcvae.errors import ConfigError, explain
from pyro_mfcvae.registry import unknown

Weight = Annotated[float, Field(ge=0, le=1)]
Fraction = Annotated[float, Field(gt=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32, strict=True)]  # what numpy's RandomState takes
Values = Annotated[list[Whole], Field(min_length=1)]
Depths = list[Annotated[int, Field(le=100)]]  # layers, which are built before tensors are compared
Widths = list[int | str | list[int | str]]  # "branch" and "merge" part their ladders' widths

_FACTORS = ("floor_hue", "wall_hue", "object_hue", "scale", "shape", "orientation")
_LADDER = tuple(
    f"{part}_{what}"
    for part in ("enc_backbone", "enc_rung", "dec_rung", "dec_backbone")
    for what in ("dims", "n_hidden")
)


@dataclass(frozen=True)
class OfficialData:
    """What their code fixes by data set."""

    name: str  # of the data set here
    shape: tuple[int, int, int]  # (channels, height, width)
    likelihood: str  # p(x | z)
    output_activation: str | None  # of its mean
    n_train: int | None = None  # training observations; None where the settings say it


_DATA: dict[str, OfficialData] = {
    "fast_mnist": OfficialData("mnist", (1, 28, 28), "Bernoulli", "sigmoid", 60_000),
    "fast_svhn": OfficialData("svhn", (3, 32, 32), "Gaussian", "sigmoid", 73_257),
    "fast_3dshapes": OfficialData("shapes3d", (3, 32, 32), "Gaussian", None),
}


@checked_dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="ignore"))
class OfficialSettings:
    """Those of their settings that say what a model is and how it was trained, by their names.

    Lists run over facets, shallow first, but ``n_epochs_per_progressive_step`` over time. What
    their earlier versions did not have yet has their default.
    """

    model_type: Literal["fc_vlae", "conv_vlae", "fc_shared", "fc_per_facet_enc_shared_dec"]
    dataset: Literal["fast_mnist", "fast_svhn", "fast_3dshapes"]
    z_j_dim_list: Annotated[list[Count], Field(min_length=1)]
    n_clusters_j_list: list[Count]
    cov_type_p_z_c: Literal["diag", "full"]
    init_type_p_z_c: Literal["gmm", "glorot"]
    fix_pi_p_c: bool
    facet_to_fix_pi_p_c: str = "all"
    sigma_multiplier_p_x_z: Positive | None = None
    activation: Literal["relu", "leaky_relu", "elu"] = "relu"
    do_fc_batch_norm: bool = False
    enc_backbone_dims: list[int] | None = None
    enc_backbone_n_hidden: Depths | None = None
    enc_rung_dims: list[int] | None = None
    enc_rung_n_hidden: Depths | None = None
    dec_rung_dims: list[int] | None = None
    dec_rung_n_hidden: Depths | None = None
    dec_backbone_dims: list[int] | None = None
    dec_backbone_n_hidden: Depths | None = None
    encode_layer_dims: Widths | None = None
    decode_layer_dims: Widths | None = None
    do_progressive_training: bool
    n_epochs_per_progressive_step: list[Count] | None = None
    n_batches_fade_in: Whole | None = None
    gamma_kl_z_pretrain: Weight = 0.0
    gamma_kl_c_pretrain: Weight = 0.0
    n_epochs: Count | None = None
    data_init: bool = False
    init_lr: Positive
    batch_size: Count
    seed: Seed
    temp_sample_generation: Positive = 1.0
    factors_variation_dict: dict[str, Values] | None = None
    threedshapes_train_frac: Fraction | None = None

    def __post_init__(self) -> None:
        missing = [name for name in self._needs() if getattr(self, name) is None]
        if missing:
            raise ValueError(f"the settings lack {', '.join(missing)}")
        per_facet = ["n_clusters_j_list"]
        per_facet += ["n_epochs_per_progressive_step"] if self.do_progressive_training else []
        per_facet += _LADDER if self.model_type == "fc_vlae" else []
        for name in per_facet:
            if len(getattr(self, name)) != self.n_facets:
                raise ValueError(
                    f"{name} needs one entry for each of the {self.n_facets} facets of "
                    f"z_j_dim_list, got {getattr(self, name)}"
                )
        which = ["all", *(f"facet_{j}" for j in range(self.n_facets))]
        if self.fix_pi_p_c and self.facet_to_fix_pi_p_c not in which:
            raise unknown("facet_to_fix_pi_p_c", self.facet_to_fix_pi_p_c, which)
        factors = self.factors_variation_dict or {}
        if self.dataset == "fast_3dshapes" and set(factors) != set(_FACTORS):
            raise ValueError(
                f"factors_variation_dict needs the values of {', '.join(_FACTORS)}, "
                f"got {', '.join(factors) or 'none'}"
            )
        if self.dataset == "fast_3dshapes" and not 0 < self.n_train < self._n_scenes():
            raise ValueError(
                "threedshapes_train_frac must lie between 0 and 1 and leave scenes for training "
                f"and for testing, got {self.threedshapes_train_frac:g} of {self._n_scenes()} "
                "scenes"
            )

    @property
    def data(self) -> OfficialData:
        """What follows from the data set."""
        return _DATA[self.dataset]

    @property
    def n_facets(self) -> int:
        """J."""
        return len(self.z_j_dim_list)

    @property
    def fixed_weights(self) -> list[bool]:
        """Whether pi_j stays 1/K_j, for each facet."""
        which = self.facet_to_fix_pi_p_c
        return [self.fix_pi_p_c and which in ("all", f"facet_{j}") for j in range(self.n_facets)]

    @property
    def n_train(self) -> int:
        """Training observations."""
        if self.data.n_train is not None:
            return self.data.n_train
        return int(self._n_scenes() * (1 - self.test_fraction) + 1e-9)

    @property
    def test_fraction(self) -> float:
        """Share of the scenes of 3D Shapes that is held out."""
        assert self.threedshapes_train_frac is not None  # one of those that _needed names
        return round(1 - self.threedshapes_train_frac, 12)

    def _n_scenes(self) -> int:
        grid = factor_grid(self.factors_variation_dict or {})
        return math.prod(len(values) for values in grid.values())

    def _needs(self) -> list[str]:
        """What these settings need beside what all do."""
        names = ["n_epochs"]
        if self.do_progressive_training:
            names = ["n_epochs_per_progressive_step", "n_batches_fade_in"]
        if self.model_type == "fc_vlae":
            names += _LADDER
        elif self.model_type != "conv_vlae":
            names += ["encode_layer_dims", "decode_layer_dims"]
        if self.data.likelihood == "Gaussian":
            names.append("sigma_multiplier_p_x_z")
        if self.dataset == "fast_3dshapes":
            names += ["factors_variation_dict", "threedshapes_train_frac"]
        return names


def read_yaml(path: Path | str) -> dict[str, Any]:
    """A file of their settings, such as those in their folder ``configs``.

    Raises:
        ConfigError: if it cannot be read, or is no mapping.
    """
    try:
        values = parse_yaml(Path(path).read_text())
    except (OSError, UnicodeError, ConfigError) as error:
        raise ConfigError(f"{path} cannot be read as YAML ({error})") from None
    if not isinstance(values, dict):
        raise ConfigError(
            f"{path} must be a mapping of settings, as in the first authors' folder configs, "
            f"got {type(values).__name__}"
        )
    return values


def read_settings(values: Mapping[str, Any]) -> OfficialSettings:
    """Their settings by their names, checked; those of neither model nor training are left aside.

    Raises:
        ConfigError: if one is missing or has a wrong type or value.
    """
    known = {field.name for field in fields(OfficialSettings)}
    try:
        return _adapter().validate_python({name: values[name] for name in known & values.keys()})
    except ValidationError as error:
        problems = error.errors()
    missing = [str(p["loc"][0]) for p in problems if p["type"] in ("missing", "missing_argument")]
    wrong = [explain(p) for p in problems if p["type"] not in ("missing", "missing_argument")]
    wrong += [f"the settings lack {', '.join(sorted(missing))}"] if missing else []
    raise ConfigError(
        f"these are no settings of the first authors' implementation: {'; '.join(wrong)}"
    )


@functools.cache
def _adapter() -> TypeAdapter[OfficialSettings]:
    return TypeAdapter(OfficialSettings)
