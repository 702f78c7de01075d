"""What every model keeps to, whichever it is: one suite over all rows of the table."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from ncf.models.gmf.setting import Hyperparameters
from ncf.models.model import Epoch
from ncf.models.neumf.setting import MLPHyperparameters, NeuMFHyperparameters
from ncf.models.table import MODELS, Setting, fit, model_of, setting_of
from ncf.protocol.splitting import History, history_of
from ncf.serving.catalogue import Catalogue
from ncf.serving.packaged import load_recommender, write_model
from ncf.serving.scorers import Scorer, load_scorer

N_USERS, N_ITEMS = 40, 23
NEW, NEARLY_ALL = 7, 11  # users: one without a history, one with a single item left

SETTINGS: dict[str, Setting] = {
    **{name: model.defaults for name, model in MODELS.items()},
    "gmf with recent items": Hyperparameters(n_recent=3, recent_dim=6, embedding_dim=4),
    "gmf of recent items alone": Hyperparameters(n_recent=3, recent_dim=6, embedding_dim=0),
    "gmf with recent items by adam": Hyperparameters(
        optimizer="adam",
        initialization="gaussian",
        learn_output_weight=True,
        n_recent=30,
        learning_rate=0.01,
    ),
    "mlp of one layer": MLPHyperparameters(
        mlp_dim=6, n_layers=1, initialization="gaussian", learning_rate=0.01
    ),
    "neumf from a gmf and an mlp": NeuMFHyperparameters(
        embedding_dim=5, mlp_dim=8, pretraining_epochs=2, batch_size=64
    ),
    "gmf by adam": Hyperparameters(optimizer="adam", initialization="xavier", learning_rate=0.01),
    "gmf with output weights": Hyperparameters(
        initialization="gaussian", learn_output_weight=True, embedding_dim=5, recency=0.7
    ),
}
EVERY = pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
USERS = np.arange(N_USERS, dtype=np.int32)


@pytest.fixture(scope="module")
def history() -> History:
    rng = np.random.default_rng(0)
    is_in = rng.random((N_USERS, N_ITEMS)) < 0.3
    is_in[NEW] = False
    is_in[NEARLY_ALL] = np.arange(N_ITEMS) != 4
    users, items = np.nonzero(is_in)
    order = rng.permutation(len(users))  # the order of time
    return history_of(users[order].astype("i4"), items[order].astype("i4"), N_USERS, N_ITEMS)


@cache
def beside() -> Path:
    """Returns the file of a model that a mixture can be of."""
    rng = np.random.default_rng(5)
    sizes = {"user_factors": (N_USERS, 3), "item_factors": (N_ITEMS, 3), "item_bias": (N_ITEMS,)}
    file = Path(tempfile.mkdtemp()) / "beside.safetensors"
    save_file({name: rng.normal(size=size).astype("f4") for name, size in sizes.items()}, file)
    return file


def epochs_of(
    history: History, setting: Setting, epochs: int = 3, seed: int = 1
) -> Iterator[Epoch]:
    seeds = np.random.SeedSequence(seed)
    return fit(history, setting, epochs=epochs, seed=seeds, beside=beside())


def fitted(history: History, setting: Setting, epochs: int = 3, seed: int = 1) -> Scorer:
    *_, last = epochs_of(history, setting, epochs, seed)
    return last.scorer


@EVERY
def test_the_same_seed_gives_the_same_bits(history: History, setting: Setting) -> None:
    once, again = (fitted(history, setting).arrays() for _ in range(2))
    assert once.keys() == again.keys()
    for name, array in once.items():
        assert array.tobytes() == again[name].tobytes(), name


@EVERY
def test_it_can_be_used_after_every_epoch(history: History, setting: Setting) -> None:
    seen: list[NDArray[np.floating[Any]]] = []
    numbers = []
    for epoch in epochs_of(history, setting):
        seen.append(np.array(epoch.scorer.score_all(USERS)))
        numbers.append(epoch.epoch)
        assert np.isfinite(epoch.loss)
        assert epoch.n_samples >= len(history.items)
        assert seen[-1].shape == (N_USERS, N_ITEMS)
    assert numbers == list(range(1, 1 + (model_of(setting).most_epochs or 3)))
    for before, after in pairwise(seen):
        assert not np.array_equal(before, after)
    unwatched = fitted(history, setting).score_all(USERS)  # to look at a model changes nothing
    np.testing.assert_array_equal(unwatched, seen[-1])


@EVERY
def test_the_epochs_are_those_of_a_longer_training(history: History, setting: Setting) -> None:
    shorter = [epoch.loss for epoch in epochs_of(history, setting, epochs=2)]
    longer = [epoch.loss for epoch in epochs_of(history, setting, epochs=5)]
    assert longer[: len(shorter)] == shorter


@EVERY
def test_candidates_are_scored_as_the_whole_catalogue_is(
    history: History, setting: Setting
) -> None:
    scorer, rng = fitted(history, setting), np.random.default_rng(2)
    users = rng.integers(0, N_USERS, 33).astype(np.int32)
    items = rng.integers(0, N_ITEMS, (33, 6)).astype(np.int32)
    expected = np.take_along_axis(np.asarray(scorer.score_all(users)), items, axis=1)
    np.testing.assert_allclose(scorer.score(users, items), expected, rtol=1e-5, atol=1e-6)


@EVERY
def test_serving_answers_with_the_scores_of_training(
    history: History, setting: Setting, tmp_path: Path
) -> None:
    scorer = fitted(history, setting)
    user_ids, item_ids = np.arange(N_USERS) + 1000, np.arange(N_ITEMS) + 500
    catalogue = Catalogue(user_ids, item_ids, None, history.indptr, history.items)
    write_model(tmp_path, scorer.arrays(), {}, catalogue)
    recommender = load_recommender(tmp_path)
    scores = scorer.score_all(USERS)
    np.testing.assert_array_equal(recommender.scorer.score_all(USERS), scores)
    items = np.tile(np.arange(5), (N_USERS, 1))
    np.testing.assert_array_equal(
        recommender.scorer.score(USERS, items), scorer.score(USERS, items)
    )
    known, unknown, full = recommender.recommend([1000, 5, 1000 + NEARLY_ALL], k=4)
    left = np.setdiff1d(np.arange(N_ITEMS), catalogue.seen_by(0))
    best = left[np.argsort(-scores[0, left], kind="stable")[:4]]
    assert known.known
    assert known.item_ids == (500 + best).tolist()
    assert not unknown.known
    assert len(unknown.item_ids) == 4
    assert full.item_ids == [504]  # the only item that this user has not seen


@EVERY
def test_who_has_no_history_is_scored_too(history: History, setting: Setting) -> None:
    assert np.isfinite(fitted(history, setting).score_all(np.array([NEW]))).all()


@EVERY
def test_copies_of_the_arrays_keep_an_epoch(history: History, setting: Setting) -> None:
    epochs = epochs_of(history, setting)
    first = next(epochs).scorer
    copied = {name: array.copy() for name, array in first.arrays().items()}
    expected = np.array(first.score_all(USERS))
    for _ in epochs:
        pass
    np.testing.assert_array_equal(load_scorer(copied).score_all(USERS), expected)


@EVERY
def test_a_recorded_setting_is_read_again(setting: Setting) -> None:
    name = model_of(setting).name
    recorded = {field: getattr(setting, field) for field in setting.__dataclass_fields__}
    assert setting_of(name, recorded) == setting
    as_text = {field: str(value) for field, value in recorded.items()}  # as MLflow keeps them
    assert setting_of(name, {**as_text, "data": "ml-100k"}) == setting


def test_what_a_record_lacks_is_as_it_was_before_the_field_existed() -> None:
    assert setting_of("gmf", {"embedding_dim": 32}) == replace(Hyperparameters(), embedding_dim=32)
    with pytest.raises(ValueError, match="no model 'bert': known are gmf, "):
        setting_of("bert", {})


def test_arrays_of_no_model_are_refused() -> None:
    with pytest.raises(ValueError, match="no known kind of model: left, right"):
        load_scorer({"left": np.zeros(1), "right": np.zeros(1)})
