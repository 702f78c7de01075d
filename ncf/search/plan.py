"""From the command's options to all that a search needs: experiment, data, split, candidates.

What a person can get wrong is found here, before anything costly.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ncf.data.columns import Columns
from ncf.data.datasets import load_interactions
from ncf.data.interactions import Interactions
from ncf.models.negatives import check_sampleable
from ncf.protocol import given_split
from ncf.protocol.candidates import draw_candidates
from ncf.protocol.seeds import Purpose, spawn_int
from ncf.protocol.splitting import HeldOut, Split, leave_one_out
from ncf.search.coordinator import Settings
from ncf.search.experiment import DataFacts, Experiment
from ncf.search.experiment_file import load_experiment
from ncf.search.proposals import LAG, describe_space, examples
from ncf.trials.estimate import Estimate, estimate
from ncf.trials.messages import TrialData


@dataclass(frozen=True)
class Prepared:
    """A search that can begin.

    Attributes:
        study_name: Name of the study.
        experiment: What is searched, the command's options applied.
        settings: How.
        interactions: The data.
        split: The data, split.
        protocol: How, in a few words.
        source: The options that the data were read with.
        validation_candidates: Candidates of the validation items, (V, C).
        test_candidates: Candidates of the test items, (V, C).
    """

    study_name: str
    experiment: Experiment
    settings: Settings
    interactions: Interactions
    split: Split
    protocol: str
    source: dict[str, str | float | None]
    validation_candidates: NDArray[np.int32]
    test_candidates: NDArray[np.int32]

    @property
    def facts(self) -> DataFacts:
        """The data set in a few numbers."""
        counts = {
            "users": self.interactions.n_users,
            "items": self.interactions.n_items,
            "interactions": self.interactions.n_interactions,
            "evaluated": len(self.split.test.users),
        }
        return DataFacts(self.interactions.name, self.interactions.fingerprint, counts)

    @property
    def trial_data(self) -> TrialData:
        """What trials are handed: no test item is in it."""
        return TrialData(self.split.train, self.split.validation, self.validation_candidates)

    @property
    def estimates(self) -> list[Estimate]:
        """What trials all over the search space would take."""
        settings = [self.experiment.defaults, *examples(self.experiment.search_space)]
        size = self.validation_candidates.size
        return [estimate(self.split.train, size, setting) for setting in settings]

    @property
    def identity(self) -> dict[str, Any]:
        """All that makes the trials of a study comparable."""
        return {
            "data": self.interactions.name,
            "fingerprint": self.interactions.fingerprint,
            "split": self.protocol,
            "n_candidates": self.experiment.n_candidates,
            "k": self.settings.k,
            "seed": self.settings.seed,
            "epochs": self.experiment.epochs,
            "patience": self.experiment.patience,
            "prune": self.settings.prune,
            "lag": LAG,
            "defaults": asdict(self.experiment.defaults),
            "space": describe_space(self.experiment.search_space),
        }


def prepare(options: argparse.Namespace) -> Prepared:
    """Reads the experiment and the data, splits them and draws the candidates.

    Raises:
        ValueError: An option, the experiment or the data breaks a rule.
        OSError: A file is not there, or cannot be read or downloaded.
    """
    settings = _settings(options)
    experiment = _experiment(options)
    if settings.k > experiment.n_candidates:
        raise ValueError(
            f"--k {settings.k}: a list of that many holds each of the {experiment.n_candidates} "
            f"sampled negatives; give at most {experiment.n_candidates}"
        )
    study_name = _checked_name("--study", options.study or experiment.name)
    prepared = assemble(study_name, experiment, settings, options.columns, options.min_rating)
    if not options.no_register:
        _checked_name("--register", options.register or f"gmf-{prepared.facts.name}")
    return prepared


def assemble(
    study_name: str,
    experiment: Experiment,
    settings: Settings,
    columns: str | None,
    min_rating: float | None,
) -> Prepared:
    """Reads the data of an experiment, splits them and draws the candidates.

    Args:
        study_name: Name of the study.
        experiment: What is searched.
        settings: How.
        columns: The option `--columns`.
        min_rating: The option `--min-rating`.

    Raises:
        ValueError: The data break a rule.
        OSError: A file is not there, or cannot be read or downloaded.
    """
    train_file = given_split.find(experiment.data)
    if train_file is None:
        interactions = load_interactions(experiment.data, parse_columns(columns), min_rating)
        split, given = leave_one_out(interactions), None
    elif columns or min_rating is not None:
        raise ValueError(
            f"{train_file}: a ready-made split is taken as it is; leave out --columns and "
            "--min-rating"
        )
    else:
        given = given_split.load_ready_made(train_file)
        interactions, split = given.interactions, given.split
    check_sampleable(split.train_and_validation)

    def draw(held_out: HeldOut, purpose: Purpose) -> NDArray[np.int32]:
        return draw_candidates(
            split.whole.indptr,
            split.whole.items,
            split.whole.n_items,
            held_out.users,
            held_out.items,
            experiment.n_candidates,
            spawn_int(settings.seed, purpose),
        )

    validation = draw(split.validation, Purpose.VALIDATION_CANDIDATES)
    if given is None:
        protocol = "leave-one-out by time"
        test = draw(split.test, Purpose.TEST_CANDIDATES)
    else:
        protocol = (
            f"ready-made split, {given.test_candidates.shape[1] - 1} test negatives given "
            f"({given.n_dropped} dropped: candidates are distinct)"
        )
        test = given.test_candidates
    source = {"data_source": experiment.data, "columns": columns, "min_rating": min_rating}
    return Prepared(
        study_name, experiment, settings, interactions, split, protocol, source, validation, test
    )


def _experiment(options: argparse.Namespace) -> Experiment:
    experiment = load_experiment(Path(options.experiment))
    if options.data is not None and options.data != experiment.data:
        name = Path(options.data).name.strip(".").split(".")[0] or options.data
        experiment = replace(experiment, data=options.data, name=name)
    if options.epochs is not None:
        experiment = replace(experiment, epochs=options.epochs)
    return experiment


def _settings(options: argparse.Namespace) -> Settings:
    for name in ("trials", "jobs", "k", "timeout"):
        value = getattr(options, name)
        if value is not None and not value > 0:  # nor not-a-number
            raise ValueError(f"--{name} must be positive, but got {value}")
    if options.confirm < 0 or options.confirm_seeds < 1:
        raise ValueError(
            "--confirm must not be negative and --confirm-seeds at least 1, but got "
            f"{options.confirm} and {options.confirm_seeds}"
        )
    if options.seed < 0:
        raise ValueError(f"--seed must not be negative, but got {options.seed}")
    if options.device not in ("auto", "cpu"):
        from ncf.models.training import choose_device

        choose_device(options.device)  # raises now and not in every trial
    return Settings(
        n_trials=options.trials,
        seed=options.seed,
        k=options.k,
        device=options.device,
        timeout=options.timeout,
        prune=not options.no_prune,
    )


def _checked_name(option: str, name: str) -> str:
    if not re.fullmatch(r"[\w-][\w. -]{0,199}", name):  # it names a folder, and is put in queries
        raise ValueError(
            f"{option} {name!r}: a name is letters, digits, '-', '_', '.' and spaces, at most 200; "
            f"give one with {option} NAME"
        )
    return name


def parse_columns(option: str | None) -> Columns:
    """Reads the option `--columns`, NAME=COLUMN,...

    Raises:
        ValueError: It is written otherwise.
    """
    if option is None:
        return Columns()
    parts = option.split(",")
    pairs = dict(part.partition("=")[::2] for part in parts)
    known, called = [field.name for field in fields(Columns)], set(pairs.values()) - {""}
    if not set(pairs) <= set(known) or len(called) < len(parts):
        raise ValueError(
            f"--columns {option}: expected NAME=COLUMN,... with names of {', '.join(known)}, each "
            "name and column once"
        )
    return Columns(**pairs)
