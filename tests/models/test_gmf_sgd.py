"""The compiled kernel against torch's autograd, and the epoch's own promises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn.functional import binary_cross_entropy_with_logits

from ncf.models.gmf import kernel, sgd
from ncf.models.gmf.kernel import Parameters, Samples
from ncf.models.gmf.setting import Hyperparameters
from ncf.models.gmf.sgd import sgd_epoch
from ncf.protocol.random import read_only
from ncf.protocol.splitting import History

SETTING = Hyperparameters(n_negatives=4, weight_decay=0.01, learn_output_weight=True)


def random_history(n_users: int, n_items: int, per_user: int, seed: int = 0) -> History:
    rng = np.random.default_rng(seed)
    rows = [np.sort(rng.choice(n_items, per_user, replace=False)) for _ in range(n_users)]
    indptr = np.arange(n_users + 1) * per_user
    return History(indptr, np.concatenate(rows).astype(np.int32), n_items)


def start(n_users: int, n_items: int, dim: int, scale: float = 0.3) -> Parameters:
    rng = np.random.default_rng(1)
    shapes = ((n_users, dim), (n_items, dim), (n_items,), (dim,), (1,), (n_items, 0))
    return Parameters(
        *((rng.standard_normal(shape) * scale).astype(np.float32) for shape in shapes)
    )


def copy(parameters: Parameters) -> Parameters:
    return Parameters._make(array.copy() for array in parameters)


def epoch(
    history: History,
    parameters: Parameters,
    setting: Hyperparameters = SETTING,
    learning_rate: float = 0.05,
    seed: int = 0,
) -> float:
    return sgd_epoch(history, parameters, setting, history.items, learning_rate, seed)


def autograd_epoch(
    parameters: Parameters,
    samples: list[tuple[int, int, float]],
    learning_rate: float,
    weight_decay: float,
    frozen: tuple[str, ...],
) -> tuple[float, dict[str, NDArray[np.float64]]]:
    """One step of torch's SGD for each sample, in float64."""
    tensors = {
        name: torch.tensor(array, dtype=torch.float64, requires_grad=name not in frozen)
        for name, array in parameters._asdict().items()
    }
    optimizer = torch.optim.SGD(
        [tensor for name, tensor in tensors.items() if name not in frozen], lr=learning_rate
    )
    losses = []
    for user, item, label in samples:
        p, q = tensors["user_embedding"][user], tensors["item_embedding"][item]
        c = tensors["item_bias"][item]
        logit = (p * q) @ tensors["output_weight"] + c + tensors["output_bias"]
        loss = binary_cross_entropy_with_logits(logit, torch.full_like(logit, label))
        losses.append(loss.item())
        optimizer.zero_grad()
        (
            loss + weight_decay / 2 * (p.square().sum() + q.square().sum() + c.square().sum())
        ).backward()
        optimizer.step()
    return float(np.mean(losses)), {n: t.detach().numpy() for n, t in tensors.items()}


@pytest.mark.parametrize("dim", [1, 5, 16, 37, 64])
@pytest.mark.parametrize("frozen", [(), ("output_weight",), ("item_bias",)])
def test_epoch_equals_autograd(dim: int, frozen: tuple[str, ...]) -> None:
    history, parameters = random_history(7, 11, 4), start(7, 11, dim)
    setting = replace(
        SETTING,
        n_negatives=3,
        weight_decay=0.02,
        learn_output_weight="output_weight" not in frozen,
        learn_item_bias="item_bias" not in frozen,
    )
    samples = [
        (int(u), int(i), float(n == 0))
        for block in sgd.samples(history, history.items, setting, seed=5)
        for u, *group in zip(block.users, block.positives, *block.negatives.T, strict=True)
        for n, i in enumerate(group)
    ]
    expected_loss, expected = autograd_epoch(parameters, samples, 0.1, 0.02, frozen)
    loss = epoch(history, parameters, setting, learning_rate=0.1, seed=5)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    for name, array in parameters._asdict().items():
        np.testing.assert_allclose(array, expected[name], rtol=2e-5, atol=2e-6, err_msg=name)


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("logit", [-500, -90, -79.9, -20, -0.3, 0, 1e-6, 4, 60, 79.9, 90, 500])
def test_one_sample_equals_autograd_at_any_logit(logit: float, label: int) -> None:
    parameters = start(1, 2, 3)
    parameters.user_embedding[:] = 0
    parameters.output_bias[:] = 0
    parameters.item_bias[:] = logit
    positive, negatives = (0, []) if label else (1, [0])
    if not label:
        parameters.item_bias[1] = 500  # the positive that goes first is learnt: no step, no loss
    expected_loss, expected = autograd_epoch(
        parameters, [(0, 1, 1.0)] * (1 - label) + [(0, 0, float(label))], 0.1, 0.0, ()
    )
    samples = Samples(
        read_only(np.zeros(1, np.int32)),
        read_only(np.array([positive], np.int32)),
        read_only(np.array([negatives], np.int32)),
        read_only(np.empty((1, 0), np.int32)),
    )
    no_weights = read_only(np.empty(0, np.float32))
    loss = kernel.update(
        samples, parameters, no_weights, np.float32(0.1), np.float32(0), True, True
    )
    assert loss == pytest.approx(expected_loss * (2 - label), rel=1e-6, abs=1e-15)
    for name, array in parameters._asdict().items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-6, atol=1e-7, err_msg=name)


