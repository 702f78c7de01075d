"""The compiled kernel against torch's autograd, and the epoch's own promises."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn.functional import binary_cross_entropy_with_logits

from ncf.models.gmf import sgd
from ncf.models.gmf.sgd import sgd_epoch
from ncf.protocol.sampling import read_only

Parameters = dict[str, Any]  # arrays, by the names of `sgd_epoch`'s arguments


def history(n_users: int, n_items: int, per_user: int, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    rows = [np.sort(rng.choice(n_items, per_user, replace=False)) for _ in range(n_users)]
    return {
        "indptr": np.arange(n_users + 1) * per_user,
        "items": np.concatenate(rows).astype(np.int32),
        "user_of": np.repeat(np.arange(n_users, dtype=np.int32), per_user),
        "n_items": n_items,
    }


def start(n_users: int, n_items: int, dim: int, scale: float = 0.3) -> Parameters:
    rng = np.random.default_rng(1)
    shapes = {
        "user_embedding": (n_users, dim),
        "item_embedding": (n_items, dim),
        "item_bias": (n_items, 1),
        "output_weight": (1, dim),
        "output_bias": (1,),
    }
    return {
        name: (rng.standard_normal(shape) * scale).astype(np.float32)
        for name, shape in shapes.items()
    }


def copy(parameters: Parameters) -> Parameters:
    return {name: array.copy() for name, array in parameters.items()}


def autograd_epoch(
    parameters: Parameters,
    samples: list[tuple[int, int, float]],
    learning_rate: float,
    l2: float,
    frozen: tuple[str, ...],
) -> tuple[float, dict[str, NDArray[np.float64]]]:
    """One step of torch's SGD for each sample, in float64."""
    tensors = {
        name: torch.tensor(array, dtype=torch.float64, requires_grad=name not in frozen)
        for name, array in parameters.items()
    }
    optimizer = torch.optim.SGD(
        [tensor for name, tensor in tensors.items() if name not in frozen], lr=learning_rate
    )
    losses = []
    for user, item, label in samples:
        p, q = tensors["user_embedding"][user], tensors["item_embedding"][item]
        c = tensors["item_bias"][item]
        logit = (p * q) @ tensors["output_weight"][0] + c + tensors["output_bias"]
        loss = binary_cross_entropy_with_logits(logit, torch.full_like(logit, label))
        losses.append(loss.item())
        optimizer.zero_grad()
        (loss + l2 / 2 * (p.square().sum() + q.square().sum() + c.square().sum())).backward()
        optimizer.step()
    return float(np.mean(losses)), {n: t.detach().numpy() for n, t in tensors.items()}


@pytest.mark.parametrize("dim", [1, 5, 16, 37, 64])
@pytest.mark.parametrize("frozen", [(), ("output_weight",), ("item_bias",)])
def test_epoch_equals_autograd(dim: int, frozen: tuple[str, ...]) -> None:
    data, parameters = history(7, 11, 4), start(7, 11, dim)
    settings: dict[str, Any] = {"n_negatives": 3, "seed": 5}
    samples = [
        (int(u), int(i), float(n == 0))
        for users, positives, negatives in sgd._samples(
            **data, **settings, positives=data["items"], popular_negatives=0
        )
        for u, *group in zip(users, positives, *negatives.T, strict=True)
        for n, i in enumerate(group)
    ]
    expected_loss, expected = autograd_epoch(parameters, samples, 0.1, 0.02, frozen)
    loss = sgd_epoch(
        **data,
        **parameters,
        **settings,
        learning_rate=0.1,
        l2=0.02,
        learn_output_weight="output_weight" not in frozen,
        learn_item_bias="item_bias" not in frozen,
    )
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    for name, array in parameters.items():
        np.testing.assert_allclose(array, expected[name], rtol=2e-5, atol=2e-6, err_msg=name)


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("logit", [-500, -90, -79.9, -20, -0.3, 0, 1e-6, 4, 60, 79.9, 90, 500])
def test_one_sample_equals_autograd_at_any_logit(logit: float, label: int) -> None:
    parameters = start(1, 2, 3)
    for name in ("user_embedding", "output_bias"):
        parameters[name][:] = 0
    parameters["item_bias"][:] = logit
    positive, negatives = (0, []) if label else (1, [0])
    if not label:
        parameters["item_bias"][1] = 500  # the positive that goes first is learnt: no step, no loss
    expected_loss, expected = autograd_epoch(
        parameters, [(0, 1, 1.0)] * (1 - label) + [(0, 0, float(label))], 0.1, 0.0, ()
    )
    loss = sgd._update(
        read_only(np.zeros(1, np.int32)),
        read_only(np.array([positive], np.int32)),
        read_only(np.array([negatives], np.int32)),
        parameters["user_embedding"],
        parameters["item_embedding"],
        parameters["item_bias"].reshape(-1),
        parameters["output_weight"].reshape(-1),
        parameters["output_bias"],
        np.float32(0.1),
        np.float32(0),
        True,
        True,
    )
    assert loss == pytest.approx(expected_loss * (2 - label), rel=1e-6, abs=1e-15)
    for name, array in parameters.items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-6, atol=1e-7, err_msg=name)


