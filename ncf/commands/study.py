"""One study from its missing trials to a registered winner, all of it mirrored in MLflow.

Every result is recorded before it is written to MLflow, and the search waits for MLflow only at
its very end. So the same command, given again, writes what MLflow lacks.
"""

from __future__ import annotations

import math
import shlex
import sys
from concurrent.futures import Future
from contextlib import closing
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path

import optuna

from ncf.commands import contest, interrupt, progress, terminal
from ncf.commands.options import Options
from ncf.data.files import RESULTS, write_whole
from ncf.redaction import redacted
from ncf.report import words
from ncf.report.contest import verdict
from ncf.report.page import report_study
from ncf.search.confirmation import choose
from ncf.search.coordinator import Coordinator, Space
from ncf.search.plan import Plan
from ncf.search.results import Conclusion
from ncf.search.verdict import conclude
from ncf.serving.catalogue import Catalogue
from ncf.tracking import next_steps, publication, trial_runs
from ncf.tracking.contest_runs import log_confirmation
from ncf.tracking.logged_models import ModelFiles
from ncf.tracking.mirror import Mirror
from ncf.tracking.publication import Published
from ncf.tracking.store import default_uri, ui_command
from ncf.tracking.tracker import Tracker
from ncf.trials.workers import Stopped, Workers


@dataclass(frozen=True)
class End:
    """How a command ends, and how long it then waits for MLflow.

    Attributes:
        state: The state of the study's run in MLflow.
        patience: Seconds without a successful write after which MLflow is given up.
        at_most: Seconds to wait in all.
    """

    state: str
    patience: float
    at_most: float = math.inf


FINISHED = End("finished", patience=60.0)
FAILED = End("failed", patience=5.0)
STOPPED = End("interrupted", patience=5.0)  # by the first Ctrl-C or another signal, in order
BROKEN_OFF = End("interrupted", patience=5.0, at_most=2.0)  # by the second


def carry_out(
    study: optuna.Study, plan: Plan, workers: Workers, folder: Path, options: Options
) -> int:
    """Trains the missing trials, finds the winner, tests and registers it, and prints all of it.

    Args:
        study: The study's record.
        plan: The plan of the study.
        workers: The workers that train.
        folder: The study's folder.
        options: The options of the command.

    Returns:
        The exit status of the command.
    """
    tracker = _open(options.tracking_uri or default_uri(), study, plan)
    mirror = Mirror()
    catalogue = Catalogue.of(plan.interactions, plan.split.whole)
    models = ModelFiles(folder, catalogue, f"runs:/{tracker.parent}/catalogue.npz")
    end = FAILED
    conclusion: Conclusion | None = None
    written: Future[Published] = Future()
    try:
        _train(study, plan, workers, models, tracker, mirror)
        confirmed = contest.confirm_best(study, plan, workers, options)
        for one in confirmed:
            write = partial(log_confirmation, tracker, one)
            mirror.put(f"confirmation of trial {one.number}", write)
        objective = plan.settings.objective
        winner = choose(study, confirmed)
        contestants = contest.winner_first(winner, study, plan, workers, options)
        with progress.working("fitting the winner and the others, and reading test"):
            published = _published_digest(study, tracker)
            conclusion = conclude(study, plan, workers, folder, contestants, published)
        terminal.show_results(conclusion, objective)
        sentences = verdict(conclusion, objective)
        terminal.show_verdict(sentences)
        study.set_user_attr("verdict", sentences)
        name = f"gmf-{plan.facts.name}" if options.register is None else options.register
        written = _publish(study, plan, conclusion, catalogue, name, tracker, mirror)
        description = words.describe_study(plan, len(study.get_trials(deepcopy=False)), conclusion)
        mirror.put("description", lambda: tracker.describe_study(description))
        report = _write_report(study, plan, conclusion, folder, options)
        mirror.put("report", lambda: tracker.keep(report))
        end = FINISHED
    except KeyboardInterrupt as stop:
        end = STOPPED if isinstance(stop, Stopped) else BROKEN_OFF
        terminal.show_interruption(study.study_name)
    finally:
        missing = _wait_for_mlflow(end, tracker, mirror)
    if end.state == "interrupted":
        return interrupt.exit_status()
    if conclusion is not None and written.done():
        _close(study, tracker, conclusion, written.result())
        publication.remove_files(folder)
    return 1 if missing else 0


