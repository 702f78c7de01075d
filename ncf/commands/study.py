"""One study from its missing trials to a registered winner, all of it mirrored in MLflow.

Every result is recorded before it is written to MLflow, and the search waits for MLflow only at
its very end. So the same command, given again, writes what MLflow lacks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import asdict
from functools import partial
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial

from ncf.commands import contest, interrupt, progress, terminal
from ncf.commands.ending import BROKEN_OFF, FAILED, FINISHED, STOPPED, SUPERSEDED, wait_for_mlflow
from ncf.commands.first_trials import stopper
from ncf.commands.options import Options
from ncf.commands.report_file import write_report
from ncf.data.files import RESULTS
from ncf.report import words
from ncf.serving.catalogue import Catalogue
from ncf.study import journal, presence
from ncf.study.again import train_again
from ncf.study.confirmation import choose
from ncf.study.coordinator import Event
from ncf.study.cost import Cost, cost_of
from ncf.study.lease import Lease, SupersededError
from ncf.study.plan import Plan
from ncf.study.results import Conclusion, counted
from ncf.study.verdict import conclude
from ncf.tracking import next_steps, publication, trial_events
from ncf.tracking.checked import checked_first
from ncf.tracking.contest_runs import log_confirmation
from ncf.tracking.database import guard
from ncf.tracking.kept import Kept
from ncf.tracking.logged_models import ModelFiles, is_whole
from ncf.tracking.mirror import Mirror, n_threads_for
from ncf.tracking.publication import Published
from ncf.tracking.recovery import adopt, not_logged
from ncf.tracking.store import default_uri, ui_command
from ncf.tracking.tracker import Tracker
from ncf.tracking.winners import is_of_another
from ncf.trials.workers import Stopped, Workers


def carry_out(
    study: optuna.Study,
    plan: Plan,
    workers: Workers,
    folder: Path,
    options: Options,
    lease: Lease | None,
    n_at_once: int,
    events: Iterator[Event],
) -> int:
    """Trains the missing trials, finds the winner, tests and registers it, and prints all of it.

    Args:
        study: The study's record.
        plan: The plan of the study.
        workers: The workers that train.
        folder: The study's folder.
        options: The options of the command.
        lease: What keeps other machines from the study; None where its record is a file here.
        n_at_once: How many trials the workers train at a time.
        events: What happens to the trials, of which the first may have begun.

    Returns:
        The exit status of the command.
    """
    tracker = _open(options.tracking_uri or default_uri(), study, plan, lease)
    progress.say(f"watch it in the MLflow UI: {ui_command(tracker.uri)}\n  {tracker.ui_link()}")
    presence.note(folder, plan.settings.n_trials, n_at_once)
    mirror = Mirror(guard(tracker.uri), n_threads_for(tracker.uri), SupersededError)
    split = plan.split
    shared = Catalogue.of(plan.interactions, split.whole, split.train)
    catalogue = Catalogue.of(plan.interactions, split.whole, split.train_and_validation)
    kept = f"catalogue-{shared.digest[:12]}.npz"  # another one where titles came with a later call
    models = ModelFiles(folder, shared, f"runs:/{tracker.parent}/{kept}")
    end = FAILED
    conclusion: Conclusion | None = None
    written: Future[Published] = Future()
    try:
        _train(study, plan, workers, models, tracker, mirror, options, stopper(lease), events)
        confirmed = contest.confirm_best(study, plan, workers, folder, options)
        for one in confirmed:
            write = partial(log_confirmation, tracker, one)
            mirror.put(f"confirmation of trial {one.number}", write)
        objective = plan.settings.objective
        winner = choose(study, confirmed)
        contestants = contest.winner_first(winner, study, plan, workers, folder, options)
        with progress.working("fitting the winner and the others, and reading test"):
            published = _published_digest(study, tracker)
            conclusion = conclude(study, plan, workers, folder, contestants, published)
        terminal.show_results(conclusion, objective)
        sentences = words.findings(study, conclusion, objective)
        terminal.show_verdict(sentences)
        study.set_user_attr("verdict", sentences)
        name = f"gmf-{plan.facts.name}" if options.register is None else options.register
        cost = cost_of(study, conclusion.contestants)
        written = _publish(study, plan, conclusion, cost, catalogue, name, tracker, mirror)
        description = words.describe_study(plan, len(study.get_trials(deepcopy=False)), conclusion)
        mirror.put("description", lambda: tracker.describe_study(description))
        report = write_report(study, plan, conclusion, cost, tracker, folder, options)
        mirror.put("report", lambda: tracker.keep(report))
        end = FINISHED
    except Exception:
        end = FAILED if lease is None or not lease.is_lost() else SUPERSEDED
        raise
    except KeyboardInterrupt as stop:
        end = STOPPED if isinstance(stop, Stopped) else BROKEN_OFF
        terminal.show_interruption(study.study_name)
    finally:
        missing = wait_for_mlflow(end, tracker, mirror)
    if end.state == "interrupted":
        return interrupt.exit_status()
    if conclusion is not None and written.done():
        _close(study, tracker, conclusion, written.result())
        publication.remove_files(folder)
    return 1 if missing else 0


def _open(uri: str, study: optuna.Study, plan: Plan, lease: Lease | None) -> Tracker:
    """Opens MLflow's store and the study's run in it; only who has the lease can write there."""
    tracker = Tracker(uri, RESULTS, plan.experiment.name, plan.facts)
    if lease is not None:
        tracker.client = checked_first(tracker.client, lease.ask)
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
    options: Options,
    is_stopped: Callable[[], bool],
    events: Iterator[Event],
) -> None:
    """Runs the trials that the study lacks, and prints the best of all."""
    settings = plan.settings
    searched = [*plan.identity["space"]]
    mirror.put("the study's view", lambda: tracker.save_view(searched, settings.objective))
    mirror.put("candidates and catalogue", partial(publication.share, plan, models, tracker))
    mirror.put("runs of a study's run that is gone", partial(adopt, tracker, models))
    trials = study.get_trials(deepcopy=False)
    ended = [trial for trial in trials if trial.state.is_finished()]
    kept = Kept(options.keep_models, settings.n_trials)
    for trial in ended:
        kept.note(trial)
    try:
        with interrupt.first_noted():
            _train_lost(ended, plan, workers, models, kept, tracker, is_stopped)
            with closing(
                trial_events.follow(events, ended, tracker, mirror, models, kept)
            ) as followed:
                progress.follow(followed, ended, settings.n_trials, plan.experiment.epochs)
    finally:
        terminal.show_trials(study.get_trials(deepcopy=False), settings.objective)


def _train_lost(
    ended: Sequence[FrozenTrial],
    plan: Plan,
    workers: Workers,
    models: ModelFiles,
    kept: Kept,
    tracker: Tracker,
    is_stopped: Callable[[], bool],
) -> None:
    """Trains trials again that MLflow lacks, as where its store was lost, and whose weights too."""
    trained = [one for one in ended if journal.is_trained(one) and kept.has(one.number)]
    missing = not_logged(trained, tracker)
    lost = [trial for trial in missing if not models.weights(trial.number).exists()]
    if lost:
        what = f"training {counted(len(lost), 'trial')} again, of which MLflow lacks the models"
        with progress.working(what):
            for _ in train_again(lost, plan, workers, models.weights, is_stopped):
                pass


# What was published, and where, is recorded as {"key": [run, digest, name], "published": {...}}.


def _published_digest(study: optuna.Study, tracker: Tracker) -> str:
    """Returns the digest of the conclusion that the study's run holds; empty for none.

    It holds none where the published model is gone, or may be that of another winner.
    """
    recorded = study.user_attrs.get("published", {})
    run_id, digest, _ = recorded.get("key", ("", "", ""))
    if run_id != tracker.parent:
        return ""
    model_id = recorded["published"]["model_uri"].removeprefix("models:/")
    if not is_whole(tracker.client, model_id):
        return ""
    at = study.user_attrs["conclusion"]["at"]
    return "" if is_of_another(tracker.client, model_id, at) else str(digest)


def _publish(
    study: optuna.Study,
    plan: Plan,
    conclusion: Conclusion,
    cost: Cost,
    catalogue: Catalogue,
    name: str,
    tracker: Tracker,
    mirror: Mirror,
) -> Future[Published]:
    """Has the mirror log and register the winner, as far as MLflow lacks that."""
    recorded = study.user_attrs.get("published", {})
    is_same = recorded.get("key", [])[:2] == [tracker.parent, conclusion.digest]
    before = Published(**recorded["published"]) if is_same else None
    publish = partial(publication.publish, conclusion, cost, plan, catalogue, tracker, name, before)
    return mirror.put("results on test", publish)


def _close(
    study: optuna.Study, tracker: Tracker, conclusion: Conclusion, published: Published
) -> None:
    """Records that the winner is published, and prints where it is and what can be done next."""
    key = [tracker.parent, conclusion.digest, published.name]
    study.set_user_attr("published", {"key": key, "published": asdict(published)})
    terminal.show_model(published.in_words)
    one = published
    questions = next_steps.questions(one.name, one.version, one.model_uri, one.champion)
    terminal.show_next_steps(ui_command(tracker.uri), tracker.ui_link(), questions)
