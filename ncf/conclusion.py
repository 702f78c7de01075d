"""A study carried to its end: trials, the table, the winner, all of it in MLflow."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import optuna

from ncf import journal, terminal
from ncf.experiment import RESULTS
from ncf.models import ModelFiles
from ncf.preparation import Prepared
from ncf.recommender import Catalogue
from ncf.study import Coordinator
from ncf.tracking import Tracker, default_uri
from ncf.winner import Winner, crown
from ncf.workers import LocalWorkers


def conclude(
    study: optuna.Study,
    prepared: Prepared,
    workers: LocalWorkers,
    folder: Path,
    options: argparse.Namespace,
) -> int:
    """Trains what the study lacks, crowns the winner and prints both.

    Returns:
        The exit status of the command.
    """
    uri = options.tracking_uri or default_uri()
    tracker = Tracker(uri, RESULTS, prepared.experiment.name, prepared.facts)
    params = {k: v for k, v in prepared.identity.items() if not isinstance(v, dict)}
    run_id = tracker.start_study(study.study_name, study.user_attrs["id"], params)
    study.set_user_attr("mlflow_run", run_id)
    settings = prepared.settings
    catalogue = Catalogue.of(prepared.interactions, prepared.split.whole)
    state = "interrupted"
    try:
        models = ModelFiles(folder, catalogue, _share(tracker, folder, prepared, catalogue))
        coordinator = Coordinator(study, tracker, prepared.experiment, settings, models)
        terminal.follow(
            coordinator.run(workers),
            study.get_trials(deepcopy=False),
            settings.n_trials,
            prepared.experiment.epochs,
        )
        terminal.show_trials(study.get_trials(deepcopy=False), settings.k)
        name = options.register or f"gmf-{prepared.facts.name}"
        winner = _winner(
            study, prepared, tracker, catalogue, folder, None if options.no_register else name
        )
        tracker.describe_study(_description(prepared, study, winner))
        state = "finished"
    except KeyboardInterrupt:
        terminal.show_interruption(study.study_name)
        return 130
    finally:
        tracker.end_study(state)
    terminal.show_winner(winner, settings.k)
    link = tracker.ui_link(f"validation_best/{settings.objective}")
    terminal.show_next_steps(tracker.ui_command(), link, winner)
    return 0


def _winner(
    study: optuna.Study,
    prepared: Prepared,
    tracker: Tracker,
    catalogue: Catalogue,
    folder: Path,
    name: str | None,
) -> Winner:
    """Returns the study's winner: the recorded one where it is still the best trial."""
    ranking = journal.best_first(study.get_trials(deepcopy=False))
    if not ranking:
        raise RuntimeError(
            f"study {study.study_name!r} has no finished trial to crown: give it more --trials"
        )
    best = ranking[0]
    recorded = study.user_attrs.get("winner")
    if recorded is not None:
        winner = Winner(**recorded)
        if winner.number == best.number and (name is None or winner.name == name):
            return winner
    winner = crown(best, prepared, tracker, catalogue, folder, name)
    study.set_user_attr("winner", asdict(winner))
    return winner


def _description(prepared: Prepared, study: optuna.Study, winner: Winner) -> str:
    """Returns the Markdown that the UI shows on the page of the study's run."""
    data, experiment, k = prepared.facts, prepared.experiment, prepared.settings.k
    trials = study.get_trials(deepcopy=False)
    counts = data.counts
    spaces = "\n".join(
        f"- `{name}`: {', '.join(distributions)}"
        for name, distributions in prepared.identity["space"].items()
    )

    def row(name: str, metrics: Mapping[str, float]) -> str:
        cells = (f"{metrics[f'{metric}_{k}']:.4f}" for metric in ("hit_ratio", "ndcg", "mrr"))
        return f"| {name} | {' | '.join(cells)} |"

    best = journal.outcome_of(trials[winner.number])
    return f"""
{len(trials)} trials of GMF on **{data.name}**: {counts["users"]:,} users, {counts["items"]:,}
items, {counts["interactions"]:,} interactions; {counts["evaluated"]:,} users are evaluated.

**Winner: trial {winner.number}**, by validation nDCG@{k}; fitted on train + validation for
{winner.epochs} epochs. {winner.decision}

| | HR@{k} | nDCG@{k} | MRR@{k} |
|---|---|---|---|
{row("validation, sampled", best.metrics)}
{row("validation, full catalogue", best.metrics_full)}
{row("test, sampled", winner.test)}
{row("test, full catalogue", winner.test_full)}

Protocol: leave-one-out by time; {experiment.n_candidates} sampled negatives that the user never
touched, or the full catalogue; ties count against; study seed {prepared.settings.seed}; at most
{experiment.epochs} epochs, patience {experiment.patience}. Data fingerprint `{data.fingerprint}`.

Search space:
{spaces}
"""


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
            tracker.log_artifact(folder / name)
            (folder / name).unlink()
    return f"runs:/{tracker.parent}/catalogue.npz"
