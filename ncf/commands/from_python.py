"""A study from Python: `ncf.search` runs it, `ncf.load_study` reads what it came to.

Both read the record of the command `search.py`, so that either continues what the other began.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from ncf.commands import kept_tables
from ncf.commands.options import BASELINES, Options, named
from ncf.redaction import is_clean, learn, one_line

if TYPE_CHECKING:
    import pandas as pd

    from ncf.serving.recommender import Recommender

T = TypeVar("T")


@dataclass(frozen=True)
class Study:
    """A study and what it came to; what it has not come to yet is empty.

    Attributes:
        name: Its name.
        trials: A row for each ended trial: its number, model and state, the objective if it has
            finished, validation metrics, epochs, seconds, why it failed, and its hyperparameters.
        results: A row for each contestant on test, the winner first: metrics with 95% intervals,
            the winner's lead over it with interval and p-value, and its setting.
        winner: The winner's hyperparameters.
        verdict: What the results do and do not establish, in sentences.
        model_uri: The registered version, or the logged model where none is registered.
        run_id: The id of the study's run in MLflow.
        report: The study's report, an HTML page.
        tracking_uri: The MLflow store that it was read with; None means the usual one.
    """

    name: str
    trials: pd.DataFrame = field(repr=False)
    results: pd.DataFrame = field(repr=False)
    winner: Mapping[str, Any]
    verdict: str
    model_uri: str | None
    run_id: str | None
    report: Path | None
    tracking_uri: str | None = None

    def load_model(self) -> Recommender:
        """Loads the winner.

        Raises:
            ValueError: The study has no winner yet, or its model is gone.
        """
        if self.model_uri is None:
            raise ValueError(f"study {self.name!r} has no winner yet; search it to its end")
        return load_model(self.model_uri, self.tracking_uri)


def search(
    data: pd.DataFrame | str | Path | None = None,
    *,
    trials: int = 50,
    study: str | None = None,
    experiment: str | Path | None = None,
    columns: Mapping[str, str] | str | None = None,
    min_rating: float | None = None,
    drop_empty: bool = False,
    titles: pd.DataFrame | str | Path | None = None,
    split: str = "leave-one-out",
    targets: str | None = None,
    jobs: int | None = None,
    cluster: str | None = None,
    lag: int | None = None,
    epochs: int | None = None,
    timeout: float | None = None,
    seed: int = 0,
    k: int = 10,
    objective: str = "ndcg",
    confirm: int = 3,
    confirm_seeds: int = 3,
    baselines: Sequence[str] | str = BASELINES,
    register_best: Literal["gmf", "any"] = "any",
    register: str | None = None,
    keep_models: int | None = None,
    quiet: bool = False,
    tracking_uri: str | None = None,
    storage: str | None = None,
) -> Study:
    """Searches the best recommender for a data set, as `search.py` does, and returns the study.

    A study of this name that was begun is continued. `python search.py --help` explains more.

    Args:
        data: The interactions: a table of users, items and perhaps ratings, times and titles,
            which is kept in mlruns/data; or the name or path of a data set, or the experiment's.
        trials: The trials that the study has in the end.
        study: The name of the study; a table needs one.
        experiment: A file with the search space; None means experiments/ml_100k.py.
        columns: Which column is what, {"user": ..., "item": ..., "rating": ..., "timestamp": ...},
            or the same as text, "user=...,item=...".
        min_rating: The lowest rating that counts as an interaction.
        drop_empty: Whether rows with an empty user, item, rating or time are left out; without it,
            they are an error.
        titles: The items' titles, which answers then have: a table or file of items and titles;
            None means a table's title column, or the titles of a known data set.
        split: How the interactions are held out: "leave-one-out" or "time", also "time:0.8,0.9".
        targets: Which items of a period a split by time holds out: "last", "first" or "all".
        jobs: The trials trained at once; None means one for each core.
        cluster: The Ray cluster that trains, "HOST:PORT", "auto" or "local"; None means none.
        lag: How far behind a trial those are that it is decided from; None means the study's.
        epochs: The most epochs of a trial; None means the experiment's.
        timeout: Seconds after which no new trial starts.
        seed: The seed of the study.
        k: The length of the lists that are judged.
        objective: The metric that is maximised on validation, such as "full_ndcg".
        confirm: The best trials to train again with fresh seeds.
        confirm_seeds: The fresh seeds for each of them.
        baselines: What to hold the winner against, also as "popularity,markov" or "none".
        register_best: What is registered: "any" for the best contestant, "gmf" for the best trial.
        register: The name in the model registry; None means gmf-<data>, "" no registration.
        keep_models: How many best trials' models MLflow is given; None means all up to 100
            trials, else 10.
        quiet: Whether to print results alone, and no progress.
        tracking_uri: The MLflow store; None means `$MLFLOW_TRACKING_URI`, else mlruns/mlflow.db.
        storage: Optuna's record; None means mlruns/optuna.journal.

    Raises:
        ValueError: An option, the experiment or the data breaks a rule.
        OSError: A file is not there, or cannot be read, written or downloaded.
        RuntimeError: Too many trials failed, or another process searches the study.
        KeyboardInterrupt: The search was interrupted; the same call continues it.
    """
    if data is not None and not isinstance(data, str | Path):
        kept = kept_tables.keep(data, study)
        if titles is None and "title" in data.columns:
            titles = kept
        data = kept
    if titles is not None and not isinstance(titles, str | Path):
        titles = kept_tables.keep(titles, study, are_titles=True)
    source = None if data is None else str(data)
    if isinstance(columns, Mapping):
        columns = ",".join(f"{role}={column}" for role, column in columns.items())
    if isinstance(baselines, str):
        baselines = named(baselines)
    chosen: dict[str, Any] = {} if experiment is None else {"experiment": Path(experiment)}
    chosen["titles"] = None if titles is None else str(titles)
    options = Options(
        trials=trials, data=source, columns=columns, min_rating=min_rating, study=study, jobs=jobs,
        cluster=cluster, lag=lag, epochs=epochs, timeout=timeout, seed=seed, k=k, confirm=confirm,
        confirm_seeds=confirm_seeds, baselines=tuple(baselines), register=register, quiet=quiet,
        tracking_uri=tracking_uri, storage=storage, split=split, targets=targets, **chosen,
        objective=objective, register_best=register_best, keep_models=keep_models,
        drop_empty=drop_empty,
    )  # fmt: skip
    from ncf.commands.search import search_study  # here: importing `ncf` stays cheap

    name, status = _cleanly(lambda: search_study(options), tracking_uri, storage)
    if status >= 128:  # a signal has ended it
        raise KeyboardInterrupt
    return load_study(name, storage=storage, tracking_uri=tracking_uri)


def load_study(name: str, *, storage: str | None = None, tracking_uri: str | None = None) -> Study:
    """Reads a study from its record.

    Args:
        name: Its name.
        storage: Optuna's record; None means mlruns/optuna.journal.
        tracking_uri: The MLflow store that its model is loaded from; None means the usual one.

    Raises:
        ValueError: There is no such study; the message names those that there are.
    """
    from ncf.commands import frames
    from ncf.data.files import RESULTS
    from ncf.study import journal

    study = journal.load_study(name, storage)
    attributes = study.user_attrs
    results = attributes.get("conclusion", {}).get("results", [])
    published = attributes.get("published", {}).get("published", {})
    report = RESULTS / "studies" / name / "report.html"
    return Study(
        name=name,
        trials=frames.trials_of(study),
        results=frames.results_of(results),
        winner=results[0]["setting"] if results else {},
        verdict=" ".join(attributes.get("verdict", [])),
        model_uri=_model_uri(published),
        run_id=attributes.get("mlflow_run"),
        report=report if report.exists() else None,
        tracking_uri=tracking_uri,
    )


def load_model(uri: str | None = None, tracking_uri: str | None = None) -> Recommender:
    """Loads a registered or logged model: `models:/NAME/VERSION`, `models:/NAME@champion`.

    Args:
        uri: The model; None means the champion that was registered last.
        tracking_uri: The MLflow store; None means `$MLFLOW_TRACKING_URI`, else mlruns/mlflow.db.

    Raises:
        ValueError: There is no such model.
    """
    from ncf.tracking import registry, store  # here: MLflow takes seconds to load

    address = tracking_uri or store.default_uri()
    return _cleanly(lambda: registry.load(uri, address)[1], address)


def _cleanly(call: Callable[[], T], *addresses: str | None) -> T:
    """Returns what the call returns; an error of it shows no password of these addresses."""
    learn([*filter(None, addresses), *os.environ.values()])
    try:
        return call()
    except Exception as error:
        if is_clean(error):
            raise
        reason = one_line(error)
    raise ValueError(reason)  # in place of an error whose traceback shows a password


def _model_uri(published: Mapping[str, Any]) -> str | None:
    if published.get("name"):
        return f"models:/{published['name']}/{published['version']}"
    return published.get("model_uri")
