"""Many settings and seeds: what is trained, what trains it, and what came out."""

from pyro_mfcvae.studies.sweep.driver import Sweep
from pyro_mfcvae.studies.sweep.objective import Criterion
from pyro_mfcvae.studies.sweep.spec import EXAMPLE, Random, Space, Spec, read_spec, spec_from_dict

__all__ = [
    "EXAMPLE",
    "Criterion",
    "Random",
    "Space",
    "Spec",
    "Sweep",
    "read_spec",
    "spec_from_dict",
]
