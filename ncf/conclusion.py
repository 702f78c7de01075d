"""A study carried to its end: trials, confirmation, baselines, test, all of it in MLflow."""

from __future__ import annotations

import argparse
import shlex
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna

from ncf import contest, journal, registry, terminal
from ncf.baselines import SPACES, BaselineSetting
from ncf.description import describe_protocol, describe_study, table_row
from ncf.experiment import RESULTS, Hyperparameters
from ncf.messages import Outcome
from ncf.models import ModelFiles
from ncf.preparation import Prepared
from ncf.recommender import Catalogue
from ncf.redaction import redacted
from ncf.study import Coordinator
from ncf.tracking import Tracker, default_uri
from ncf.winner import Contestant, Result, fit_gmf, log_winner, metrics_of, read_test
from ncf.workers import LocalWorkers


@dataclass(frozen=True)
class Conclusion:
    """What a study ended with.

    Attributes:
        number: The winning trial.
        epochs: Epochs that its model was fitted for.
        results: The winner's and the baselines' results on test, the winner's first.
        model_uri: The winner's model in MLflow.
        name: Its name in the registry; empty where it was not to be registered.
        version: Its version there.
        decision: What became of the alias `champion`.
    """

    number: int
    epochs: int
    results: tuple[Result, ...]
    model_uri: str
    name: str = ""
    version: str = ""
    decision: str = ""


@dataclass(frozen=True)
class _Search:
    study: optuna.Study
    prepared: Prepared
    workers: LocalWorkers
    folder: Path
    tracker: Tracker
    catalogue: Catalogue


def conclude(
    study: optuna.Study,
    prepared: Prepared,
    workers: LocalWorkers,
    folder: Path,
    options: argparse.Namespace,
) -> int:
    """Trains what the study lacks, finds the winner, tests it and prints all of it.

    Returns:
        The exit status of the command.
    """
    uri = options.tracking_uri or default_uri()
    tracker = Tracker(uri, RESULTS, prepared.experiment.name, prepared.facts)
    identity = {k: v for k, v in prepared.identity.items() if not isinstance(v, dict)}
    params = {**identity, **{k: v for k, v in prepared.source.items() if v is not None}}
    run_id = tracker.start_study(study.study_name, study.user_attrs["id"], params)
    study.set_user_attr("mlflow_run", run_id)
    catalogue = Catalogue.of(prepared.interactions, prepared.split.whole)
    search = _Search(study, prepared, workers, folder, tracker, catalogue)
    settings, state = prepared.settings, "interrupted"
    try:
        _train(search)
        terminal.show_trials(study.get_trials(deepcopy=False), settings.k)
        winner, confirmed = _choose(search, options.confirm, options.confirm_seeds)
        terminal.show_confirmation(confirmed, settings.k)
        names = _baseline_names(options.baselines)
        baselines = [one for name in names if (one := _baseline(search, name)) is not None]
        name = "" if options.no_register else options.register or f"gmf-{prepared.facts.name}"
        conclusion = _conclude(search, winner, confirmed, baselines, name)
        tracker.describe_study(describe_study(prepared, study, conclusion.results))
        _report(search, conclusion)
        state = "finished"
    except KeyboardInterrupt:
        terminal.show_interruption(study.study_name)
        return 130
    finally:
        tracker.end_study(state)
    terminal.show_results(conclusion.results, conclusion.number, conclusion.epochs, settings.k)
    terminal.show_model(conclusion.name, conclusion.version, conclusion.decision)
    link = tracker.ui_link(f"validation_best/{settings.objective}")
    terminal.show_next_steps(tracker.ui_command(), link, conclusion.model_uri, conclusion.name)
    return 0


def _train(search: _Search) -> None:
    study, prepared = search.study, search.prepared
    uri = _share(search.tracker, search.folder, prepared, search.catalogue)
    models = ModelFiles(search.folder, search.catalogue, uri)
    coordinator = Coordinator(study, search.tracker, prepared.experiment, prepared.settings, models)
    terminal.follow(
        coordinator.run(search.workers),
        study.get_trials(deepcopy=False),
        prepared.settings.n_trials,
        prepared.experiment.epochs,
    )


def _choose(
    search: _Search, n_trials: int, n_seeds: int
) -> tuple[Contestant, list[contest.Confirmed]]:
    """Returns the winner, and the confirmed trials that it was chosen of, best first."""
    trials = search.study.get_trials(deepcopy=False)
    ranking = journal.best_first(trials)
    if not ranking:
        raise RuntimeError(
            f"study {search.study.study_name!r} has no finished trial: give it more --trials"
        )
    best = ranking[0]
    epochs, note = journal.outcome_of(best).best_epoch, f"trial {best.number}"
    confirmed = sorted(
        contest.confirm(
            search.study, search.prepared, search.workers, search.folder, n_trials, n_seeds
        ),
        key=lambda one: (-one.mean, one.number),
    )
    for one in confirmed:
        setting = Hyperparameters(**trials[one.number].user_attrs["hyperparameters"])
        search.tracker.log_confirmation(one.number, setting, one.outcomes, one.mean, one.sd)
    if confirmed:
        best = trials[confirmed[0].number]
        epochs = confirmed[0].best_epoch
        note = f"trial {best.number}, confirmed by {len(confirmed[0].values)} seeds"
    setting = Hyperparameters(**best.user_attrs["hyperparameters"])
    metrics = journal.outcome_of(best).metrics
    return Contestant("GMF", best.number, setting, epochs, metrics, note), confirmed


def _baseline_names(option: str) -> list[str]:
    names = [] if option == "none" else option.split(",")
    unknown = [name for name in names if name not in SPACES]
    if unknown:
        raise ValueError(f"--baselines {option}: known are {', '.join(SPACES)}, or none")
    return names


