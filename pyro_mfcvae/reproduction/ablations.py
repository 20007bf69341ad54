"""One setting changed at a time: what MFCVAE, Appendix D.4 says of its hyperparameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from typing_extensions import override

from pyro_mfcvae import figures
from pyro_mfcvae.config import Config
from pyro_mfcvae.config import override as changed
from pyro_mfcvae.reproduction.definition import (
    Arm,
    Arms,
    Drawn,
    Entry,
    Experiment,
    Outcomes,
    Scale,
    accuracy,
    register_experiments,
)
from pyro_mfcvae.reproduction.settings import main_factor, settings

Changes = Mapping[str, Mapping[str, Sequence[str]]]

_BASE = "unchanged"
_QUICK_LENGTH = ("training.epochs_per_step=[20,40]", "training.n_fade_in_batches=100")

# What is changed: {name: {value: assignments}}; on rendered scenes the style facet is facet 1.
_CHANGES: Changes = {
    "style-dim": {str(d): (f"model.facets.0.latent_dim={d}",) for d in (2, 10, 20)},
    "K": {str(k): tuple(f"model.facets.{j}.n_clusters={k}" for j in (0, 1)) for k in (10, 50, 100)},
    "learning-rate": {r: (f"training.learning_rate={r}",) for r in ("2e-4", "2e-3")},
    "covariance": {"full": tuple(f"model.facets.{j}.covariance=full" for j in (0, 1))},
    "pi": {"fixed": tuple(f"model.facets.{j}.learn_weights=false" for j in (0, 1))},
}
_QUICK_CHANGES: Changes = {
    "style-dim": {"5": ("model.facets.1.latent_dim=5",)},
    "K": {"10": tuple(f"model.facets.{j}.n_clusters=10" for j in (0, 1))},
    "batch-size": {"64": ("training.batch_size=64",)},
    "learning-rate": {"2e-3": ("training.learning_rate=2e-3",)},
    "fade-in": {"0": ("training.n_fade_in_batches=0",)},
    "covariance": {"diagonal": tuple(f"model.facets.{j}.covariance=diagonal" for j in (0, 1))},
    "pi": {"learnt": tuple(f"model.facets.{j}.learn_weights=true" for j in (0, 1))},
}


class Ablations(Experiment):
    """The published model, and models that differ from it in one setting."""

    @override
    def arms(self, scale: Scale) -> Arms:
        base = settings("mnist", scale, *(_QUICK_LENGTH if scale == "quick" else ()))
        changes = _QUICK_CHANGES if scale == "quick" else _changes(base)
        factors = main_factor(scale)
        return [
            Arm(_BASE, base, _BASE, factors),
            *(
                Arm(f"{name}={value}", changed(base, assignments), f"{name} {value}", factors)
                for name, values in changes.items()
                for value, assignments in values.items()
            ),
        ]

    @override
    def entries(self, arms: Arms) -> Sequence[Entry]:
        lines = []
        for arm in arms:
            for factor, facet in arm.facets.items():
                lines += [accuracy(arm, factor, j, f"facet {j}") for j in (facet, 1 - facet)]
            lines.append(
                Entry(
                    arm=arm.label,
                    row="facets 0 and 1",
                    column=arm.title,
                    metric="NMI of their clusterings, held out",
                    path=("redundancy", "test", 0, 1),
                )
            )
        return lines

    @override
    def draw(self, outcomes: Outcomes) -> Drawn:
        ((factor, facet),) = outcomes[0].arm.facets.items()
        groups: dict[str, dict[str, list[tuple[float, ...]]]] = {}
        for outcome in outcomes:
            name, _, value = outcome.arm.label.partition("=")
            facets = outcome.measures["facets"]
            both = tuple(
                facets[j]["factors"][factor]["test"]["majority_accuracy"]
                for j in (facet, 1 - facet)
            )
            groups.setdefault(name, {}).setdefault(value, []).append(both)
        names = [f"{factor}, facet {j}" for j in (facet, 1 - facet)]
        yield self.name, figures.changed_settings(groups, names, _BASE, self.title)


def _changes(base: Config) -> Changes:
    """What is changed on MNIST; smaller and larger batches fade in over as many epochs."""
    n_fade_in, size = base.training.n_fade_in_batches, base.training.batch_size
    return {
        **_CHANGES,
        "batch-size": {
            str(n): (
                f"training.batch_size={n}",
                f"training.n_fade_in_batches={n_fade_in * size // n}",
            )
            for n in (128, 1024)
        },
        "fade-in": {str(n): (f"training.n_fade_in_batches={n}",) for n in (0, n_fade_in // 3)},
    }


register_experiments(
    Ablations(
        name="ablations",
        title="one setting changed at a time",
        source="MFCVAE, Appendix D.4, which says what mattered and gives no numbers",
        n_seeds={"full": 3, "reduced": 1, "quick": 1},
    )
)
