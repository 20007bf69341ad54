"""MLflow: a server, a database or files, as its environment variables say."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from typing_extensions import override

from pyro_mfcvae.training.trackers.base import PROJECT, Status, Tracked, Tracker, register_tracker

if TYPE_CHECKING:
    from mlflow import MlflowClient

_AT_ONCE = 100  # settings of a call
_LONGEST = 500  # letters of a setting
_STATUS = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}


@register_tracker("mlflow")
class MLflow(Tracker):
    """MLflow at MLFLOW_TRACKING_URI, in the experiment MLFLOW_EXPERIMENT_NAME [pyro_mfcvae]."""

    package = "mlflow"

    @override
    def begin(self, run: Tracked, known: str | None) -> str:
        from mlflow import MlflowClient
        from mlflow.entities import Param

        self._client = MlflowClient()
        if known is not None:
            self._client.update_run(known, status="RUNNING")
            self._id = known
            return known
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        experiment = _experiment(self._client, name)
        self._id = self._client.create_run(experiment, run_name=run.name).info.run_id
        params = [
            Param(_plain(path), str(value)[:_LONGEST]) for path, value in run.settings.items()
        ]
        for start in range(0, len(params), _AT_ONCE):
            self._client.log_batch(self._id, params=params[start : start + _AT_ONCE])
        return self._id

    @override
    def log(self, step: int, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        metrics = [Metric(_plain(name), value, now, step) for name, value in values.items()]
        self._client.log_batch(self._id, metrics=metrics)

    @override
    def tell(self, step: int, text: str) -> None:
        self._client.set_tag(self._id, "health", text)

    @override
    def end(self, status: Status) -> None:
        self._client.set_terminated(self._id, _STATUS[status])


def _experiment(client: MlflowClient, name: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return client.create_experiment(name)
        except Exception:  # another process may have made it in this moment
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    return found.experiment_id


def _plain(name: str) -> str:
    """A name with the letters that MLflow takes: those of columns may have others."""
    return re.sub(r"[^/\w.\- ]", "_", name)