def test_epoch_visits_each_positive_once_with_negatives_of_its_user(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sgd, "BLOCK", 64)  # several blocks and a remainder
    data = history(30, 50, 7)
    orders = []
    for seed in (1, 2):
        blocks = list(
            sgd._samples(
                **data, positives=data["items"], n_negatives=2, popular_negatives=0.3, seed=seed
            )
        )
        users, positives, negatives = (np.concatenate(part) for part in zip(*blocks, strict=True))
        pairs = list(zip(users.tolist(), positives.tolist(), strict=True))
        train = list(zip(data["user_of"].tolist(), data["items"].tolist(), strict=True))
        assert sorted(pairs) == train
        assert negatives.shape == (210, 2)
        drawn = zip(users.repeat(2).tolist(), negatives.ravel().tolist(), strict=True)
        assert not set(train) & set(drawn)
        orders.append(pairs)
    assert orders[0] != orders[1]


def test_equal_seeds_give_equal_epochs_bit_for_bit() -> None:
    data, before = history(40, 60, 9), start(40, 60, 24)
    results = []
    for seed in (3, 3, 4):
        parameters = copy(before)
        loss = sgd_epoch(
            **data, **parameters, n_negatives=4, learning_rate=0.05, l2=0.01, seed=seed
        )
        results.append((loss, {name: array.tobytes() for name, array in parameters.items()}))
    assert results[0] == results[1]
    assert results[0] != results[2]


def test_read_only_and_memory_mapped_input_compiles_nothing_new(tmp_path: Path) -> None:
    data, before = history(20, 30, 5), start(20, 30, 8)
    mapped = dict(data)
    for name in ("indptr", "items", "user_of"):
        np.save(tmp_path / f"{name}.npy", data[name])
        mapped[name] = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
    results = []
    for arrays in (data, mapped):
        parameters = copy(before)
        results.append(
            sgd_epoch(**arrays, **parameters, n_negatives=2, learning_rate=0.1, l2=0.0, seed=0)
        )
    assert results[0] == results[1]
    sgd.compile_kernels()
    assert len(sgd._update.signatures) == 1


def test_trains_the_parameters_of_a_torch_module_in_place() -> None:
    data, model = history(20, 30, 5), torch.nn.Embedding(20, 8)
    parameters = start(20, 30, 8)
    parameters["user_embedding"] = model.weight.detach().numpy()
    before = model.weight.detach().clone()
    sgd_epoch(**data, **parameters, n_negatives=2, learning_rate=0.1, l2=0.0, seed=0)
    assert (model.weight != before).all()


def test_planted_tastes_are_learnt() -> None:
    """Users of two camps like the items of theirs; half of these are hidden from training."""
    n_users, n_items, per_user = 60, 80, 20
    camp_of_user, camp_of_item = np.arange(n_users) % 2, np.arange(n_items) % 2
    rng = np.random.default_rng(2)
    rows = [
        np.sort(rng.choice(np.flatnonzero(camp_of_item == camp), per_user, replace=False))
        for camp in camp_of_user
    ]
    data: dict[str, Any] = {
        "indptr": np.arange(n_users + 1) * per_user,
        "items": np.concatenate(rows).astype(np.int32),
        "user_of": np.repeat(np.arange(n_users, dtype=np.int32), per_user),
        "n_items": n_items,
    }
    parameters = start(n_users, n_items, 4, scale=0.1)
    parameters["output_weight"][:] = 1
    losses = [
        sgd_epoch(**data, **parameters, n_negatives=4, learning_rate=0.05, l2=0.001, seed=epoch)
        for epoch in range(30)
    ]
    assert losses[-1] < losses[0] / 1.3
    p, q, c, w, _ = parameters.values()
    logits = (p * w) @ q.T + c.T
    hidden = np.ones((n_users, n_items), bool)
    hidden[data["user_of"], data["items"]] = False
    own = camp_of_user[:, None] == camp_of_item
    wins = [
        (logits[user, hidden[user] & own[user], None] > logits[user, ~own[user]]).mean()
        for user in range(n_users)
    ]
    assert np.mean(wins) > 0.95


def test_a_diverged_model_shows_in_the_loss() -> None:
    data, parameters = history(20, 30, 5), start(20, 30, 8)
    losses = [
        sgd_epoch(**data, **parameters, n_negatives=4, learning_rate=1e6, l2=0.0, seed=epoch)
        for epoch in range(3)
    ]
    assert not np.isfinite(losses[-1])


def _strided(parameters: Parameters) -> None:
    parameters["item_embedding"] = np.asfortranarray(parameters["item_embedding"])


def _double(parameters: Parameters) -> None:
    parameters["user_embedding"] = parameters["user_embedding"].astype(np.float64)


def _short(parameters: Parameters) -> None:
    parameters["item_bias"] = parameters["item_bias"][:-1].copy()


def _locked(parameters: Parameters) -> None:
    parameters["output_weight"].flags.writeable = False


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_strided, "item_embedding must be a writable, C-contiguous float32"),
        (_double, "user_embedding must be a writable, C-contiguous float32"),
        (_locked, "output_weight must be a writable, C-contiguous float32"),
        (_short, r"item_bias must have shape \(30,\), but has \(29, 1\)"),
    ],
)
def test_parameters_that_cannot_be_trained_are_refused(
    spoil: Callable[[Parameters], None], message: str
) -> None:
    parameters = start(20, 30, 8)
    spoil(parameters)
    with pytest.raises(ValueError, match=message):
        sgd_epoch(
            **history(20, 30, 5),
            **parameters,
            n_negatives=1,
            learning_rate=0.1,
            l2=0.0,
            seed=0,
        )
