"""A study carried to its end: trials, confirmation, baselines, test, all of it in MLflow.

What is computed is in the record before MLflow is told of it, and nothing but the last lines waits
for MLflow. So the same command, given again, writes what MLflow lacks.
"""

from __future__ import annotations

import math
import shlex
import sys
from concurrent.futures import Future
from contextlib import closing
from dataclasses import asdict
from functools import partial
from pathlib import Path

import optuna

from ncf.commands import progress, terminal
from ncf.commands.interrupt import first_interrupt
from ncf.commands.options import Options
from ncf.data.files import RESULTS
from ncf.redaction import redacted
from ncf.report import words
from ncf.report.contest import verdict
from ncf.report.page import build_report
from ncf.search import baselines
from ncf.search.confirmation import choose, confirm
from ncf.search.coordinator import Coordinator, Space
from ncf.search.plan import Plan
from ncf.search.results import Conclusion
from ncf.search.verdict import conclude
from ncf.serving.catalogue import Catalogue
from ncf.tracking import publication, trial_runs
from ncf.tracking.contest_runs import log_confirmation
from ncf.tracking.logged_models import ModelFiles
from ncf.tracking.mirror import Mirror
from ncf.tracking.publication import Published
from ncf.tracking.store import default_uri, ui_command
from ncf.tracking.tracker import Tracker
from ncf.trials.workers import Stopped, Workers

PATIENCE = 60.0  # seconds for MLflow to come back, in the end
_SHORT_PATIENCE = 5.0  # where the end was not planned
_AT_ONCE = 2.0  # seconds that a person waits who wants it to stop


def carry_out(
    study: optuna.Study, plan: Plan, workers: Workers, folder: Path, options: Options
) -> int:
    """Trains what the study lacks, finds the winner, tests it and prints all of it.

    Returns:
        The exit status of the command.
    """
    name = f"gmf-{plan.facts.name}" if options.register is None else options.register
    uri = options.tracking_uri or default_uri()
    tracker = _open(uri, study, plan)
    mirror = Mirror()
    catalogue = Catalogue.of(plan.interactions, plan.split.whole)
    state, patience, at_most = "failed", _SHORT_PATIENCE, math.inf
    conclusion: Conclusion | None = None
    written: Future[Published] = Future()
    try:
        _train(study, plan, workers, folder, tracker, mirror, catalogue)
        conclusion = _contest(study, plan, workers, folder, options, tracker, mirror)
        before = _published(study, tracker, conclusion.digest, name)
        if before is not None:
            written.set_result(before)
        else:
            publish = partial(publication.publish, conclusion, plan, catalogue, tracker, name)
            written = mirror.put("results on test", publish)
        _report(study, plan, folder, conclusion, tracker, mirror)
        state, patience = "finished", PATIENCE
    except KeyboardInterrupt as interrupt:
        state = "interrupted"
        at_most = math.inf if isinstance(interrupt, Stopped) else _AT_ONCE
        terminal.show_interruption(study.study_name)
    finally:
        mirror.put("the study's end", lambda: tracker.end_study(state))
        with progress.working("waiting for MLflow"):
            missing = mirror.finish(patience, at_most)
        if missing:
            terminal.show_missing(missing)
    if state == "interrupted":
        return 130
    if conclusion is not None and written.done():
        published = written.result()
        key = [tracker.parent, conclusion.digest, published.name]
        study.set_user_attr("published", {"key": key, "published": asdict(published)})
        publication.remove_files(folder)
        terminal.show_model(published.name, published.version, published.decision)
        link = tracker.ui_link()
        terminal.show_next_steps(ui_command(uri), link, published.model_uri, published.name)
    return 1 if missing else 0


def _open(uri: str, study: optuna.Study, plan: Plan) -> Tracker:
    """Opens MLflow's store and the study's run in it."""
    tracker = Tracker(uri, RESULTS, plan.experiment.name, plan.facts)
    identity = {key: value for key, value in plan.identity.items() if not isinstance(value, dict)}
    source = {
        "data_source": plan.source.data,
        "columns": plan.source.columns,
        "min_rating": plan.source.min_rating,
    }
    params = {**identity, **{key: value for key, value in source.items() if value is not None}}
    run_id = tracker.start_study(study.study_name, study.user_attrs["id"], params)
    study.set_user_attr("mlflow_run", run_id)
    return tracker


