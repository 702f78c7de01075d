"""The one place that talks to the terminal: progress bars, the closing table, what to do next."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from optuna.trial import FrozenTrial, TrialState
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from ncf import journal
from ncf.estimate import Estimate
from ncf.experiment import DataFacts, Hyperparameters
from ncf.messages import EpochReport
from ncf.recommender import Recommendations
from ncf.redaction import one_line
from ncf.study import TrialEnded, TrialStarted

if TYPE_CHECKING:
    from ncf.contest import Confirmed
    from ncf.winner import Result

_N_SHOWN = 10


def follow(
    events: Iterable[TrialStarted | EpochReport | TrialEnded],
    trials: Sequence[FrozenTrial],
    n_trials: int,
    epochs: int,
) -> None:
    """Draws a search as it happens; silent where the output is not a terminal.

    Args:
        events: What the coordinator yields.
        trials: What the study has already.
        n_trials: Trained trials that it shall have.
        epochs: Most epochs of a trial.
    """
    n_trained = sum(map(journal.is_trained, trials))
    best = max(
        (trial.value or -math.inf for trial in journal.best_first(trials)), default=-math.inf
    )
    counts = {"pruned": 0, "failed": 0}
    running: set[int] = set()
    with (
        logging_redirect_tqdm(),
        tqdm(total=n_trials, initial=n_trained, desc="study", unit="trial", disable=None) as study,
        tqdm(total=epochs, desc="trial", unit="epoch", disable=None, leave=False) as trial,
    ):
        for event in events:
            if isinstance(event, TrialStarted):
                running.add(event.number)
            elif isinstance(event, EpochReport):
                if event.number != min(running):
                    continue  # one bar, for the trial that runs the longest
                trial.set_description(f"trial {event.number}", refresh=False)
                trial.n = event.epoch
                trial.refresh()
            else:
                running.discard(event.trial.number)
                if event.trial.state == TrialState.COMPLETE:
                    best = max(best, event.trial.value or -math.inf)
                elif event.trial.state == TrialState.PRUNED:
                    counts["pruned"] += 1
                else:
                    counts["failed"] += 1
                study.set_postfix({"best": f"{best:.4f}", **counts}, refresh=False)
                study.update(journal.is_trained(event.trial))


def show_error(error: Exception) -> None:
    """Prints a person's mistake in one line."""
    print(f"error: {one_line(error)}", file=sys.stderr)


def show_data(data: DataFacts) -> None:
    """Prints what is searched on."""
    counts = data.counts
    print(
        f"{data.name}: {counts['users']:,} users, {counts['items']:,} items, "
        f"{counts['interactions']:,} interactions; {counts['evaluated']:,} users are evaluated "
        f"(fingerprint {data.digest})"
    )


def show_estimate(largest: Estimate, n_workers: int) -> None:
    """Prints what the largest trial of the search space takes."""
    print(
        f"{n_workers} trials at once, each of up to about {largest.n_bytes / 2**30:.1f} GiB and "
        f"{largest.seconds_per_epoch:.2g} s per epoch"
    )


def show_nothing_to_do(study: str, n_trials: int) -> None:
    """Prints that the study has its trials."""
    print(f"Study {study!r} has its {n_trials} trials already: nothing left to train.")


def show_interruption(study: str) -> None:
    """Prints how to continue."""
    print(
        f"\nInterrupted. What study {study!r} has finished is kept; the same command continues it."
    )


def show_missing(missing: str) -> None:
    """Prints what MLflow has not got, and how it will."""
    print(
        f"\nMLflow has not been told all: {missing}\nNothing is lost: the same command writes it "
        "from the journal and trains nothing again, or does so to another store that "
        "--tracking-uri names."
    )


