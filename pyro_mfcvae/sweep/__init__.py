"""Many settings and seeds: what is trained, what trains it, and what came out."""

from pyro_mfcvae.reproduction.running import Interrupted
from pyro_mfcvae.sweep.driver import Sweep
from pyro_mfcvae.sweep.engines import InTurn, Processes, SweepEngine, Watch
from pyro_mfcvae.sweep.objective import Objective
from pyro_mfcvae.sweep.on_ray import OnRay
from pyro_mfcvae.sweep.spec import EXAMPLE, Random, Space, Spec, read_spec, spec_from_dict
from pyro_mfcvae.sweep.trials import Trial

__all__ = [
    "EXAMPLE",
    "InTurn",
    "Interrupted",
    "Objective",
    "OnRay",
    "Processes",
    "Random",
    "Space",
    "Spec",
    "Sweep",
    "SweepEngine",
    "Trial",
    "Watch",
    "read_spec",
    "spec_from_dict",
]
