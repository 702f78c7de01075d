"""What a study came to, as MLflow keeps it: entries of the mirror, which may run more than once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import optuna

from ncf.search.plan import Prepared
from ncf.search.winner import RANKS, Contestant, Result, log_winner, metrics_of
from ncf.serving.catalogue import Catalogue
from ncf.tracking import registry, versions
from ncf.tracking.mirror import Mirror
from ncf.tracking.tracker import Tracker
from ncf.trials.local import LocalWorkers


@dataclass(frozen=True)
class Search:
    """A search under way.

    Attributes:
        study: Its record.
        prepared: What is searched.
        workers: Train and fit.
        folder: The study's own.
        tracker: Writes to MLflow.
        mirror: The queue of what is to be written.
        catalogue: Of the models.
    """

    study: optuna.Study
    prepared: Prepared
    workers: LocalWorkers
    folder: Path
    tracker: Tracker
    mirror: Mirror
    catalogue: Catalogue


@dataclass(frozen=True)
class Conclusion:
    """What a study ended with.

    Attributes:
        digest: Of the contestants.
        contestants: The winner and the baselines.
        results: Theirs on test, in the same order.
        at: When they were read, in seconds since 1970.
        value: The objective by which the winner was chosen.
        is_confirmed: Whether that is a mean over fresh seeds.
        folder: Holds the winner's weights and the ranks until MLflow has them.
    """

    digest: str
    contestants: tuple[Contestant, ...]
    results: tuple[Result, ...]
    at: float
    value: float
    is_confirmed: bool
    folder: Path


@dataclass(frozen=True)
class Published:
    """Where MLflow has the winner.

    Attributes:
        model_uri: Its model.
        name: The model's name in the registry; empty where it was not to be registered.
        version: Its version there.
        decision: What became of the alias `champion`.
    """

    model_uri: str
    name: str = ""
    version: str = ""
    decision: str = ""


def share(search: Search) -> None:
    """Keeps the candidates and the catalogue of all the trials' models with the study's run."""
    prepared, tracker = search.prepared, search.tracker
    if tracker.keeps("catalogue.npz"):
        return
    candidates, catalogue = search.folder / "candidates.npz", search.folder / "catalogue.npz"
    np.savez_compressed(
        candidates,
        validation=prepared.validation_candidates,
        validation_users=prepared.split.validation.users,
        test=prepared.test_candidates,
        test_users=prepared.split.test.users,
    )
    search.catalogue.save(catalogue)
    for path in (candidates, catalogue):
        tracker.keep(path)
        path.unlink()


def publish(
    search: Search, conclusion: Conclusion, name: str, done: Callable[[Published], None]
) -> None:
    """Logs the winner and the baselines with their results on test.

    Args:
        search: The search.
        conclusion: What it ended with.
        name: What to register the winner as; empty: it is not.
        done: Is told where it all is.
    """
    tracker = search.tracker
    winner, *baselines = conclusion.contestants
    model_id = log_winner(conclusion.folder, winner, tracker, search.catalogue)
    if conclusion.folder.exists():  # else MLflow has it all, and the name is new
        tracker.keep(conclusion.folder / RANKS)
    of_winner, *of_baselines = map(metrics_of, conclusion.results)
    tracker.log_result(of_winner, conclusion.at, model_id)
    for contestant, metrics in zip(baselines, of_baselines, strict=True):
        note = f"{contestant.note}: tuned by the same study code, for as long as the trials took."
        tracker.log_baseline(contestant.name, contestant.setting, metrics, note, conclusion.at)
    published = Published(f"models:/{model_id}")
    if name:
        version = versions.register_winner(
            tracker.client,
            name,
            model_id,
            tracker.parent,
            search.prepared,
            winner.number,
            conclusion.results[0],
            conclusion.value,
            conclusion.is_confirmed,
        )
        decision = registry.promote(tracker.client, version)
        published = replace(published, name=name, version=str(version.version), decision=decision)
    done(published)


def is_published(search: Search, conclusion: Conclusion) -> bool:
    """Returns whether the store that is written to has the conclusion, registered or not."""
    recorded = search.study.user_attrs.get("published", {})
    is_there: bool = recorded.get("key", [])[:2] == _key(search, conclusion)
    return is_there


def published_before(search: Search, conclusion: Conclusion, name: str) -> Published | None:
    """Returns what an earlier `publish` came to, if there was one."""
    recorded = search.study.user_attrs.get("published", {})
    if recorded.get("key") != [*_key(search, conclusion), name]:
        return None
    return Published(**recorded["published"])


def note_published(search: Search, conclusion: Conclusion, published: Published) -> None:
    """Records that MLflow has the conclusion, so that its files here can go."""
    key = [*_key(search, conclusion), published.name]
    search.study.set_user_attr("published", {"key": key, "published": asdict(published)})
    for folder in search.folder.glob("conclusion-*"):
        shutil.rmtree(folder)


def _key(search: Search, conclusion: Conclusion) -> list[str]:
    return [search.tracker.parent, conclusion.digest]
