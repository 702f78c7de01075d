"""The publication of a study's results in MLflow.

These functions are entries of the mirror, and may be called more than once.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from mlflow.entities.model_registry import ModelVersion

from ncf.protocol.metrics import Objective
from ncf.serving.catalogue import Catalogue
from ncf.study.cost import Cost
from ncf.study.plan import Plan
from ncf.study.results import Conclusion, Contestant, Result, readings_in_words
from ncf.study.verdict import RANKS, WEIGHTS
from ncf.tracking import gate, notes, registry, versions
from ncf.tracking.contest_runs import WON, crown, log_contestant, rank
from ncf.tracking.database import registry_lock
from ncf.tracking.entities import rounded
from ncf.tracking.logged_models import ModelFiles, log_model
from ncf.tracking.outcome_metrics import best_name, confirmed_metrics, prefixed
from ncf.tracking.packaging import package
from ncf.tracking.tag_names import READINGS_TAG
from ncf.tracking.tracker import Tracker
from ncf.tracking.winners import key_of_winner


@dataclass(frozen=True)
class Published:
    """Where the winner is in MLflow.

    Attributes:
        model_uri: The URI of its model.
        name: The model's name in the registry; empty where it was not to be registered.
        version: Its version in the registry.
        decision: Whether the version became champion and why, as a sentence.
        champion: The version that is champion after the decision.
        is_new: Whether the version was made now, and not found as an earlier search has made it.
        was_champion: Whether it was champion already.
    """

    model_uri: str
    name: str = ""
    version: str = ""
    decision: str = ""
    champion: str = ""
    is_new: bool = True
    was_champion: bool = False

    @property
    def in_words(self) -> str:
        """Which version was registered and whether it is champion; empty where none was."""
        if not self.name:
            return ""
        if self.is_new:
            return f"Registered: {self.name} version {self.version}; {self.decision}"
        champion = f"version {self.version} is the champion"
        decision = champion if self.was_champion else self.decision
        return f"Registered before: {self.name} version {self.version}; {decision}"


def share(plan: Plan, models: ModelFiles, tracker: Tracker) -> None:
    """Keeps the candidates, and the catalogue of all trials' models, with the study's run."""
    catalogue_file = models.folder / Path(models.catalogue_uri).name
    if tracker.keeps(catalogue_file.name):
        return
    candidates_file = models.folder / "candidates.npz"
    later = plan.split.test_period or plan.split.test
    np.savez_compressed(
        candidates_file,
        validation=plan.validation_candidates,
        validation_users=plan.split.validation.users,
        test=plan.test_candidates,
        test_users=plan.split.test.users,
        # what comes after validation, which a model of train competes with as with any other item
        later_users=later.users,
        later_items=later.items,
    )
    models.catalogue.save(catalogue_file)
    for path in (candidates_file, catalogue_file):
        tracker.keep(path)
        path.unlink()


def publish(
    conclusion: Conclusion,
    cost: Cost,
    plan: Plan,
    catalogue: Catalogue,
    tracker: Tracker,
    name: str,
    before: Published | None = None,
) -> Published:
    """Logs all contestants with their results on test, and registers the winner.

    What MLflow has of it is left as it is, so that a later call writes what was deleted since.

    Args:
        conclusion: What the study ended with.
        cost: What it cost.
        plan: The plan of the study.
        catalogue: The catalogue of the winner's model.
        tracker: Writes to MLflow.
        name: The name to register the winner under; empty where it is not to be registered.
        before: Where an earlier call has published this conclusion; None where none has. A version
            of which it was decided then does not take the place of one that is champion since.
    """
    if before is not None and not conclusion.folder.exists():  # MLflow has the model
        model_id = before.model_uri.removeprefix("models:/")
    else:
        model_id = _log_winner(conclusion, tracker, catalogue)
    if conclusion.folder.exists():  # or MLflow has the ranks from an earlier call
        tracker.keep(conclusion.folder / RANKS)
    objective = plan.settings.objective
    both = list(zip(conclusion.results, conclusion.contestants, strict=True))
    metrics = [metrics_of(result, contestant, objective) for result, contestant in both]
    tracker.log_result(metrics[0], conclusion.at, model_id)
    spent = tracker.metrics(rounded(spent_on(conclusion, cost)), 0, conclusion.at)
    tracker.client.log_batch(tracker.parent, metrics=spent)
    readings = {READINGS_TAG: readings_in_words(conclusion.readings)}
    tracker.set_tags(tracker.parent, readings | intervals_of(conclusion.results[0]))
    runs = []
    for (result, contestant), values in zip(both, metrics, strict=True):
        note = notes.describe_contestant(contestant.note)
        if contestant.name in cost.seconds:
            values["cost/processor_seconds"] = cost.seconds[contestant.name]
        tags = intervals_of(result)
        runs.append(log_contestant(tracker, contestant, values, tags, note, conclusion.at))
    published = Published(f"models:/{model_id}")
    if name:
        with registry_lock(tracker.uri):
            found = registry.version_of(tracker.client, name, model_id)
            is_new = tracker.is_repeated(f"{name} of {model_id}") or found is None
            version = versions.register_winner(tracker, name, model_id, plan, conclusion)
            decided = before.version if before is not None and before.name == name else ""
            published = _decided(tracker, version, replace(published, is_new=is_new), decided)
    _crown(tracker, runs[0], plan.study_name, published)
    rank(tracker, runs[0], objective)
    tracker.save_view([*plan.identity["space"]], objective, is_ranked=True)
    return published


def _decided(
    tracker: Tracker, version: ModelVersion, published: Published, decided: str
) -> Published:
    """Returns what was published with its version, after the decision about the champion."""
    name = str(version.name)
    champion = registry.champion(tracker.client, name)
    was_champion = champion is not None and str(champion.version) == str(version.version)
    if champion is not None and str(version.version) == decided != str(champion.version):
        told = version.tags.get(gate.DECISION, "")  # with its reason, where that is still so
        is_so = told.startswith(f"version {champion.version} stays")
        decision = told if is_so else f"version {champion.version} is the champion"
    else:
        decision = gate.crown_if_better(tracker.client, version)
        champion = registry.champion(tracker.client, name)
    return replace(
        published,
        name=name,
        version=str(version.version),
        decision=decision,
        champion="" if champion is None else str(champion.version),
        was_champion=was_champion,
    )


def _crown(tracker: Tracker, winner: str, study: str, published: Published) -> None:
    """Marks the winner's run as the winner's, with its registered version."""
    won, note = "not registered", f"{WON}study {study}**, not registered."
    if published.name:
        won = f"{published.name}/{published.version}"
        page = f"#/models/{published.name}/versions/{published.version}"
        note = (
            f"{WON}study {study}**, fitted on validation too and registered as [{won}]({page}): "
            f"{published.decision}."
        )
    crown(tracker, winner, won, note)


def remove_files(folder: Path) -> None:
    """Removes the files of conclusions, which MLflow has by now, from a study's folder.

    So it does those of trained models that a mixture was to be of, where a search ended before.
    """
    for file in folder.glob("beside-*"):
        file.unlink()
    for files in folder.glob("conclusion-*"):
        shutil.rmtree(files)


def spent_on(conclusion: Conclusion, cost: Cost) -> dict[str, float]:
    """Returns what a study cost, and what the winner's lists cover, by the names in MLflow."""
    spent = {f"cost/processor_seconds_{name}": value for name, value in cost.seconds.items()}
    if spent:
        spent |= {"cost/processor_seconds": cost.total, "cost/watt_hours": cost.watt_hours}
    if conclusion.breakdown is not None:
        spent["test_full/coverage"] = conclusion.breakdown.coverage[conclusion.winner.name]
    return spent


