"""Loading of experiment files, whose mistakes are reported with the file and the line."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ncf.study.experiment import Experiment
from ncf.study.proposals import Proposals, examples


def load_experiment(path: Path) -> Experiment:
    """Runs an experiment file, tries its search space and returns the `experiment` that it defines.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file or its search space does not run, or it defines no experiment.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such experiment file; --experiment names one")
    spec = importlib.util.spec_from_file_location("experiment_file", path.resolve())
    if spec is None or spec.loader is None:
        raise ValueError(f"{path}: an experiment is a Python file, NAME.py")
    module = importlib.util.module_from_spec(spec)
    with _errors_with_line(path), _beside(path.resolve().parent):
        spec.loader.exec_module(module)
    experiment = getattr(module, "experiment", None)
    if not isinstance(experiment, Experiment):
        raise ValueError(f"{path}: must define `experiment = Experiment(...)`, see template.py")
    with _errors_with_line(path):
        name, defaults = experiment.name, experiment.defaults
        Proposals(name, defaults, experiment.search_space, seed=0, lag=1).next([])
        examples(experiment.search_space)
    return experiment


@contextmanager
def _beside(folder: Path) -> Iterator[None]:
    """Lets the body import modules from a folder before others, as a script's own folder does.

    Afterwards they come last, so that a search space may import one when it is called, and none
    takes the place of a library's module.
    """
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        if str(folder) not in sys.path:
            sys.path.append(str(folder))


@contextmanager
def _errors_with_line(path: Path) -> Iterator[None]:
    """Turns any error of the experiment file into a ValueError that names the line in it."""
    try:
        yield
    except (Exception, SystemExit) as error:
        trace = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in trace if frame.filename == str(path.resolve())]
        is_of_file = getattr(error, "filename", None) == str(path.resolve())  # a SyntaxError's
        line = getattr(error, "lineno", None) if is_of_file else lines and lines[-1]
        where = f", line {line}" if line else ""
        raise ValueError(
            f"{path}{where}: {type(error).__name__}: {error}; correct it, "
            "experiments/template.py explains how"
        ) from error
