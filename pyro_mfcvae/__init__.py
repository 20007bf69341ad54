"""Clustering along several facets at once with deep generative models, as Pyro programs."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyro_mfcvae.estimators import FacetClustering as FacetClustering
    from pyro_mfcvae.estimators import FacetSearch as FacetSearch
    from pyro_mfcvae.estimators import GMVAEClustering as GMVAEClustering
    from pyro_mfcvae.estimators import VaDEClustering as VaDEClustering
    from pyro_mfcvae.evaluation import predict as predict
    from pyro_mfcvae.evaluation.onnx import to_onnx as to_onnx
    from pyro_mfcvae.inference.elbo import ElboTerms as ElboTerms
    from pyro_mfcvae.inference.elbo import FacetELBO as FacetELBO
    from pyro_mfcvae.inference.fade_in import FadeInSchedule as FadeInSchedule
    from pyro_mfcvae.inference.noise import Noise as Noise
    from pyro_mfcvae.inference.sites import Fade as Fade
    from pyro_mfcvae.models import GMVAE as GMVAE
    from pyro_mfcvae.models import MFCVAE as MFCVAE
    from pyro_mfcvae.models import UGVAE as UGVAE
    from pyro_mfcvae.models import VLAC as VLAC
    from pyro_mfcvae.models import VaDE as VaDE
    from pyro_mfcvae.official import import_official as import_official
    from pyro_mfcvae.official import import_run as import_run
    from pyro_mfcvae.plugins import load_guide_file as load_guide_file
    from pyro_mfcvae.plugins import load_model_file as load_model_file
    from pyro_mfcvae.pretrained import open_pretrained as open_pretrained
    from pyro_mfcvae.priors.mixture import MixturePrior as MixturePrior
    from pyro_mfcvae.runs.run import Run as Run

_HOMES = {
    "ElboTerms": "inference.elbo",
    "Fade": "inference.sites",
    "FadeInSchedule": "inference.fade_in",
    "FacetClustering": "estimators",
    "FacetELBO": "inference.elbo",
    "FacetSearch": "estimators",
    "GMVAE": "models",
    "GMVAEClustering": "estimators",
    "MFCVAE": "models",
    "MixturePrior": "priors.mixture",
    "Noise": "inference.noise",
    "Run": "runs.run",
    "UGVAE": "models",
    "VLAC": "models",
    "VaDE": "models",
    "VaDEClustering": "estimators",
    "import_official": "official",
    "import_run": "official",
    "load_guide_file": "plugins",
    "load_model_file": "plugins",
    "open_pretrained": "pretrained",
    "predict": "evaluation",
    "to_onnx": "evaluation.onnx",
}

__all__ = ["__version__", *sorted(_HOMES)]
__version__ = "1.0.0rc1"


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