def metrics_of(result: Result, contestant: Contestant, objective: Objective) -> dict[str, float]:
    """Returns a contestant's metrics under the names that MLflow shows.

    The objective on validation is the value that contestants were compared by, and stands once.
    """
    groups: dict[str, Mapping[str, float]] = {
        "validation_best": result.validation,
        "test": result.test,
        "test_full": result.test_full,
    }
    metrics = {best_name(objective): contestant.value(objective)}
    metrics |= confirmed_metrics(contestant.seed_values)
    for group, values in groups.items():
        metrics |= prefixed(group, values)
    metrics.pop(f"validation_best/{objective.name}", None)
    return metrics


def intervals_of(result: Result) -> dict[str, str]:
    """Returns the test metrics with the ends of their intervals, as tags by metric."""
    values = result.test | {f"full_{name}": value for name, value in result.test_full.items()}
    return {
        f"test_{name}": f"{values[name]:.4f} [{low:.4f}, {high:.4f}]"
        for name, (low, high) in result.intervals.items()
    }


def _log_winner(conclusion: Conclusion, tracker: Tracker, catalogue: Catalogue) -> str:
    """Logs the winner's model with the study's run; returns the model's id."""
    winner = conclusion.winner
    packaged = conclusion.folder / "winner"
    package(packaged, conclusion.folder / WEIGHTS, winner.setting, catalogue)
    key = key_of_winner(conclusion)
    params = asdict(winner.setting)
    return log_model(tracker, tracker.parent, key, "winner", packaged, params, winner.epochs)
