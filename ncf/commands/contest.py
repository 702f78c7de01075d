"""The contest of a study: its best trials and the other models, of which validation chooses one."""

from __future__ import annotations

from contextlib import closing

import optuna

from ncf.commands import progress, terminal
from ncf.commands.options import Options
from ncf.search import baselines, best
from ncf.search.confirmation import confirm
from ncf.search.plan import Plan
from ncf.search.results import Confirmed, Contestant
from ncf.trials.workers import Workers


def confirm_best(
    study: optuna.Study, plan: Plan, workers: Workers, options: Options
) -> list[Confirmed]:
    """Trains the study's best trials again with fresh seeds, and prints what came of it."""
    with progress.working("training the best trials again"):
        confirmed = confirm(study, plan, workers, options.confirm, options.confirm_seeds)
    terminal.show_confirmation(confirmed, plan.settings.objective)
    return confirmed


def winner_first(
    best_trial: Contestant, study: optuna.Study, plan: Plan, workers: Workers, options: Options
) -> list[Contestant]:
    """Tunes the other models, and returns all that could be fitted, the winner first."""
    found = [best_trial]
    for name in options.baselines:
        with closing(baselines.tune(name, study, plan, workers)) as events:
            progress.follow_baseline(name, events, baselines.n_settings_of(name, plan))
        if (contestant := baselines.contestant(name, study)) is not None:
            found.append(contestant)
    with progress.working("training again what could win by luck"):
        n_trials, n_seeds = options.confirm, options.confirm_seeds
        found = best.confirm_others(found, study, plan, workers, n_trials, n_seeds)
    return best.best_first(found, options.register_best, plan.settings.objective)