def show_trials(trials: Sequence[FrozenTrial], k: int) -> None:
    """Prints the best trials, and how the others ended."""
    header = ("rank", "trial", "opt", "dim", "lr", "neg", "decay", "epochs", "best at")
    metrics = (f"HR@{k}", f"nDCG@{k}", f"full nDCG@{k}", "seconds")
    rows: list[tuple[str, ...]] = [(*header, *metrics)]
    for rank, trial in enumerate(journal.best_first(trials)[:_N_SHOWN], start=1):
        h = Hyperparameters(**trial.user_attrs["hyperparameters"])
        outcome = journal.outcome_of(trial)
        rows.append(
            (
                str(rank),
                str(trial.number),
                h.optimizer,
                str(h.embedding_dim),
                f"{h.learning_rate:.2g}",
                str(h.n_negatives),
                f"{h.weight_decay:.1g}",
                str(outcome.epochs),
                str(outcome.best_epoch),
                f"{outcome.metrics[f'hit_ratio_{k}']:.4f}",
                f"{outcome.metrics[f'ndcg_{k}']:.4f}",
                f"{outcome.metrics_full[f'ndcg_{k}']:.4f}",
                f"{outcome.seconds:.1f}",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    print("\nBest trials, by validation:")
    for row in rows:
        print("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))
    states = [trial.state for trial in trials]
    print(
        f"{states.count(TrialState.COMPLETE)} finished, {states.count(TrialState.PRUNED)} pruned, "
        f"{states.count(TrialState.FAIL)} failed"
    )


def show_confirmation(confirmed: Sequence[Confirmed], k: int) -> None:
    """Prints the best trials after more seeds."""
    if not confirmed:
        return
    n_seeds = max(len(one.values) for one in confirmed)
    print(f"\nTrained again with {n_seeds} fresh seeds, validation nDCG@{k}:")
    for one in confirmed:
        values = "  ".join(f"{value:.4f}" for value in one.values)
        print(f"  trial {one.number:<4} mean {one.mean:.4f}  sd {one.sd:.4f}   ({values})")


def show_results(results: Sequence[Result], number: int, epochs: int, k: int) -> None:
    """Prints what the winner and the baselines came to on test."""
    print(
        f"\nWinner: trial {number}, fitted on train + validation for {epochs} epochs. "
        "Test, read once, with 95% intervals over users:"
    )
    header = ["", f"HR@{k}", "", f"nDCG@{k}", "", f"full nDCG@{k}", ""]
    if len(results) > 1:
        header += ["winner - it", "", "p"]
    rows = [header]
    for result in results:
        cells: list[str] = [result.name]
        for name, value in (
            (f"hit_ratio_{k}", result.test[f"hit_ratio_{k}"]),
            (f"ndcg_{k}", result.test[f"ndcg_{k}"]),
            (f"full_ndcg_{k}", result.test_full[f"ndcg_{k}"]),
        ):
            low, high = result.intervals[name]
            cells += [f"{value:.4f}", f"[{low:.3f}, {high:.3f}]"]
        if result.difference is not None:
            mean, low, high, p_value = result.difference
            cells += [f"{mean:+.4f}", f"[{low:+.3f}, {high:+.3f}]", f"{p_value:.2g}"]
        rows.append(cells + [""] * (len(header) - len(cells)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *cells_of_row in rows:
        shown = [cell.rjust(width) for cell, width in zip(cells_of_row, widths[1:], strict=True)]
        print(f"  {first.ljust(widths[0])}  {'  '.join(shown)}".rstrip())


def show_model(name: str, version: str, decision: str) -> None:
    """Prints what was registered."""
    if name:
        print(f"\nRegistered: {name} version {version}; {decision}")


def show_next_steps(ui_command: str, ui_link: str, model_uri: str, name: str) -> None:
    """Prints how to go on."""
    print("\nCompare the trials in the MLflow UI:")
    print(f"  {ui_command}")
    print(f"  {ui_link}")
    print("Ask the model for ten items:")
    model = "" if name else f" --model {model_uri}"
    print(f"  python -m ncf recommend{model} --user ID")


@contextmanager
def working(what: str) -> Iterator[None]:
    """Shows on a terminal what is going on meanwhile."""
    with tqdm(desc=what, bar_format="{desc} {elapsed}", disable=None, leave=False):
        yield


def show_repetition(
    name: str,
    logged: Mapping[str, float],
    repeated: Mapping[str, float],
    differing: Sequence[str],
) -> None:
    """Prints whether a trial came out as it was logged."""
    if not differing:
        print(f"{name}: all {len(logged)} logged values came out equal, bit for bit")
        return
    print(f"{name}: {len(differing)} of {len(logged)} logged values came out different, first:")
    for key in differing[:_N_SHOWN]:
        print(f"  {key}: logged {logged.get(key)!r}, now {repeated.get(key)!r}")


def show_recommendations(answers: Sequence[Recommendations]) -> None:
    """Prints a list for each user."""
    for answer in answers:
        known = "" if answer.known else " (unknown user: the most popular items)"
        print(f"user {answer.user_id}{known}")
        width = max((len(str(item_id)) for item_id in answer.item_ids), default=0)
        rows = zip(answer.item_ids, answer.scores, answer.titles, strict=True)
        for rank, (item_id, score, title) in enumerate(rows, start=1):
            print(f"{rank:4}  {item_id!s:>{width}}  {score:.3f}  {title}".rstrip())