def _baseline(search: _Search, name: str) -> Contestant | None:
    """Tunes a baseline for as long as the trials took; a recorded one is taken as it is."""
    trials = search.study.get_trials(deepcopy=False)
    budget = sum(journal.outcome_of(t).seconds for t in trials if journal.is_trained(t))
    recorded: dict[str, Any] = dict(search.study.user_attrs.get("baselines", {}))
    of_name = recorded.get(name)
    if of_name is None or (name != "popularity" and of_name["budget"] < 0.9 * budget):
        with terminal.working(f"tuning {name}"):
            tuned = contest.tune(name, search.prepared, search.workers, search.folder, budget)
        if tuned is None:
            return None
        of_name = {**asdict(tuned), "budget": budget}
        search.study.set_user_attr("baselines", {**recorded, name: of_name})
    setting: BaselineSetting = type(SPACES[name][0])(**of_name["setting"])
    outcome = Outcome(**of_name["outcome"])
    note = f"{of_name['n_trials']} settings in {of_name['seconds']:.0f} s of worker time"
    return Contestant(name, 0, setting, 0, outcome.metrics, note)


def _conclude(
    search: _Search,
    winner: Contestant,
    confirmed: list[contest.Confirmed],
    baselines: list[Contestant],
    name: str,
) -> Conclusion:
    """Reads test, logs and registers; where that has been done already, returns what it gave."""
    study, prepared, tracker = search.study, search.prepared, search.tracker
    contestants = [winner, *baselines]
    key = [[c.name, c.number, asdict(c.setting), c.epochs] for c in contestants] + [name]
    recorded = study.user_attrs.get("conclusion")
    if recorded is not None and recorded["key"] == key:
        results = tuple(Result(**result) for result in recorded.pop("results"))
        del recorded["key"]
        return Conclusion(results=results, **recorded)
    with terminal.working("fitting the winner"):
        model = fit_gmf(winner, prepared)
        results = tuple(read_test(contestants, model, prepared, search.folder / "test_ranks.npz"))
        model_id = log_winner(model, winner, tracker, search.catalogue, search.folder)
        tracker.move_artifact(search.folder / "test_ranks.npz")
    metrics = metrics_of(results[0])
    value = confirmed[0].mean if confirmed else winner.validation[prepared.settings.objective]
    tracker.log_result(metrics, winner.epochs, model_id)
    for contestant, result in zip(baselines, results[1:], strict=True):
        tracker.log_baseline(contestant.name, contestant.setting, metrics_of(result))
    conclusion = Conclusion(winner.number, winner.epochs, results, f"models:/{model_id}")
    if name:
        conclusion = _register(search, conclusion, value, len(confirmed) > 0, name)
    study.set_user_attr("conclusion", {**asdict(conclusion), "key": key})
    return conclusion


def _report(search: _Search, conclusion: Conclusion) -> None:
    """Keeps the study's report, one HTML file that needs no network, with its run."""
    from ncf.report import build_report  # plotly and scikit-learn take a second to load

    with terminal.working("writing the report"):
        prepared, counts = search.prepared, search.prepared.facts.counts
        cells = counts["users"] * counts["items"]
        facts = {
            "data set": prepared.facts.name,
            **{name: f"{count:,}" for name, count in counts.items()},
            "sparsity": f"{1 - counts['interactions'] / cells:.2%}",
            "fingerprint": prepared.facts.fingerprint,
        }
        page = build_report(
            search.study,
            f"Study {prepared.study_name}",
            facts,
            [table_row(result, prepared.settings.k) for result in conclusion.results],
            describe_protocol(prepared),
            shlex.join(["python", *map(redacted, sys.argv)]),
            prepared.settings.k,
        )
        file = search.folder / "report.html"
        file.write_text(page, encoding="utf-8")
        search.tracker.move_artifact(file)


def _register(
    search: _Search, conclusion: Conclusion, value: float, is_confirmed: bool, name: str
) -> Conclusion:
    settings, prepared = search.prepared.settings, search.prepared
    protocol = {
        "fingerprint": prepared.facts.fingerprint,
        "protocol": f"{prepared.protocol}, {prepared.experiment.n_candidates} negatives, "
        f"k {settings.k}, seed {settings.seed}"
        + (", mean of confirming seeds" if is_confirmed else ", one seed"),
    }
    metric = f"validation_{settings.objective}"
    tags = {
        key.replace("/", "_"): f"{metric_value:.6f}"
        for key, metric_value in metrics_of(conclusion.results[0]).items()
        if "mrr" not in key and not key.startswith("validation")
    }
    tags |= {metric: f"{value:.6f}", "trial": str(conclusion.number), **protocol}
    tags["study"] = prepared.study_name
    client, model_id = search.tracker.client, conclusion.model_uri.removeprefix("models:/")
    version = registry.register(client, name, model_id, search.tracker.parent, tags)
    decision = registry.promote(client, version, metric, tuple(protocol))
    return replace(conclusion, name=name, version=str(version.version), decision=decision)


def _share(tracker: Tracker, folder: Path, prepared: Prepared, catalogue: Catalogue) -> str:
    """Keeps the candidates and the catalogue with the study; returns the catalogue's URI."""
    if not tracker.has_artifact("catalogue.npz"):
        np.savez_compressed(
            folder / "candidates.npz",
            validation=prepared.validation_candidates,
            test=prepared.test_candidates,
        )
        catalogue.save(folder / "catalogue.npz")
        for name in ("candidates.npz", "catalogue.npz"):
            tracker.move_artifact(folder / name)
    return f"runs:/{tracker.parent}/catalogue.npz"