def test_epoch_visits_each_positive_once_with_negatives_of_its_user(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sgd, "BLOCK", 64)  # several blocks and a remainder
    history, setting = random_history(30, 50, 7), replace(SETTING, n_negatives=2)
    setting = replace(setting, popular_negatives=0.3)
    orders = []
    for seed in (1, 2):
        blocks = list(sgd.samples(history, history.items, setting, seed))
        users, positives, negatives, _ = map(np.concatenate, zip(*blocks, strict=True))
        pairs = list(zip(users.tolist(), positives.tolist(), strict=True))
        train = list(zip(history.user_of.tolist(), history.items.tolist(), strict=True))
        assert sorted(pairs) == train
        assert negatives.shape == (210, 2)
        drawn = zip(users.repeat(2).tolist(), negatives.ravel().tolist(), strict=True)
        assert not set(train) & set(drawn)
        orders.append(pairs)
    assert orders[0] != orders[1]


def test_equal_seeds_give_equal_epochs_bit_for_bit() -> None:
    history, before = random_history(40, 60, 9), start(40, 60, 24)
    results = []
    for seed in (3, 3, 4):
        parameters = copy(before)
        loss = epoch(history, parameters, seed=seed)
        results.append((loss, [array.tobytes() for array in parameters]))
    assert results[0] == results[1]
    assert results[0] != results[2]


def test_read_only_and_memory_mapped_input_compiles_nothing_new(tmp_path: Path) -> None:
    history, before = random_history(20, 30, 5), start(20, 30, 8)
    mapped = {}
    for name in ("indptr", "items"):
        np.save(tmp_path / f"{name}.npy", getattr(history, name))
        mapped[name] = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
    losses = [epoch(one, copy(before)) for one in (history, replace(history, **mapped))]
    assert losses[0] == losses[1]
    sgd.compile_kernels()
    assert len(kernel.update.signatures) == 1


def test_planted_tastes_are_learnt() -> None:
    """Users of two camps like the items of theirs; half of these are hidden from training."""
    n_users, n_items, per_user = 60, 80, 20
    camp_of_user, camp_of_item = np.arange(n_users) % 2, np.arange(n_items) % 2
    rng = np.random.default_rng(2)
    rows = [
        np.sort(rng.choice(np.flatnonzero(camp_of_item == camp), per_user, replace=False))
        for camp in camp_of_user
    ]
    items = np.concatenate(rows).astype(np.int32)
    history = History(np.arange(n_users + 1) * per_user, items, n_items)
    parameters, setting = start(n_users, n_items, 4, scale=0.1), replace(SETTING, weight_decay=1e-3)
    parameters.output_weight[:] = 1
    losses = [epoch(history, parameters, setting, seed=seed) for seed in range(30)]
    assert losses[-1] < losses[0] / 1.3
    p, q, c, w, *_ = parameters
    logits = (p * w) @ q.T + c
    hidden = np.ones((n_users, n_items), bool)
    hidden[history.user_of, history.items] = False
    own = camp_of_user[:, None] == camp_of_item
    wins = [
        (logits[user, hidden[user] & own[user], None] > logits[user, ~own[user]]).mean()
        for user in range(n_users)
    ]
    assert np.mean(wins) > 0.95


def test_a_diverged_model_shows_in_the_loss() -> None:
    history, parameters = random_history(20, 30, 5), start(20, 30, 8)
    losses = [epoch(history, parameters, learning_rate=1e6, seed=seed) for seed in range(3)]
    assert not np.isfinite(losses[-1])


def _locked(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    ("name", "spoil", "message"),
    [
        ("item_embedding", np.asfortranarray, "must be a writable, C-contiguous float32"),
        ("user_embedding", np.float64, "must be a writable, C-contiguous float32"),
        ("output_weight", _locked, "must be a writable, C-contiguous float32"),
        ("item_bias", lambda array: array[:-1], r"must have shape \(30,\), but has \(29,\)"),
    ],
)
def test_parameters_that_cannot_be_trained_are_refused(
    name: str, spoil: Callable[[NDArray[Any]], NDArray[Any]], message: str
) -> None:
    parameters = start(20, 30, 8)
    spoilt = parameters._replace(**{name: spoil(getattr(parameters, name))})
    with pytest.raises(ValueError, match=f"{name} {message}"):
        epoch(random_history(20, 30, 5), spoilt)
