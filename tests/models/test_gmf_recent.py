"""The recent block against plain numpy, one sample after another, and what it may see."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ncf.models.gmf import sgd
from ncf.models.gmf.fit import fit, scorer_of
from ncf.models.gmf.kernel import Parameters, Samples, update
from ncf.models.gmf.module import GMF
from ncf.models.gmf.recent import items_at, items_before, latest_items, recent_weights
from ncf.models.gmf.setting import Hyperparameters
from ncf.models.gmf.sgd import sgd_epoch
from ncf.models.gmf.start import start
from ncf.models.positives import draw_positions
from ncf.protocol.metrics import summarize
from ncf.protocol.random import read_only
from ncf.protocol.ranks import sampled_ranks
from ncf.protocol.splitting import HeldOut, History, append, history_of

N_USERS, N_ITEMS = 9, 14
SETTING = Hyperparameters(
    embedding_dim=5,
    recent_dim=3,
    n_recent=4,
    recent_decay=0.8,
    n_negatives=2,
    weight_decay=0.02,
    recency=0.5,
    learn_output_weight=True,
)


def ordered(seed: int = 0) -> tuple[History, list[list[int]]]:
    """Returns a history and each user's items oldest first; user 3 has one, user 4 none."""
    rng = np.random.default_rng(seed)
    lengths = [6, 3, 9, 1, 0, 5, 7, 2, 8]
    rows = [rng.permutation(N_ITEMS)[:n].tolist() for n in lengths]
    users = np.repeat(np.arange(N_USERS, dtype=np.int32), lengths)
    items = np.array([item for row in rows for item in row], np.int32)
    return history_of(users, items, N_USERS, N_ITEMS), rows


def random_parameters(history: History, setting: Hyperparameters, seed: int = 3) -> Parameters:
    rng = np.random.default_rng(seed)
    zeros = start(history, replace(setting, initialization="gaussian"), 0)
    return Parameters._make(
        (0.4 * rng.standard_normal(array.shape)).astype(np.float32) for array in zeros
    )


def one(value: int) -> NDArray[np.int32]:
    return np.array([value], np.int32)


def weights_by_hand(setting: Hyperparameters) -> list[float]:
    powers = [a**-setting.recent_decay for a in range(1, setting.n_recent + 1)]
    return [power / sum(p * p for p in powers) ** 0.5 for power in powers]


def sgd_by_hand(
    rows: list[list[int]],
    parameters: Parameters,
    setting: Hyperparameters,
    visits: list[tuple[int, int, list[int]]],
    learning_rate: float,
) -> tuple[float, list[NDArray[np.float64]]]:
    """One update after another, in float64, of visits (user, position, negatives)."""
    p, q, c, w, b, x_rows = (array.astype(np.float64) for array in parameters)
    shares, losses, dim = weights_by_hand(setting), [], p.shape[1]
    for user, position, negatives in visits:
        before = rows[user][:position][::-1][: setting.n_recent]
        x = np.zeros(x_rows.shape[1])
        for share, item in zip(shares, before, strict=False):
            x += share * x_rows[item]
        at_first = x.copy()
        for n, item in enumerate([rows[user][position], *negatives]):
            v, z = np.concatenate([p[user], x]), q[item].copy()
            logit = (w * v * z).sum() + c[item] + b[0]
            probability = 1 / (1 + np.exp(-logit))
            losses.append(-np.log(probability if n == 0 else 1 - probability))
            g = probability - (n == 0)
            moved = v - learning_rate * (g * w * z + setting.weight_decay * v)
            q[item] = z - learning_rate * (g * w * v + setting.weight_decay * z)
            w = w - learning_rate * g * v * z
            b = b - learning_rate * g
            c[item] -= learning_rate * (g + setting.weight_decay * c[item])
            p[user], x = moved[:dim], moved[dim:]
        for share, item in zip(shares, before, strict=False):
            x_rows[item] += share * (x - at_first)
    return float(np.mean(losses)), [p, q, c, w, b, x_rows]


@pytest.mark.parametrize("embedding_dim", [0, 5, 16])
@pytest.mark.parametrize("n_recent", [1, 4, 20])
def test_an_epoch_is_the_formula(embedding_dim: int, n_recent: int) -> None:
    history, rows = ordered()
    setting = replace(SETTING, embedding_dim=embedding_dim, n_recent=n_recent)
    parameters = random_parameters(history, setting)
    positions = draw_positions(history, setting.recency, 8)
    visits = []
    for block in sgd.samples(history, positions, setting, seed=5):
        for user, positive, negatives in zip(
            block.users, block.positives, block.negatives, strict=True
        ):
            visits.append((int(user), rows[user].index(positive), negatives.tolist()))
    expected_loss, expected = sgd_by_hand(rows, parameters, setting, visits, 0.1)
    loss = sgd_epoch(history, parameters, setting, positions, 0.1, seed=5)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    for name, array, by_hand in zip(Parameters._fields, parameters, expected, strict=True):
        np.testing.assert_allclose(array, by_hand, rtol=3e-5, atol=3e-6, err_msg=name)


