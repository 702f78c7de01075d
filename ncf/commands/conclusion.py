"""A study carried to its end: trials, confirmation, baselines, test, all of it in MLflow.

What is computed is in the journal before MLflow is told of it, and nothing but the last lines waits
for MLflow. So the same command, given again, writes what MLflow lacks.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import optuna

from ncf.commands import progress, terminal
from ncf.data.files import RESULTS
from ncf.models.baselines import SPACES, BaselineSetting
from ncf.models.gmf.setting import Hyperparameters
from ncf.redaction import redacted
from ncf.report.page import build_report
from ncf.search import contest, journal
from ncf.search.coordinator import Coordinator, Stopped
from ncf.search.plan import Prepared
from ncf.search.winner import Contestant, Result, fit_gmf, read_test
from ncf.serving.recommender import Catalogue
from ncf.tracking.description import describe_protocol, describe_study, describe_verdict, table_row
from ncf.tracking.logged_models import ModelFiles
from ncf.tracking.mirror import Mirror
from ncf.tracking.publication import (
    Conclusion,
    Published,
    Search,
    is_published,
    note_published,
    publish,
    published_before,
    share,
)
from ncf.tracking.store import default_uri, ui_command
from ncf.tracking.tracker import Tracker
from ncf.trials.local import LocalWorkers
from ncf.trials.messages import Outcome

_PATIENCE = 60.0  # seconds for MLflow to come back, in the end
_SHORT_PATIENCE = 5.0  # where the end was not planned
_AT_ONCE = 2.0  # seconds that a person waits who wants it to stop


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
    names = _baseline_names(options.baselines)
    name = "" if options.no_register else options.register or f"gmf-{prepared.facts.name}"
    uri = options.tracking_uri or default_uri()
    tracker = Tracker(uri, RESULTS, prepared.experiment.name, prepared.facts)
    identity = {k: v for k, v in prepared.identity.items() if not isinstance(v, dict)}
    params = {**identity, **{k: v for k, v in prepared.source.items() if v is not None}}
    run_id = tracker.start_study(study.study_name, study.user_attrs["id"], params)
    study.set_user_attr("mlflow_run", run_id)
    catalogue = Catalogue.of(prepared.interactions, prepared.split.whole)
    search = Search(study, prepared, workers, folder, tracker, Mirror(), catalogue)
    k, state, patience, at_most = prepared.settings.k, "failed", _SHORT_PATIENCE, math.inf
    published: list[Published] = []
    searched = [*prepared.identity["space"]]
    search.mirror.put("the study's view", lambda: tracker.save_view(searched, k))
    try:
        _train(search)
        winner, confirmed = _choose(search, options.confirm, options.confirm_seeds)
        terminal.show_confirmation(confirmed, k)
        baselines = [one for name in names if (one := _baseline(search, name)) is not None]
        conclusion = _conclude(search, (winner, *baselines), confirmed)
        terminal.show_results(conclusion.results, winner.number, winner.epochs, k)
        if (before := published_before(search, conclusion, name)) is not None:
            published.append(before)
        else:
            write = partial(publish, search, conclusion, name, published.append)
            search.mirror.put("results on test", write)
        _report(search, conclusion.results, winner.number)
        state, patience = "finished", _PATIENCE
    except KeyboardInterrupt as interrupt:
        state = "interrupted"
        at_most = math.inf if isinstance(interrupt, Stopped) else _AT_ONCE
        terminal.show_interruption(study.study_name)
    finally:
        search.mirror.put("the study's end", lambda: tracker.end_study(state))
        with progress.working("waiting for MLflow"):
            missing = search.mirror.finish(patience, at_most)
        if missing:
            terminal.show_missing(missing)
    if state == "interrupted":
        return 130
    for found in published:
        note_published(search, conclusion, found)
        terminal.show_model(found.name, found.version, found.decision)
        link = tracker.ui_link()
        terminal.show_next_steps(ui_command(uri), link, found.model_uri, found.name)
    return 1 if missing else 0


def _train(search: Search) -> None:
    study, prepared, tracker = search.study, search.prepared, search.tracker
    search.mirror.put("candidates and catalogue", lambda: share(search))
    uri = f"runs:/{tracker.parent}/catalogue.npz"
    models = ModelFiles(search.folder, search.catalogue, uri)
    coordinator = Coordinator(
        study, tracker, search.mirror, prepared.experiment, prepared.settings, models
    )
    try:
        with _first_interrupt() as has_come:
            progress.follow(
                coordinator.run(search.workers, has_come),
                study.get_trials(deepcopy=False),
                prepared.settings.n_trials,
                prepared.experiment.epochs,
            )
    finally:
        coordinator.close()
        terminal.show_trials(study.get_trials(deepcopy=False), prepared.settings.k)


@contextmanager
def _first_interrupt() -> Iterator[Callable[[], bool]]:
    """Notes the first Ctrl-C, for whoever asks; the second raises KeyboardInterrupt."""
    before = signal.getsignal(signal.SIGINT)
    n_interrupts = 0

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal n_interrupts
        n_interrupts += 1
        if n_interrupts > 1:
            raise KeyboardInterrupt

    if before is signal.default_int_handler:  # else Ctrl-C is not for this process
        signal.signal(signal.SIGINT, note)
    try:
        yield lambda: n_interrupts > 0
    finally:
        signal.signal(signal.SIGINT, before)


def _choose(
    search: Search, n_trials: int, n_seeds: int
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
        write = partial(
            search.tracker.log_confirmation, one.number, setting, one.outcomes, one.mean, one.sd
        )
        search.mirror.put(f"confirmation of trial {one.number}", write)
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


def _baseline(search: Search, name: str) -> Contestant | None:
    """Tunes a baseline for as long as the trials took; a recorded one is taken as it is."""
    trials = search.study.get_trials(deepcopy=False)
    budget = sum(journal.outcome_of(t).seconds for t in trials if journal.is_trained(t))
    recorded: dict[str, Any] = dict(search.study.user_attrs.get("baselines", {}))
    of_name = recorded.get(name)
    if of_name is None or (name != "popularity" and of_name["budget"] < 0.9 * budget):
        with progress.working(f"tuning {name}"):
            tuned = contest.tune(
                name, search.study, search.prepared, search.workers, search.folder, budget
            )
        if tuned is None:
            return None
        of_name = {**asdict(tuned), "budget": budget}
        search.study.set_user_attr("baselines", {**recorded, name: of_name})
    setting: BaselineSetting = type(SPACES[name][0])(**of_name["setting"])
    outcome = Outcome(**of_name["outcome"])
    note = f"{of_name['n_trials']} settings in {of_name['seconds']:.0f} s of worker time"
    return Contestant(name, 0, setting, 0, outcome.metrics, note)


def _conclude(
    search: Search, contestants: tuple[Contestant, ...], confirmed: list[contest.Confirmed]
) -> Conclusion:
    """Fits the winner and reads test; where that has been done already, takes what it gave."""
    key = [[c.name, c.number, asdict(c.setting), c.epochs] for c in contestants]
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:12]
    value = contestants[0].validation[search.prepared.settings.objective]
    conclusion = Conclusion(
        digest,
        contestants,
        results=(),
        at=0.0,
        value=confirmed[0].mean if confirmed else value,
        is_confirmed=len(confirmed) > 0,
        folder=search.folder / f"conclusion-{digest}",
    )
    recorded: dict[str, Any] = search.study.user_attrs.get("conclusion", {})
    is_known = recorded.get("digest") == digest
    if not (is_known and (conclusion.folder.exists() or is_published(search, conclusion))):
        with progress.working("fitting the winner"):
            weights = search.folder / "refit.safetensors"
            fit_gmf(contestants[0], search.prepared, search.workers, weights)
            results = read_test(
                contestants, weights, search.prepared, search.catalogue, conclusion.folder
            )
        at = recorded["at"] if is_known else time.time()  # what is logged again is the same then
        recorded = {"digest": digest, "at": at, "results": [asdict(r) for r in results]}
        search.study.set_user_attr("conclusion", recorded)
    results = [Result(**result) for result in recorded["results"]]
    return replace(conclusion, results=tuple(results), at=recorded["at"])


def _report(search: Search, results: Sequence[Result], winner: int) -> None:
    """Keeps the study's report, one HTML file that needs no network, with its run."""
    prepared, counts = search.prepared, search.prepared.facts.counts
    description = describe_study(prepared, search.study, results)
    search.mirror.put("description", lambda: search.tracker.describe_study(description))
    with progress.working("writing the report"):
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
            describe_verdict(results, prepared.settings.k),
            [table_row(result, prepared.settings.k) for result in results],
            facts,
            describe_protocol(prepared),
            shlex.join(["python", *map(redacted, sys.argv)]),
            f"validation nDCG@{prepared.settings.k}",
            winner,
        )
        file = search.folder / "report.html"
        file.write_text(page, encoding="utf-8")
    search.mirror.put("report", lambda: search.tracker.keep(file))
