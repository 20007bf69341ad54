"""What the package offers; imported when it is first asked for, as it needs torch."""

from pyro_mfcvae.figures.candidates import ranked_candidates
from pyro_mfcvae.figures.experiments import changed_settings, clusters_needed, latent_spaces
from pyro_mfcvae.figures.folder import draw_figures, drawn, read_reasons, save_arrays, save_figure
from pyro_mfcvae.figures.over_epochs import Curve, spread_over_epochs, term_over_steps
from pyro_mfcvae.figures.registry import (
    RunFigure,
    SceneFigure,
    all_figures,
    draw_figure,
    find_figure,
    get_figure,
    register_figure,
)
from pyro_mfcvae.figures.seen import Recorded, Seen, cluster_members, cluster_order
from pyro_mfcvae.figures.trials import all_trials

__all__ = [
    "Curve",
    "Recorded",
    "RunFigure",
    "SceneFigure",
    "Seen",
    "all_figures",
    "all_trials",
    "changed_settings",
    "cluster_members",
    "cluster_order",
    "clusters_needed",
    "draw_figure",
    "draw_figures",
    "drawn",
    "find_figure",
    "get_figure",
    "latent_spaces",
    "ranked_candidates",
    "read_reasons",
    "register_figure",
    "save_arrays",
    "save_figure",
    "spread_over_epochs",
    "term_over_steps",
]
