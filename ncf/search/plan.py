"""A search that can begin: experiment, data, split and candidates, and the tasks made of them.

What the data can have wrong is found here, before anything costly.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ncf.data.columns import parse_columns
from ncf.data.datasets import load_interactions
from ncf.data.interactions import Interactions
from ncf.models.negatives import check_sampleable
from ncf.models.table import Setting
from ncf.protocol import given_split
from ncf.protocol.candidates import draw_candidates
from ncf.protocol.metrics import Objective
from ncf.protocol.seeds import Purpose, spawn_int
from ncf.protocol.splitting import HeldOut, Split, leave_one_out
from ncf.search.experiment import DataFacts, Experiment
from ncf.search.proposals import LAG, describe_space, examples
from ncf.trials.data import TrialData
from ncf.trials.estimate import Estimate, estimate
from ncf.trials.messages import Refit, Task


@dataclass(frozen=True)
class Settings:
    """What a search needs beside its experiment.

    Attributes:
        n_trials: Trained trials that the study is to have in the end.
        seed: Seed of the study.
        objective: The validation metric that is maximised.
        device: Device of the models that PyTorch trains.
        timeout: Seconds after which no new trial starts.
        prune: Whether trials stop early where the others' learning curves were better.
    """

    n_trials: int
    seed: int
    objective: Objective = field(default_factory=Objective)
    device: str = "auto"
    timeout: float | None = None
    prune: bool = True


@dataclass(frozen=True)
class Source:
    """Where the interactions come from, and how the file is read.

    Attributes:
        data: Name or path of the data set.
        columns: The option `--columns`, as it was written.
        min_rating: The lowest rating that counts as an interaction.
    """

    data: str
    columns: str | None = None
    min_rating: float | None = None


@dataclass(frozen=True)
class Plan:
    """A search that can begin.

    Attributes:
        study_name: Name of the study.
        experiment: What is searched, with the command's options applied.
        settings: How it is searched.
        source: Where the data come from.
        interactions: The data.
        split: The data, split.
        protocol: How they were split, in a few words.
        validation_candidates: Candidates of the validation items, (V, C).
        test_candidates: Candidates of the test items, (V, C).
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
            "n_sampled_negatives": self.experiment.n_sampled_negatives,
            "k": self.settings.objective.k,
            "seed": self.settings.seed,
            "epochs": self.experiment.epochs,
            "patience": self.experiment.patience,
            "prune": self.settings.prune,
            "lag": LAG,
            "defaults": asdict(self.experiment.defaults),
            "space": describe_space(self.experiment.search_space),
        }

    def task(
        self,
        number: int,
        setting: Setting,
        seed: np.random.SeedSequence,
        weights: Path | None = None,
        stop_below: tuple[float, ...] | None = None,
    ) -> Task:
        """Returns the task of one setting: train on train, judge on validation.

        Args:
            number: What its events are marked with.
            setting: The setting.
            seed: Fixes all randomness of it.
            weights: File for the weights of the best epoch; None where nobody needs them.
            stop_below: See `Task`; None never stops it.
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
        )

    def refit(
        self,
        number: int,
        setting: Setting,
        seed: np.random.SeedSequence,
        epochs: int,
        weights: Path,
    ) -> Refit:
        """Returns the task of a setting that is trained on train and validation, in the end."""
        return Refit(number, setting, seed, epochs, self.settings.device, weights)


def assemble(
    study_name: str,
    experiment: Experiment,
    settings: Settings,
    source: Source,
) -> Plan:
    """Reads the data of an experiment, splits them and draws the candidates.

    Args:
        study_name: Name of the study.
        experiment: What is searched.
        settings: How it is searched.
        source: Where the data come from.

    Raises:
        ValueError: The data break a rule.
        OSError: A file is not there, or cannot be read or downloaded.
    """
    train_file = given_split.find(source.data)
    if train_file is None:
        interactions = load_interactions(
            source.data, parse_columns(source.columns), source.min_rating
        )
        split, given = leave_one_out(interactions), None
    elif source.columns or source.min_rating is not None:
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
            experiment.n_sampled_negatives,
            spawn_int(settings.seed, purpose),
        )

    validation = draw(split.validation, Purpose.VALIDATION_CANDIDATES)
    if given is None:
        order = "time" if interactions.has_times else "file order"
        protocol = f"leave-one-out by {order}"
        test = draw(split.test, Purpose.TEST_CANDIDATES)
    else:
        protocol = (
            f"ready-made split, {given.test_candidates.shape[1] - 1} test negatives given "
            f"({given.n_dropped} dropped: candidates are distinct)"
        )
        test = given.test_candidates
    return Plan(
        study_name, experiment, settings, source, interactions, split, protocol, validation, test
    )
