"""The contest of a study: its best trials and the other models, of which validation chooses one."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from functools import partial
from pathlib import Path

import optuna

from ncf.commands import progress, terminal
from ncf.commands.options import Options
from ncf.study import baselines, best, mixing
from ncf.study.agreement import note_agreement
from ncf.study.confirmation import confirm
from ncf.study.coordinator import Event
from ncf.study.plan import Plan
from ncf.study.results import Confirmed, Contestant
from ncf.trials.workers import Workers


def confirm_best(
    study: optuna.Study, plan: Plan, workers: Workers, folder: Path, options: Options
) -> list[Confirmed]:
    """Trains the study's best trials again with fresh seeds, and prints what came of it."""
    n_trials, n_seeds = options.confirm, options.confirm_seeds
    weights = partial(mixing.weights_of, folder) if mixing.NAME in options.baselines else None
    with progress.working("training the best trials again"):
        confirmed = confirm(study, plan, workers, n_trials, n_seeds, weights)
        for best_of_all in confirmed[:1]:
            files = [mixing.weights_of(folder, best_of_all.number, n) for n in range(n_seeds)]
            note_agreement(study, plan, best_of_all.number, files)
    terminal.show_confirmation(confirmed, plan.settings.objective)
    return confirmed


def winner_first(
    best_trial: Contestant,
    study: optuna.Study,
    plan: Plan,
    workers: Workers,
    folder: Path,
    options: Options,
) -> list[Contestant]:
    """Tunes the other models, and returns all that could be fitted, the winner first.

    What an earlier contest of the study had beside them stays in it, as it was tuned then; but
    the mixture is one with the best trial of now, and has as many fresh seeds.
    """
    n_trials, n_seeds = options.confirm, options.confirm_seeds
    found = [best_trial]
    kept = baselines.left_from_before(study, options.baselines)
    for name in options.baselines:
        if name == mixing.NAME:
            continue  # until Markov counts are tuned, of which it is a mixture
        _follow(name, baselines.tune(name, study, plan, workers), plan)
        if (contestant := baselines.contestant(name, study)) is not None:
            found.append(contestant)
    for name in kept:
        if name != mixing.NAME and (contestant := baselines.contestant(name, study)) is not None:
            found.append(contestant)
    if mixing.NAME in [*options.baselines, *kept]:
        counts = next((one for one in found if one.name == "markov"), None)
        parts = best_trial, counts, study, plan, workers, folder, n_trials
        _follow(mixing.NAME, mixing.tune(*parts), plan)
        if (contestant := mixing.contestant(best_trial, study, plan)) is not None:
            found.append(contestant)
    if kept:
        terminal.show_kept(kept, [one.name for one in found])
    found[1:] = baselines.as_before(study, found[1:])  # in whatever order they are asked for
    with progress.working("training again what could win by luck"):
        found = best.confirm_others(found, study, plan, workers, n_trials, n_seeds)
    return best.best_first(found, options.register_best, plan.settings.objective)


def _follow(name: str, events: Generator[Event, None, None], plan: Plan) -> None:
    with closing(events):
        progress.follow_baseline(name, events, baselines.n_settings_of(name, plan))
