"""Errors that a user can mend, each with what was expected, what came and what to do."""


class ConfigError(ValueError):
    """A setting is unknown, has the wrong type or range, or does not fit the data."""


class DataError(ValueError):
    """Observations or labels have the wrong shape, type or range, or cannot be found."""


class RunError(ValueError):
    """A run folder or checkpoint is missing, damaged or not what was asked for."""


class DamagedCheckpointWarning(UserWarning):
    """A newer checkpoint is damaged, so that an older one is taken."""


class OtherDataWarning(UserWarning):
    """Data are not those that a run was trained on."""


class TrainingError(RuntimeError):
    """Training cannot go on, for instance because the objective is not finite."""