def _open(uri: str, study: optuna.Study, plan: Plan) -> Tracker:
    """Opens MLflow's store and the study's run in it."""
    tracker = Tracker(uri, RESULTS, plan.experiment.name, plan.facts)
    identity = {key: value for key, value in plan.identity.items() if not isinstance(value, dict)}
    run_id = tracker.start_study(
        study.study_name, study.user_attrs["id"], {**identity, **plan.source.params}
    )
    study.set_user_attr("mlflow_run", run_id)
    return tracker


def _train(
    study: optuna.Study,
    plan: Plan,
    workers: Workers,
    models: ModelFiles,
    tracker: Tracker,
    mirror: Mirror,
) -> None:
    """Runs the trials that the study lacks, and prints the best of all."""
    experiment = plan.experiment
    settings = plan.settings
    searched = [*plan.identity["space"]]
    mirror.put("the study's view", lambda: tracker.save_view(searched, settings.objective))
    mirror.put("candidates and catalogue", partial(publication.share, plan, models, tracker))
    space = Space(
        "trial",
        experiment.defaults,
        experiment.search_space,
        settings.seed,
        settings.n_trials,
        settings.prune,
        settings.timeout,
        models.weights,
    )
    trials = study.get_trials(deepcopy=False)
    ended = [trial for trial in trials if trial.state.is_finished()]
    try:
        with interrupt.first_noted() as is_stopped:
            events = Coordinator(study, space, plan).run(workers, is_stopped)
            with closing(trial_runs.follow(events, ended, tracker, mirror, models)) as followed:
                progress.follow(followed, ended, settings.n_trials, experiment.epochs)
    finally:
        terminal.show_trials(study.get_trials(deepcopy=False), settings.objective.k)


# What was published, and where, is recorded as {"key": [run, digest, name], "published": {...}}.


def _published_digest(study: optuna.Study, tracker: Tracker) -> str:
    """Returns the digest of the conclusion that the study's run holds; empty for none."""
    run_id, digest, _ = study.user_attrs.get("published", {}).get("key", ("", "", ""))
    return str(digest) if run_id == tracker.parent else ""


def _publish(
    study: optuna.Study,
    plan: Plan,
    conclusion: Conclusion,
    catalogue: Catalogue,
    name: str,
    tracker: Tracker,
    mirror: Mirror,
) -> Future[Published]:
    """Has the mirror log and register the winner, if that was not done before under this name."""
    recorded = study.user_attrs.get("published", {})
    if recorded.get("key") == [tracker.parent, conclusion.digest, name]:
        before: Future[Published] = Future()
        before.set_result(Published(**recorded["published"]))
        return before
    publish = partial(publication.publish, conclusion, plan, catalogue, tracker, name)
    return mirror.put("results on test", publish)


def _write_report(
    study: optuna.Study, plan: Plan, conclusion: Conclusion, folder: Path, options: Options
) -> Path:
    """Writes the study's report, one HTML file that needs no network; returns the file."""
    command = _command(options)
    file = folder / "report.html"
    with progress.working("writing the report"):
        write_whole(file, report_study(study, plan, conclusion, command).encode())
    return file


def _command(options: Options) -> str:
    """Returns what searches this study again: the command line, or the call from Python."""
    if Path(sys.argv[0]).name == "search.py":
        return shlex.join(["python", *map(redacted, sys.argv)])
    given = {
        one.name: getattr(options, one.name)
        for one in fields(options)
        if getattr(options, one.name) != getattr(Options(), one.name)
    }
    return (
        f"ncf.search({', '.join(redacted(f'{name}={value!r}') for name, value in given.items())})"
    )


def _wait_for_mlflow(end: End, tracker: Tracker, mirror: Mirror) -> str:
    """Closes the study's run; returns what MLflow could not be given, and prints it."""
    mirror.put("the study's end", lambda: tracker.end_study(end.state))
    with progress.working("waiting for MLflow"):
        missing = mirror.finish(end.patience, end.at_most)
    if missing:
        terminal.show_missing(missing)
    return missing


def _close(
    study: optuna.Study, tracker: Tracker, conclusion: Conclusion, published: Published
) -> None:
    """Records that the winner is published, and prints where it is and what can be done next."""
    key = [tracker.parent, conclusion.digest, published.name]
    study.set_user_attr("published", {"key": key, "published": asdict(published)})
    terminal.show_model(published.name, published.version, published.decision)
    ask = next_steps.asking(published.name, published.model_uri)
    terminal.show_next_steps(ui_command(tracker.uri), tracker.ui_link(), ask)