def test_positions_are_visited_as_items_are_without_a_block() -> None:
    history, rows = ordered()
    positions = draw_positions(history, 0.0, 1)
    items = items_at(history, history.user_of, positions)
    assert items.tolist() == [item for row in rows for item in row]


# What it may see


def test_only_earlier_items_are_before_a_position() -> None:
    history, rows = ordered()
    for user, row in enumerate(rows):
        for position in range(len(row) + 1):
            (found,) = items_before(history, one(user), one(position), 4)
            expected = row[:position][::-1][:4]
            assert found.tolist() == expected + [-1] * (4 - len(expected))
    assert latest_items(history, 2).tolist() == [[*row[::-1], -1, -1][:2] for row in rows]


def test_nothing_at_or_after_the_visited_position_is_read() -> None:
    """Whatever is not before it would make everything that is learnt not a number."""
    history, rows = ordered()
    user, position = 2, 5
    parameters = random_parameters(history, SETTING)
    not_before = np.setdiff1d(np.arange(N_ITEMS), rows[user][:position])
    parameters.recent_embedding[not_before] = np.nan
    (block,) = sgd.samples(history, draw_positions(history, 0.0, 0), SETTING, seed=1)
    at = [
        k for k, (u, item) in enumerate(zip(block.users, block.positives, strict=True))
        if u == user and rows[user].index(item) == position
    ]  # fmt: skip
    one = Samples(*(read_only(array[at]) for array in block))
    weights = read_only(recent_weights(SETTING))
    loss = update(one, parameters, weights, np.float32(0.1), np.float32(0), True, True)
    assert np.isfinite(loss)
    assert np.isfinite(parameters.user_embedding).all()
    assert np.isfinite(parameters.recent_embedding[rows[user][:position]]).all()


def test_the_first_item_of_a_user_has_none_before() -> None:
    history, _ = ordered()
    parameters = random_parameters(history, SETTING)
    before = parameters.recent_embedding.copy()
    positions = np.zeros(len(history.items), np.int32)  # the first of each, again and again
    sgd_epoch(history, parameters, SETTING, positions, 0.1, seed=0)
    np.testing.assert_array_equal(parameters.recent_embedding, before)


def test_the_scorer_reads_the_last_items_of_its_history() -> None:
    history, rows = ordered()
    parameters = random_parameters(history, SETTING)
    p, q, c, w, b, x_rows = (array.astype(np.float64) for array in parameters)
    scorer = scorer_of(parameters, SETTING, latest_items(history, SETTING.n_recent))
    users = np.array([3, 4, 8, 0])
    expected = []
    for user in users:
        last = rows[user][::-1][: SETTING.n_recent]
        x = sum(
            (s * x_rows[i] for s, i in zip(weights_by_hand(SETTING), last, strict=False)),
            np.zeros(SETTING.recent_dim),
        )
        expected.append((w * np.concatenate([p[user], x])) @ q.T + c + b)
    np.testing.assert_allclose(scorer.score_all(users), expected, rtol=1e-5, atol=1e-6)
    given = scorer.score_given(8, np.array(rows[8]))
    np.testing.assert_allclose(given, expected[2], rtol=1e-5, atol=1e-6)


def test_a_fit_on_more_history_reads_the_later_items() -> None:
    """The winner's fit on train and validation: the validation items are the last ones."""
    history, rows = ordered()
    users = np.array([0, 1], np.int32)
    items = np.array([next(i for i in range(N_ITEMS) if i not in rows[u]) for u in users], np.int32)
    longer = append(history, HeldOut(users, items))
    assert latest_items(longer, 3)[:2].tolist() == [[items[u], *rows[u][::-1][:2]] for u in users]


# The order


def walks(n_users: int, length: int, seed: int) -> tuple[History, HeldOut]:
    """Users step from an item to its successor, from a start of their own; the last is held out."""
    rng, n_items = np.random.default_rng(seed), 60
    first = rng.integers(0, n_items, n_users)
    rows = (first[:, None] + np.arange(length)) % n_items
    users = np.repeat(np.arange(n_users, dtype=np.int32), length - 1)
    train = history_of(users, rows[:, :-1].astype("i4").ravel(), n_users, n_items)
    return train, HeldOut(np.arange(n_users, dtype=np.int32), rows[:, -1].astype("i4"))