def _train(
    study: optuna.Study,
    plan: Plan,
    workers: Workers,
    folder: Path,
    tracker: Tracker,
    mirror: Mirror,
    catalogue: Catalogue,
) -> None:
    """Runs the trials that the study lacks."""
    e, settings = plan.experiment, plan.settings
    searched = [*plan.identity["space"]]
    mirror.put("the study's view", lambda: tracker.save_view(searched, settings.objective))
    share = partial(publication.share, plan, catalogue, folder, tracker)
    mirror.put("candidates and catalogue", share)
    models = ModelFiles(folder, catalogue, f"runs:/{tracker.parent}/catalogue.npz")
    space = Space(
        "trial",
        e.defaults,
        e.search_space,
        settings.seed,
        settings.n_trials,
        settings.prune,
        settings.timeout,
        models.weights,
    )
    earlier = study.get_trials(deepcopy=False)
    ended = [trial for trial in earlier if trial.state.is_finished()]
    try:
        with first_interrupt() as has_come:
            events = Coordinator(study, space, plan).run(workers, has_come)
            with closing(trial_runs.follow(events, ended, tracker, mirror, models)) as followed:
                progress.follow(followed, ended, settings.n_trials, e.epochs)
    finally:
        terminal.show_trials(study.get_trials(deepcopy=False), settings.objective.k)


def _contest(
    study: optuna.Study,
    plan: Plan,
    workers: Workers,
    folder: Path,
    options: Options,
    tracker: Tracker,
    mirror: Mirror,
) -> Conclusion:
    """Confirms the best trials, tunes the baselines, and reads test."""
    objective = plan.settings.objective
    with progress.working("training the best trials again"):
        confirmed = confirm(study, plan, workers, options.confirm, options.confirm_seeds)
    for one in confirmed:
        write = partial(log_confirmation, tracker, one)
        mirror.put(f"confirmation of trial {one.number}", write)
    winner = choose(study, confirmed)
    terminal.show_confirmation(confirmed, objective)
    contestants = [winner]
    for name in options.baselines:
        with closing(baselines.tune(name, study, plan, workers)) as events:
            progress.follow_baseline(name, events)
        if (found := baselines.contestant(name, study)) is not None:
            contestants.append(found)
    run_id = tracker.parent

    def is_published(digest: str) -> bool:
        recorded = study.user_attrs.get("published", {})
        return bool(recorded.get("key", [])[:2] == [run_id, digest])

    with progress.working("fitting the winner and the baselines, and reading test"):
        conclusion = conclude(study, plan, workers, folder, contestants, confirmed, is_published)
    terminal.show_results(conclusion, objective)
    terminal.show_verdict(verdict(conclusion, objective))
    return conclusion


def _published(study: optuna.Study, tracker: Tracker, digest: str, name: str) -> Published | None:
    """Returns what publishing this conclusion came to before, if it was published."""
    recorded = study.user_attrs.get("published", {})
    if recorded.get("key") != [tracker.parent, digest, name]:
        return None
    return Published(**recorded["published"])


def _report(
    study: optuna.Study,
    plan: Plan,
    folder: Path,
    conclusion: Conclusion,
    tracker: Tracker,
    mirror: Mirror,
) -> None:
    """Keeps the study's report, one HTML file that needs no network, with its run."""
    counts = plan.facts.counts
    description = words.describe_study(plan, len(study.get_trials(deepcopy=False)), conclusion)
    mirror.put("description", lambda: tracker.describe_study(description))
    with progress.working("writing the report"):
        cells = counts["users"] * counts["items"]
        facts = {
            "data set": plan.facts.name,
            **{name: f"{count:,}" for name, count in counts.items()},
            "sparsity": f"{1 - counts['interactions'] / cells:.2%}",
            "fingerprint": plan.facts.fingerprint,
        }
        objective = plan.settings.objective
        k = objective.k
        page = build_report(
            study,
            f"Study {plan.study_name}",
            " ".join([words.headline(conclusion, k), *verdict(conclusion, objective)]),
            [words.table_row(result, k) for result in conclusion.results],
            facts,
            words.describe_protocol(plan),
            shlex.join(["python", *map(redacted, sys.argv)]),
            f"validation {objective.label}",
            conclusion.winner.number,
        )
        file = folder / "report.html"
        file.write_text(page, encoding="utf-8")
    mirror.put("report", lambda: tracker.keep(file))
