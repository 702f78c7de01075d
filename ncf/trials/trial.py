"""One trial: train, evaluate on validation after each epoch, stop, keep the best epoch's weights.

A trial is handed a `TrialData` and a `Task`, the winner's refit a `Refit`: none has the test split.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

from safetensors.torch import save

from ncf.data.files import write_whole
from ncf.models.baselines import fit
from ncf.models.gmf.setting import Hyperparameters
from ncf.models.training import EpochResult, train
from ncf.protocol.metrics import summarize
from ncf.protocol.ranks import full_ranks, sampled_ranks
from ncf.protocol.splitting import append
from ncf.trials.messages import EpochReport, Outcome, Refit, Task, TrialData


def run(task: Task, data: TrialData) -> Iterator[EpochReport | Outcome]:
    """Yields a report after every epoch and the outcome at last; a baseline has no epochs.

    Raises:
        FloatingPointError: The loss is not finite: the trial diverged.
    """
    start = time.perf_counter()
    if not isinstance(task.hyperparameters, Hyperparameters):
        scorer = fit(data.train, task.hyperparameters, int(task.seed.generate_state(1)[0]))
        sampled = sampled_ranks(scorer, data.validation.users, data.candidates)
        full = full_ranks(scorer, data.validation, data.train)
        metrics, metrics_full = summarize(sampled, task.k), summarize(full, task.k)
        seconds = time.perf_counter() - start
        yield Outcome(task.number, False, 1, 1, metrics, metrics_full, seconds, time.time())
        return
    best, best_epoch, pruned = -math.inf, 0, False
    best_metrics: dict[str, float] = {}
    for result in train(
        data.train,
        task.hyperparameters,
        epochs=task.epochs,
        seed=task.seed,
        device=task.device,
        starts=data.starts,
    ):
        _check_loss(result)
        ranks = sampled_ranks(result.model, data.validation.users, data.candidates)
        metrics = summarize(ranks, task.k)
        value = metrics[f"ndcg_{task.k}"]
        yield EpochReport(
            task.number,
            result.epoch,
            time.time(),
            result.loss,
            result.seconds,
            result.n_samples,
            metrics,
        )
        if value > best:
            best, best_epoch, best_metrics = value, result.epoch, metrics
            best_weights = {
                name: tensor.detach().to("cpu", copy=True)
                for name, tensor in result.model.state_dict().items()
            }
        is_done = result.epoch == task.epochs or result.epoch - best_epoch >= task.patience
        pruned = not is_done and best < task.stop_below[result.epoch - 1]
        if is_done or pruned:
            break
    model = result.model
    model.load_state_dict(best_weights)
    metrics_full = summarize(full_ranks(model, data.validation, data.train), task.k)
    write_whole(task.weights, save(best_weights))
    yield Outcome(
        task.number,
        pruned,
        result.epoch,
        best_epoch,
        best_metrics,
        metrics_full,
        time.perf_counter() - start,
        time.time(),
    )


def refit(task: Refit, data: TrialData) -> Outcome:
    """Trains on train and validation for all epochs, and leaves the last one's weights.

    Raises:
        FloatingPointError: The loss is not finite: it diverged.
    """
    start = time.perf_counter()
    for result in train(
        append(data.train, data.validation),
        task.hyperparameters,
        epochs=task.epochs,
        seed=task.seed,
        device=task.device,
    ):
        _check_loss(result)
    weights = {name: tensor.to("cpu") for name, tensor in result.model.state_dict().items()}
    write_whole(task.weights, save(weights))
    seconds, epochs = time.perf_counter() - start, task.epochs
    return Outcome(task.number, False, epochs, epochs, {}, {}, seconds, time.time())


def _check_loss(result: EpochResult) -> None:
    if not math.isfinite(result.loss):
        raise FloatingPointError(
            f"diverged: the loss of epoch {result.epoch} is {result.loss}; "
            "a lower learning rate would help"
        )