def quality(history: History, held_out: HeldOut, setting: Hyperparameters) -> float:
    others = np.random.default_rng(1).integers(0, history.n_items, (len(held_out.users), 20))
    candidates = np.column_stack([held_out.items, others]).astype(np.int32)
    candidates[:, 1:][others == held_out.items[:, None]] = -1
    *_, last = fit(history, setting, epochs=15, seed=np.random.SeedSequence(0))
    return summarize(sampled_ranks(last.scorer, held_out.users, candidates), 3)["ndcg_3"]


@pytest.mark.parametrize("optimizer", ["sgd", pytest.param("adam", marks=pytest.mark.slow)])
@pytest.mark.parametrize("embedding_dim", [0, 8])
def test_the_order_of_the_items_is_learnt(optimizer: str, embedding_dim: int) -> None:
    train, held_out = walks(150, 12, seed=2)
    setting = Hyperparameters(
        optimizer="sgd" if optimizer == "sgd" else "adam",
        embedding_dim=embedding_dim,
        n_recent=3,
        recent_dim=16,
        recent_decay=1.5,
        learning_rate=0.05 if optimizer == "sgd" else 0.02,
        weight_decay=1e-3 if optimizer == "sgd" else 1e-6,
        n_negatives=8,
        init_rms=0.3,
        batch_size=256,
    )
    assert train.by_time is not None
    shuffled = train.by_time.copy()
    for begin, end in zip(train.indptr, train.indptr[1:], strict=False):
        np.random.default_rng(begin).shuffle(shuffled[begin:end])
    in_order = quality(train, held_out, setting)
    assert in_order > 0.8
    assert in_order > quality(replace(train, by_time=shuffled), held_out, setting) + 0.2


# Without it, and by PyTorch


def test_without_it_its_other_settings_change_no_bit() -> None:
    history, _ = ordered()
    plain = Hyperparameters(embedding_dim=6, recency=0.7)
    found = []
    for setting in (plain, replace(plain, recent_dim=9, recent_decay=3.0)):
        *_, last = fit(history, setting, epochs=2, seed=np.random.SeedSequence(4))
        found.append(last.scorer.arrays())
    assert found[0].keys() == found[1].keys() == {"user_factors", "item_factors", "item_bias"}
    for name, array in found[0].items():
        assert array.tobytes() == found[1][name].tobytes(), name


def test_the_module_agrees_with_the_scorer() -> None:
    history, _ = ordered()
    parameters = random_parameters(history, SETTING)
    recents = latest_items(history, SETTING.n_recent)
    module = GMF(parameters, recent_weights(SETTING))
    users = torch.arange(N_USERS)
    everything = torch.arange(N_ITEMS).repeat(N_USERS, 1)
    logits = module(users, everything, torch.from_numpy(recents).long())
    expected = scorer_of(parameters, SETTING, recents).score_all(users.numpy())
    np.testing.assert_allclose(logits.detach().numpy(), expected, rtol=1e-5, atol=1e-5)
    logits.sum().backward()
    seen = np.unique(recents[recents >= 0])
    gradient = module.recent_embedding.grad
    assert gradient is not None
    assert gradient[seen].abs().min() > 0
    assert gradient[np.setdiff1d(np.arange(N_ITEMS), seen)].abs().sum() == 0


def test_a_spectral_start_has_the_same_factors_before_a_target_and_as_one() -> None:
    history, _ = ordered()
    parameters = start(history, replace(SETTING, init_rms=0.2), 0)
    np.testing.assert_array_equal(parameters.recent_embedding, parameters.item_embedding[:, 5:])
    size = np.sqrt(np.mean(parameters.recent_embedding**2))
    assert size == pytest.approx(0.2, rel=1e-3)
    alone = start(history, replace(SETTING, embedding_dim=0), 0)
    assert alone.user_embedding.shape == (N_USERS, 0)
    np.testing.assert_array_equal(alone.item_embedding, alone.recent_embedding)


@pytest.mark.parametrize("initialization", ["spectral", "gaussian"])
def test_the_factors_begin_with_a_line_of_the_cache(
    initialization: Literal["spectral", "gaussian"],
) -> None:
    history, _ = ordered()
    parameters = start(history, replace(SETTING, initialization=initialization), 0)
    for factors in (
        parameters.user_embedding,
        parameters.item_embedding,
        parameters.recent_embedding,
    ):
        assert factors.ctypes.data % 64 == 0  # else a row of 16 columns lies in two lines


def test_an_order_that_is_not_known_is_an_error() -> None:
    history, _ = ordered()
    unordered = History(history.indptr, history.items, N_ITEMS)
    with pytest.raises(ValueError, match="by_time"):
        next(islice(fit(unordered, SETTING, epochs=1, seed=np.random.SeedSequence(0)), 1))
