"""The plan of a study: its experiment, data, split and candidates, and the tasks made of them.

Mistakes in the data are found here, before anything costly begins.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ncf.data.interactions import Interactions
from ncf.models.negatives import check_sampleable
from ncf.models.table import Setting
from ncf.protocol.candidates import draw_candidates
from ncf.protocol.metrics import Objective
from ncf.protocol.ranks import MOST_USERS, Sample
from ncf.protocol.seeds import Purpose, spawn_int
from ncf.protocol.splitting import HeldOut, Split
from ncf.study.experiment import DataFacts, Experiment
from ncf.study.identity import FULL_USERS, full_users_of
from ncf.study.proposals import SHORTEST_LAG, describe_space, examples
from ncf.study.source import Source, read
from ncf.trials.data import TrialData
from ncf.trials.estimate import Estimate, estimate
from ncf.trials.messages import Refit, Task


@dataclass(frozen=True)
class Settings:
    """What a search needs beside its experiment.

    Attributes:
        n_trials: The number of trained trials that the study is to have in the end.
        seed: The seed of the study.
        objective: The validation metric that is maximised.
        device: The device of the models that PyTorch trains.
        timeout: Seconds after which no new trial starts.
        prune: Whether trials stop early where the others' learning curves were better.
        digits: The significant digits of proposed numbers; None, as in older studies, means all.
        full_users: For how many users a trial ranks the full catalogue at most, always the same
            ones; None means for all at its end, as in studies of before there was a sample.
        lag: How far behind a trial those are from whose outcomes it is decided.
    """

    n_trials: int
    seed: int
    objective: Objective = field(default_factory=Objective)
    device: str = "auto"
    timeout: float | None = None
    prune: bool = True
    digits: int | None = 3
    full_users: int | None = MOST_USERS
    lag: int = SHORTEST_LAG


@dataclass(frozen=True)
class Plan:
    """All that a search needs before it begins.

    Attributes:
        study_name: Name of the study.
        experiment: The experiment, with the options of the command applied.
        settings: The settings of the search.
        source: Where the interactions come from.
        interactions: The interactions.
        split: Their split into train, validation and test.
        protocol: How they were split, in a few words.
        validation_candidates: The candidates of the validation items, (V, C) for V users.
        test_candidates: The candidates of the test items, (V, C).
    """

    study_name: str
    experiment: Experiment
    settings: Settings
    source: Source
    interactions: Interactions
    split: Split
    protocol: str
    validation_candidates: NDArray[np.int32]
    test_candidates: NDArray[np.int32]

    @property
    def facts(self) -> DataFacts:
        """The data set in a few words and numbers."""
        counts = {
            "users": self.interactions.n_users,
            "items": self.interactions.n_items,
            "interactions": self.interactions.n_interactions,
            "evaluated": len(np.unique(self.split.test.users)),
        }
        return DataFacts(self.interactions.name, self.interactions.fingerprint, counts)

    @cached_property
    def n_judges(self) -> int:
        """The number of users that trials are judged by."""
        return len(np.unique(self.split.validation.users))

    @property
    def sample(self) -> Sample | None:
        """Those of them for whom trials rank the full catalogue; None where for all."""
        n_users = self.settings.full_users
        if n_users is None or self.n_judges <= n_users:
            return None
        return Sample(n_users, spawn_int(self.settings.seed, Purpose.FULL_USERS))

    @property
    def trial_data(self) -> TrialData:
        """The data that trials see, without any test item."""
        split = self.split
        return TrialData(
            split.train,
            split.validation,
            self.validation_candidates,
            period=split.validation_period,
        )

    @property
    def estimates(self) -> list[Estimate]:
        """Estimates of trials from all over the search space."""
        settings = [self.experiment.defaults, *examples(self.experiment.search_space)]
        size = self.validation_candidates.size
        return [estimate(self.split.train, size, setting) for setting in settings]

    @property
    def identity(self) -> dict[str, Any]:
        """All that must be equal for trials to be comparable, as the study records it."""
        objective = self.settings.objective
        # nDCG is left out, as in the records of before there was a choice
        other = {} if objective.metric == Objective.metric else {"objective": objective.metric}
        digits = {} if self.settings.digits is None else {"digits": self.settings.digits}
        full_users = {} if self.sample is None else {FULL_USERS: self.sample.n_users}
        return {
            "data": self.interactions.name,
            "fingerprint": self.interactions.fingerprint,
            "split": self.protocol,
            "n_sampled_negatives": self.experiment.n_sampled_negatives,
            "k": objective.k,
            "seed": self.settings.seed,
            "epochs": self.experiment.epochs,
            "patience": self.experiment.patience,
            "prune": self.settings.prune,
            "lag": self.settings.lag,
            "defaults": asdict(self.experiment.defaults),
            "space": describe_space(self.experiment.search_space),
            **other,
            **digits,
            **full_users,
        }

    def begun_as(self, identity: Mapping[str, Any] | None) -> Plan:
        """Returns the plan with what a study that has recorded this identity keeps; None is new."""
        identity = self.identity if identity is None else identity
        settings = replace(self.settings, digits=identity.get("digits"))
        if self.sample is not None:
            settings = replace(settings, full_users=full_users_of(identity))
        return replace(self, settings=settings)

    def task(
        self,
        number: int,
        setting: Setting,
        seed: np.random.SeedSequence,
        weights: Path | None = None,
        stop_below: tuple[float, ...] | None = None,
        beside: Path | None = None,
    ) -> Task:
        """Returns the task of one setting: train on train, judge on validation.

        Args:
            number: The number that its reports and its outcome carry.
            setting: The setting.
            seed: The seed of all its randomness.
            weights: The file for the weights of the best epoch; None where they are not needed.
            stop_below: As in `Task`; None means that nothing stops it early.
            beside: As in `Task`.
        """
        epochs = self.experiment.epochs
        return Task(
            number,
            setting,
            seed,
            epochs,
            self.experiment.patience,
            self.settings.objective,
            self.settings.device,
            stop_below or (-math.inf,) * epochs,
            weights,
            beside,
            self.sample,
        )

    def refit(
        self,
        number: int,
        setting: Setting,
        seed: np.random.SeedSequence,
        epochs: int,
        weights: Path,
        beside: Path | None = None,
    ) -> Refit:
        """Returns the task of a contestant: train on train and validation, for all epochs."""
        return Refit(number, setting, seed, epochs, self.settings.device, weights, beside)


def assemble(
    study_name: str,
    experiment: Experiment,
    settings: Settings,
    source: Source,
) -> Plan:
    """Reads the data of an experiment, splits them and draws the candidates.

    Args:
        study_name: Name of the study.
        experiment: The experiment, with the options of the command applied.
        settings: The settings of the search.
        source: Where the interactions come from.

    Raises:
        ValueError: The data break a rule.
        OSError: A file is not there, or cannot be read or downloaded.
    """
    data = read(source)
    split = data.split
    check_sampleable(split.train_and_validation)

    def draw(held_out: HeldOut, purpose: Purpose) -> NDArray[np.int32]:
        return draw_candidates(
            split.train.indptr,
            split.train.items,
            split.train.n_items,
            held_out.users,
            held_out.items,
            experiment.n_sampled_negatives,
            spawn_int(settings.seed, purpose),
            later=split.held_out,
        )

    validation, test = draw(split.validation, Purpose.VALIDATION_CANDIDATES), data.test_candidates
    if test is None:
        test = draw(split.test, Purpose.TEST_CANDIDATES)
    parts = data.interactions, split, data.protocol, validation, test
    return Plan(study_name, experiment, settings, source, *parts)
