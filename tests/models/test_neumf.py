"""MLP and NeuMF against the paper's formulas, in plain numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ncf.models.neumf.fit import fit
from ncf.models.neumf.module import NeuMF
from ncf.models.neumf.setting import (
    MLPHyperparameters,
    NeuMFHyperparameters,
    NeuralSetting,
    describe,
)
from ncf.models.neumf.start import fill, join
from ncf.protocol.metrics import summarize
from ncf.protocol.ranks import sampled_ranks
from ncf.protocol.splitting import History, Split
from ncf.serving import towers
from ncf.serving.scorers import Popularity, Scorer
from ncf.trials.data import TrialData

N_USERS, N_ITEMS = 6, 9
SHAPES = pytest.mark.parametrize(
    ("gmf_dim", "mlp_dim", "n_layers"), [(0, 8, 3), (0, 5, 1), (4, 8, 2), (3, 4, 1), (4, 0, 3)]
)


def filled(gmf_dim: int, mlp_dim: int, n_layers: int, seed: int = 0) -> NeuMF:
    """Returns a module in which every parameter matters."""
    module = NeuMF(N_USERS, N_ITEMS, gmf_dim, mlp_dim, n_layers)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return module


def logit_by_hand(module: NeuMF, user: int, item: int) -> float:
    a: dict[str, NDArray[Any]] = {
        name: tensor.double().numpy() for name, tensor in module.state_dict().items()
    }
    logit = a["output_bias"][0]
    logit += (a["gmf_output"] * a["gmf_users"][user] * a["gmf_items"][item]).sum()
    first = np.concatenate([a["first_of_users"], a["first_of_items"]], axis=1)
    both = np.concatenate([a["mlp_users"][user], a["mlp_items"][item]])
    hidden = np.maximum(first @ both + a["first_bias"], 0)
    for k in range(len(module.weights)):
        hidden = np.maximum(a[f"weights.{k}"] @ hidden + a[f"biases.{k}"], 0)
    return float(logit + (a["mlp_output"] * hidden).sum())


def everything() -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    users = np.arange(N_USERS, dtype=np.int32)
    return users, np.tile(np.arange(N_ITEMS, dtype=np.int32), (N_USERS, 1))


@SHAPES
def test_module_and_scorer_are_the_formula(gmf_dim: int, mlp_dim: int, n_layers: int) -> None:
    module = filled(gmf_dim, mlp_dim, n_layers)
    users, items = everything()
    expected = [[logit_by_hand(module, u, i) for i in range(N_ITEMS)] for u in users]
    logits = module(torch.from_numpy(users).long(), torch.from_numpy(items).long())
    np.testing.assert_allclose(logits.detach().numpy(), expected, rtol=1e-4, atol=1e-4)
    few = module(torch.tensor([2, 0]), torch.tensor([[3], [8]])).detach().numpy()
    np.testing.assert_allclose(few, [[expected[2][3]], [expected[0][8]]], rtol=1e-4, atol=1e-4)
    if mlp_dim:
        scorer = module.scorer()
        for scores in (scorer.score(users, items), scorer.score_all(users)):
            assert scores.dtype == np.float32
            np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-4)


def test_some_users_at_a_time_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    scorer = filled(4, 8, 2).scorer()
    users, items = everything()
    whole = scorer.score_all(users), scorer.score(users, items[:, :4])
    monkeypatch.setattr(towers, "BLOCK_BYTES", 4 * N_ITEMS * 8 * 2)  # two users
    np.testing.assert_allclose(scorer.score_all(users), whole[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(scorer.score(users, items[:, :4]), whole[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("gmf_dim", "n_inputs"), [(0, 8), (4, 8)])
def test_every_parameter_gets_a_gradient(gmf_dim: int, n_inputs: int) -> None:
    module = filled(gmf_dim, n_inputs, 2)
    users, items = (torch.from_numpy(array).long() for array in everything())
    module(users, items).square().sum().backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None or not parameter.numel(), name
        if parameter.numel():
            assert parameter.grad is not None
            assert parameter.grad.abs().sum() > 0, name


def test_a_pretrained_start_is_the_mean_of_both(split: Split) -> None:
    gmf, mlp = filled(4, 0, 2, seed=1), filled(0, 8, 2, seed=2)
    module = filled(4, 8, 2, seed=3)
    join(module, gmf, mlp)
    users, items = (torch.from_numpy(array).long() for array in everything())
    mean = (gmf(users, items) + mlp(users, items)) / 2  # alpha = 0.5
    torch.testing.assert_close(module(users, items), mean, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_pretraining_starts_ahead(trial_data: TrialData) -> None:
    def first_loss(pretraining_epochs: int) -> float:
        setting = NeuMFHyperparameters(
            8, 8, 2, pretraining_epochs, "gaussian", learning_rate=0.02, batch_size=256
        )
        epochs = fit(trial_data.train, setting, epochs=1, seed=np.random.SeedSequence(0))
        return next(epochs).loss

    assert first_loss(10) < 0.9 * first_loss(0)


def test_a_gaussian_start_is_that_of_the_authors_code() -> None:
    tall = History(np.arange(2001), np.arange(2000, dtype=np.int32) % 100, 100)
    setting = NeuMFHyperparameters(32, 32, 3, initialization="gaussian")
    module = NeuMF(2000, 100, 32, 32, 3)
    fill(module, tall, setting, 1, None)
    for rows in (module.gmf_users, module.gmf_items, module.mlp_users, module.mlp_items):
        assert rows.std().item() == pytest.approx(0.01, rel=0.1)
    bound = (6 / (64 + 32)) ** 0.5  # Xavier-uniform over both halves of the first layer
    for half in (module.first_of_users, module.first_of_items):
        assert 0.9 * bound < half.max().item() <= bound
    output = torch.cat([module.gmf_output, module.mlp_output])
    assert 0.7 * (3 / 40) ** 0.5 < output.abs().max().item() <= (3 / 40) ** 0.5
    for bias in (module.first_bias, *module.biases, module.output_bias):
        assert not bias.any()


@pytest.mark.slow
@pytest.mark.parametrize(
    "setting",
    [
        MLPHyperparameters(16, 2, learning_rate=0.02, batch_size=256),
        NeuMFHyperparameters(8, 16, 2, learning_rate=0.02, batch_size=256),
    ],
    ids=["mlp", "neumf"],
)
def test_planted_tastes_are_learnt(setting: NeuralSetting, trial_data: TrialData) -> None:
    def ndcg_of(scorer: Scorer) -> float:
        users = trial_data.validation.users
        return summarize(sampled_ranks(scorer, users, trial_data.candidates), 10)["ndcg_10"]

    *_, last = fit(trial_data.train, setting, epochs=8, seed=np.random.SeedSequence(0))
    assert ndcg_of(last.scorer) > 2 * ndcg_of(
        Popularity(trial_data.train.popularity.astype(np.float64))
    )


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"mlp_dim": 0}, "mlp_dim >= 1"),
        ({"mlp_dim": 3, "n_layers": 3}, r"mlp_dim >= 2\^\(n_layers - 1\) = 4"),
        ({"initialization": "xavier"}, "initialization in"),
        ({"learning_rate": 0.0}, "0 < learning_rate < inf"),
        ({"popular_negatives": 1.5}, "0 <= popular_negatives <= 1"),
    ],
)
def test_settings_that_cannot_be_are_refused(values: dict[str, Any], rule: str) -> None:
    for kind in (MLPHyperparameters, NeuMFHyperparameters):
        with pytest.raises(ValueError, match=rule):
            kind(**values)


def test_settings_are_told_apart() -> None:
    assert describe(MLPHyperparameters()) == (
        "mlp 32, 3 layers · lr 0.003 · neg 8 · L2 1e-06 · batch 8192"
    )
    assert describe(NeuMFHyperparameters()).startswith("dim 32 + mlp 32, 3 layers")
