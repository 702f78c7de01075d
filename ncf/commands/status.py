"""The command `status`: what a study has, and what its search is doing."""

from __future__ import annotations

from collections import Counter

import optuna
from optuna.trial import TrialState
from tqdm import tqdm

from ncf.commands.options import BASELINES
from ncf.data.files import RESULTS
from ncf.models.table import title
from ncf.study import journal, presence
from ncf.study.presence import Search
from ncf.study.results import counted

_STARTS = "its search is starting: it opens MLflow's store and starts its workers"


def describe(name: str, storage: str | None) -> list[str]:
    """Returns what a study has and what is being done, as lines.

    Args:
        name: The name of the study.
        storage: Optuna's record; None means the usual one.

    Raises:
        ValueError: There is no such study.
    """
    search = presence.last_search(name)
    is_running = presence.is_searched(name)
    is_starting = is_running and (search is None or search.has_ended)
    try:
        study = journal.load_study(name, storage)
    except ValueError:
        if not is_starting:
            raise
        return [f"study {name}: {_STARTS}"]
    if storage is not None and "://" in storage:  # another machine may be searching it
        from ncf.study.holder import holder_of

        if (holder := holder_of(study)) is not None:
            search, is_running, is_starting = holder.search, True, False
    trials = study.get_trials(deepcopy=False)
    states = Counter(trial.state for trial in trials)
    n_trained = sum(map(journal.is_trained, trials))
    wanted = f"/{search.n_trials}" if search is not None and not is_starting else ""
    of_all = f"{n_trained}{wanted} trials" if wanted else counted(n_trained, "trial")
    lines = [
        f"study {name}: {of_all}; {states[TrialState.COMPLETE]} finished, "
        f"{states[TrialState.PRUNED]} pruned, {states[TrialState.FAIL]} failed"
    ]
    lines += [
        f"best on validation: {best.value:.4f} (trial {best.number})"
        for best in journal.best_first(trials)[:1]
    ]
    if is_starting:
        lines.append(_STARTS)
    elif search is not None and is_running:
        phase = _phase(study, search, n_trained, storage)
        lines.append(f"being searched by process {search.pid} on {search.host}: {phase}")
    elif _is_recorded(name, storage or str(RESULTS / "optuna.journal")):
        lines.append("being searched from another folder that has its record in the same journal")
    elif "conclusion" in study.user_attrs:
        lines.append("concluded; nobody is searching it")
    else:
        lines.append("not concluded, and nobody is searching it: the same command goes on")
    return lines


def _is_recorded(name: str, location: str) -> bool:
    study = name.partition("/")[0]  # whose search writes the records of its baselines
    return "://" not in location and presence.is_recorded(study, location)


def _phase(study: optuna.Study, search: Search, n_trained: int, storage: str | None) -> str:
    if n_trained < search.n_trials:
        seconds = journal.seconds_of(study.get_trials(deepcopy=False))
        left = (search.n_trials - n_trained) * seconds / max(n_trained, 1) / search.jobs
        about = f"; about {tqdm.format_interval(left)} left" if n_trained else ""
        return f"training trials{about} until they are confirmed and baselines tuned"
    for name in reversed(BASELINES):
        try:
            tuned = journal.load_study(f"{study.study_name}/{name}", storage)
        except ValueError:  # not yet
            continue
        n_settings = sum(map(journal.is_trained, tuned.get_trials(deepcopy=False)))
        return (
            f"tuning the baselines, or after them ({title(name)} has had "
            f"{counted(n_settings, 'setting')})"
        )
    return "training the best trials again with fresh seeds"
