"""Where experiment files written before the packages find what they import."""

from ncf.models.gmf.setting import Hyperparameters
from ncf.study.experiment import Experiment

__all__ = ["Experiment", "Hyperparameters"]
