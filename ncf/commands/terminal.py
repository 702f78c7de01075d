"""The output of a search: the data, the tables of trials and results, the next steps."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence

from optuna.trial import FrozenTrial, TrialState

from ncf.commands.tables import for_terminal
from ncf.models.table import describe, title
from ncf.protocol.metrics import Objective
from ncf.report.contest import p_in_words
from ncf.study import journal
from ncf.study.best import title_of
from ncf.study.experiment import DataFacts
from ncf.study.results import Conclusion, Confirmed, counted
from ncf.trials.estimate import Estimate, in_gib

_N_SHOWN = 10  # trials, or differing values, that are printed at most


def show_data(data: DataFacts) -> None:
    """Prints the size of the data set."""
    counts = data.counts
    _say(
        f"{data.name}: {counts['users']:,} users, {counts['items']:,} items, "
        f"{counts['interactions']:,} interactions; {counts['evaluated']:,} users are evaluated"
    )


def show_columns(lines: Sequence[str]) -> None:
    """Prints which column of the file was taken as what."""
    for line in lines:
        _say(line, "  ")


def show_split(protocol: str, notes: Sequence[str]) -> None:
    """Prints how the data are split, where there is more to say of it."""
    for line in (f"split {protocol}", *notes) if notes else ():
        _say(line, "  ")


def show_full_ranking(sentence: str) -> None:
    """Prints for whom trials rank the full catalogue, where that is not for all."""
    if sentence:
        _say(sentence, "  ")


def show_lag(lag: int, n_jobs: int) -> None:
    """Prints the lag of a study that was begun with many jobs."""
    _say(
        f"New study, lag {lag} for {n_jobs} jobs: it may be continued with any number of jobs; to "
        f"begin the same one with fewer, give --lag {lag}"
    )


def show_estimate(largest: Estimate, n_workers: int, where: str = "") -> None:
    """Prints the memory and the time of the largest trial of the search space."""
    print(
        f"{counted(n_workers, 'trial')} at once{where}, each of up to about "
        f"{in_gib(largest.n_bytes)} and {largest.seconds_per_epoch:.2g} s per epoch"
    )


def show_nothing_to_do(study: str, n_trials: int) -> None:
    """Prints that the study has all its trials."""
    print(f"Study {study!r} has {counted(n_trials, 'trial')} already: no trial is left to train.")


def show_interruption(study: str = "") -> None:
    """Prints that the search was interrupted and how to continue it.

    Args:
        study: The name of the study; empty where it had not begun, or had come to its end.
    """
    whose = f"study {study!r}" if study else "the study"
    print(f"\nInterrupted. What {whose} has finished is kept; the same command continues it.")


def show_missing(missing: str) -> None:
    """Prints what MLflow lacks, and how to write it later."""
    print(
        f"\nMLflow does not have everything yet: {missing}\nNothing is lost: the same command "
        "writes what is missing from the study's record, and trains again only what was in a store "
        "that is lost. It can write to another store, which --tracking-uri names."
    )


def show_trials(trials: Sequence[FrozenTrial], objective: Objective) -> None:
    """Prints a table of the best trials, and how many trials finished, were pruned or failed."""
    k = objective.k
    metrics = [f"HR@{k}", f"nDCG@{k}", f"full nDCG@{k}"]
    if objective.label not in metrics:
        metrics.append(objective.label)
    rows = [["rank", "trial", *metrics, "epochs", "best at", "seconds", "setting"]]
    for rank, trial in enumerate(journal.best_first(trials)[:_N_SHOWN], start=1):
        outcome = journal.outcome_of(trial)
        rows.append(
            [
                str(rank),
                str(trial.number),
                f"{outcome.metrics[f'hit_ratio_{k}']:.4f}",
                f"{outcome.metrics[f'ndcg_{k}']:.4f}",
                f"{outcome.metrics_full[f'ndcg_{k}']:.4f}",
                *[f"{objective.value(outcome.metrics):.4f}" for _ in metrics[3:]],
                str(outcome.epochs),
                str(outcome.best_epoch),
                f"{outcome.seconds:.1f}",
                describe(journal.setting_of(trial)),
            ]
        )
    print("\nBest trials, by validation:")
    print("\n".join(for_terminal(rows, (*[False] * (len(rows[0]) - 1), True), "")))
    states = [trial.state for trial in trials]
    print(
        f"{states.count(TrialState.COMPLETE)} finished, {states.count(TrialState.PRUNED)} pruned, "
        f"{states.count(TrialState.FAIL)} failed"
    )


def show_kept(names: Sequence[str], contestants: Sequence[str]) -> None:
    """Prints which baselines stay in the contest, though they were not asked for this time.

    Args:
        names: Those that an earlier contest of the study had.
        contestants: The names of all that there are now.
    """
    there = ", ".join(title(name) for name in names if name in contestants)
    gone = [name for name in names if name not in contestants]
    if there:
        print(f"\nStill in this study's contest, though not asked for: {there}")
    if gone:
        print(
            f"\nNo longer in this study's contest: {', '.join(map(title, gone))}; "
            f"--baselines {','.join(gone)} tunes it again"
        )


def show_confirmation(confirmed: Sequence[Confirmed], objective: Objective) -> None:
    """Prints the objective of the confirmed trials for each fresh seed."""
    if not confirmed:
        return
    n_seeds = max(len(one.values) for one in confirmed)
    seeds = "one fresh seed" if n_seeds == 1 else counted(n_seeds, "fresh seed")
    print(f"\nTrained again with {seeds}, validation {objective.label}:")
    for one in confirmed:
        values = f"mean {one.mean:.4f}  sd {one.sd:.4f}   "
        values += f"({'  '.join(f'{value:.4f}' for value in one.values)})"
        if n_seeds == 1:
            values = f"{one.mean:.4f}"
        print(f"  trial {one.number:<4} {values}")


def show_results(conclusion: Conclusion, objective: Objective) -> None:
    """Prints which contestant won, and the metrics of all of them on test."""
    k, winner = objective.k, conclusion.winner
    epochs = f" for {counted(winner.epochs, 'epoch')}" if winner.epochs else ""
    print()
    _say(f"Winner: {title_of(winner)} ({winner.note}), fitted again on train + validation{epochs}.")
    _say(
        f"Test, {conclusion.reading}, with 95% intervals over users, beside the validation "
        f"{objective.label}:"
    )
    header = ["", "validation", f"HR@{k}", "", f"nDCG@{k}", "", f"full nDCG@{k}", ""]
    if len(conclusion.results) > 1:
        of = "" if objective.metric == Objective.metric else f", {objective.label}"
        header += [f"winner's lead{of}", "", "p"]
    rows = [header]
    for result, contestant in zip(conclusion.results, conclusion.contestants, strict=True):
        cells: list[str] = [title_of(result), f"{contestant.value(objective):.4f}"]
        for name, value in (
            (f"hit_ratio_{k}", result.test[f"hit_ratio_{k}"]),
            (f"ndcg_{k}", result.test[f"ndcg_{k}"]),
            (f"full_ndcg_{k}", result.test_full[f"ndcg_{k}"]),
        ):
            low, high = result.intervals[name]
            cells += [f"{value:.4f}", f"[{low:.3f}, {high:.3f}]"]
        difference = result.difference_full if objective.is_full else result.difference
        if difference is not None:
            mean, low, high, p_value = difference
            cells += [f"{mean:+.4f}", f"[{low:+.3f}, {high:+.3f}]", p_in_words(p_value)]
        rows.append(cells + [""] * (len(header) - len(cells)))
    is_text = (True, *[False] * (len(header) - 1))
    print("\n".join(for_terminal(rows, is_text, "  ")))


def show_verdict(sentences: Sequence[str]) -> None:
    """Prints what the results do and do not establish."""
    print()
    for sentence in sentences:
        print(_filled(sentence, "  "))


def show_model(registered: str) -> None:
    """Prints which version was registered, in words that are empty where none was."""
    if registered:
        print()
        _say(registered)


def show_next_steps(ui_command: str, ui_link: str, questions: Sequence[tuple[str, str]]) -> None:
    """Prints the commands that open the UI and ask the model."""
    print("\nCompare the trials in the MLflow UI:")
    print(f"  {ui_command}")
    print(f"  {ui_link}")
    for whom, ask_command in questions:
        print(whom)
        print(f"  {ask_command}")
    if "$MLFLOW_TRACKING_URI" in ui_command + "".join(ask for _, ask in questions):
        print(
            "MLFLOW_TRACKING_URI must hold the store's address, which has a password and is not "
            "printed."
        )


def _say(line: str, indent: str = "") -> None:
    """Prints a line, which a narrow terminal shows on several."""
    print(_filled(line, indent) if sys.stdout.isatty() else indent + line)


def _filled(sentence: str, indent: str) -> str:
    """Returns the lines of a sentence, broken between words, and indented more after the first."""
    width = min(100, shutil.get_terminal_size().columns) if sys.stdout.isatty() else 100
    return textwrap.fill(
        sentence,
        width,
        initial_indent=indent,
        subsequent_indent=indent + "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def show_repetition(
    name: str,
    logged: Mapping[str, float],
    repeated: Mapping[str, float],
    differing: Sequence[str],
) -> None:
    """Prints whether the repeated trial's metrics equal the logged ones."""
    if not differing:
        print(f"{name}: all {len(logged)} logged values came out equal, bit for bit")
        return
    print(f"{name}: {len(differing)} of {len(logged)} logged values came out different, as on")
    print("another kind of processor or with other packages; the first:")
    for key in differing[:_N_SHOWN]:
        print(f"  {key}: logged {logged.get(key)!r}, now {repeated.get(key)!r}")
