"""Both optimizers on planted tastes, and what an epoch may draw, see and depend on.

Two tricks make an epoch's parts visible. With a learning rate of 1e-30 no weight moves, so the loss
is a plain function of the start and the negatives. Where every user has all items but one, the
negatives are forced to be that one.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import Any, Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn.functional import binary_cross_entropy_with_logits

from ncf.models import minibatches
from ncf.models.gmf import fit as gmf_fit
from ncf.models.gmf.fit import fit
from ncf.models.gmf.kernel import Parameters
from ncf.models.gmf.module import GMF
from ncf.models.gmf.setting import Hyperparameters
from ncf.models.gmf.start import start as start_of
from ncf.models.model import Epoch
from ncf.models.negatives import draw_negatives
from ncf.models.training import choose_device
from ncf.protocol.metrics import summarize
from ncf.protocol.ranks import sampled_ranks
from ncf.protocol.splitting import History, Split, history_of
from ncf.serving.factors import Factors
from ncf.serving.scorers import Popularity, Scorer
from ncf.trials.data import TrialData

ADAM = Hyperparameters(  # everything that an expectation here rests on, whatever the defaults
    optimizer="adam",
    initialization="xavier",
    embedding_dim=8,
    learning_rate=0.02,
    learning_rate_decay=1.0,
    weight_decay=0.0,
    n_negatives=4,
    batch_size=256,
    learn_output_weight=True,
)
SGD = replace(ADAM, optimizer="sgd", learning_rate=0.05)
SPECTRAL = replace(SGD, initialization="spectral")
GAUSSIAN = replace(ADAM, initialization="gaussian")
BOTH = pytest.mark.parametrize("setting", [ADAM, SGD], ids=["adam", "sgd"])
ALL = pytest.mark.parametrize(
    "setting",
    [ADAM, SGD, SPECTRAL, GAUSSIAN],
    ids=["adam", "sgd", "sgd-spectral", "adam-gaussian"],
)
STILL = 1e-30  # a learning rate that moves no weight
HELD_OUT = 2  # of `one_untouched`


def epochs_of(
    history: History, setting: Hyperparameters, epochs: int, seed: int = 0
) -> list[Epoch]:
    return list(fit(history, setting, epochs=epochs, seed=np.random.SeedSequence(seed)))


def factors(epoch: Epoch) -> Factors:
    """Returns a copy of the scorer, which the next epoch does not change."""
    users, items, bias = (array.copy() for array in epoch.scorer.arrays().values())
    return Factors(users, items, bias)


def one_untouched(n_users: int = 6, n_items: int = 5) -> History:
    """Returns a history in which every user has all items but `HELD_OUT`."""
    users = np.repeat(np.arange(n_users, dtype=np.int32), n_items - 1)
    items = np.tile(np.delete(np.arange(n_items, dtype=np.int32), HELD_OUT), n_users)
    return history_of(users, items, n_users, n_items)


# Learning


@ALL
def test_planted_tastes_are_learnt(setting: Hyperparameters, trial_data: TrialData) -> None:
    users, candidates = trial_data.validation.users, trial_data.candidates

    def ndcg_of(model: Scorer) -> float:
        return summarize(sampled_ranks(model, users, candidates), 10)["ndcg_10"]

    popularity = Popularity(trial_data.train.popularity.astype(np.float64))
    results = epochs_of(trial_data.train, setting, epochs=12)
    assert ndcg_of(results[-1].scorer) > 2 * ndcg_of(popularity)
    assert [result.epoch for result in results] == list(range(1, 13))
    losses = [result.loss for result in results]
    assert losses[0] < 1
    assert losses[-1] < 0.9 * losses[0]
    assert results[0].n_samples == len(trial_data.train.items) * 5
    assert all(result.seconds > 0 for result in results)


# Seeds


@ALL
def test_equal_seeds_give_equal_weights_bit_for_bit(setting: Hyperparameters, split: Split) -> None:
    torch.manual_seed(1)  # the global generators are not part of it
    first = epochs_of(split.train, setting, epochs=2, seed=7)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    same = epochs_of(split.train, setting, epochs=2, seed=7)
    assert torch.equal(torch.get_rng_state(), state)
    assert [result.loss for result in same] == [result.loss for result in first]
    for name, array in first[-1].scorer.arrays().items():
        np.testing.assert_array_equal(same[-1].scorer.arrays()[name], array, name)


@ALL
def test_another_seed_gives_other_weights(setting: Hyperparameters, split: Split) -> None:
    first, other = (epochs_of(split.train, setting, 1, seed)[-1] for seed in (7, 8))
    assert first.loss != other.loss
    assert not np.array_equal(factors(first).item_factors, factors(other).item_factors)


@BOTH
def test_epochs_do_not_depend_on_how_many_are_asked_for(
    setting: Hyperparameters, split: Split
) -> None:
    """A trial that was stopped early had the same epochs as one that was not."""
    long = fit(split.train, setting, epochs=9, seed=np.random.SeedSequence(0))
    losses = [result.loss for result in islice(long, 2)]
    assert [result.loss for result in epochs_of(split.train, setting, epochs=2)] == losses


# Negatives


@BOTH
def test_negatives_are_fresh_every_epoch(setting: Hyperparameters, split: Split) -> None:
    results = epochs_of(split.train, replace(setting, learning_rate=STILL), epochs=4)
    losses = [result.loss for result in results]
    distances = [abs(a - b) for n, a in enumerate(losses) for b in losses[:n]]
    assert min(distances) > 1e-5  # rounding alone would leave a tenth of that
    assert max(distances) < 0.02  # the weights did not move


@BOTH
def test_the_held_out_item_is_drawn_as_a_negative_and_train_items_are_not(
    setting: Hyperparameters,
) -> None:
    history = one_untouched()
    *_, last = epochs_of(history, replace(setting, learning_rate=0.05, batch_size=5), epochs=30)
    logits = last.scorer.score_all(np.arange(history.n_users, dtype=np.int32))
    assert (logits[:, HELD_OUT] < -0.5).all()
    assert (np.delete(logits, HELD_OUT, axis=1) > 0.5).all()


def test_negatives_of_adam_by_watching_the_draws(
    split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[NDArray[np.int32], NDArray[np.int32]]] = []

    def watch(
        history: History, users: NDArray[np.int32], n: int, seed: int, popular_negatives: float
    ) -> NDArray[np.int32]:
        negatives = draw_negatives(history, users, n, seed, popular_negatives=popular_negatives)
        drawn.append((users, negatives))
        return negatives

    monkeypatch.setattr(minibatches, "draw_negatives", watch)
    epochs_of(split.train, ADAM, epochs=3)
    train_pairs = {*zip(split.train.user_of.tolist(), split.train.items.tolist(), strict=True)}
    pairs: list[set[tuple[int, int]]] = []
    for users, negatives in drawn:
        assert negatives.shape == (len(split.train.items), ADAM.n_negatives)
        assert np.array_equal(np.sort(users), split.train.user_of)
        pairs.append({*zip(np.repeat(users, 4).tolist(), negatives.ravel().tolist(), strict=True)})
        assert not pairs[-1] & train_pairs
    assert len(pairs) == 3
    assert pairs[0] != pairs[1] != pairs[2] != pairs[0]
    test_pairs = {*zip(split.test.users.tolist(), split.test.items.tolist(), strict=True)}
    assert pairs[0] & test_pairs  # leaving them out would tell which items are held out


def test_a_user_who_has_everything_is_an_error() -> None:
    history = history_of(
        np.array([0, 0, 1], np.int32), np.array([0, 1, 0], np.int32), n_users=2, n_items=2
    )
    with pytest.raises(ValueError, match="untouched item"):
        next(fit(history, ADAM, epochs=1, seed=np.random.SeedSequence(0)))


# The optimizers


@BOTH
def test_the_learning_rate_decays_after_every_epoch(setting: Hyperparameters, split: Split) -> None:
    def moves(decay: float) -> NDArray[np.float64]:
        """Returns how far epochs 2 and 3 move the item factors."""
        varied = replace(setting, learning_rate_decay=decay)
        results = fit(split.train, varied, epochs=3, seed=np.random.SeedSequence(0))
        first, second, third = (factors(epoch).item_factors for epoch in results)
        return np.array([np.linalg.norm(second - first), np.linalg.norm(third - second)])

    ratio = moves(0.01) / moves(1.0)
    assert 0.3 < ratio[0] / 1e-2 < 3
    assert 0.3 < ratio[1] / 1e-4 < 3


@pytest.mark.parametrize("batch_size", [5, 15, 35, 10_000])  # 1, 3, 7 or all of the 24 positives
def test_the_loss_of_adam_is_the_mean_over_positives_and_negatives(batch_size: int) -> None:
    setting = replace(ADAM, learning_rate=STILL, batch_size=batch_size)
    history = one_untouched()
    (result,) = epochs_of(history, setting, epochs=1)
    model, losses = factors(result), []
    for user, item in zip(history.user_of, history.items, strict=True):
        for candidate, label in ((item, 1.0), *[(HELD_OUT, 0.0)] * setting.n_negatives):
            product = model.user_factors[user].astype(float) @ model.item_factors[candidate]
            probability = 1 / (1 + np.exp(-product))  # biases 0 and output weights 1
            losses.append(-np.log(probability if label else 1 - probability))
    assert result.loss == pytest.approx(np.mean(losses), rel=1e-5)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("learn_output_weight", [False, True])
def test_adam_agrees_with_a_plain_pytorch_loop(
    weight_decay: float, learn_output_weight: bool
) -> None:
    """Full batches and forced negatives leave nothing to chance but the start."""
    history = one_untouched()
    setting = replace(
        ADAM,
        learning_rate=0.02,
        batch_size=10_000,
        weight_decay=weight_decay,
        learn_output_weight=learn_output_weight,
    )
    start_seed = np.random.SeedSequence(0).generate_state(1, np.uint64)[0]
    model = GMF(start_of(history, setting, int(start_seed)), np.empty(0, np.float32))
    model.output_weight.requires_grad_(learn_output_weight)
    optimizer = torch.optim.Adam(
        model.parameters(), lr=0.02, weight_decay=weight_decay, fused=False
    )
    users = torch.from_numpy(history.user_of)
    items = torch.from_numpy(history.items)[:, None]
    items = torch.cat([items, torch.full((len(items), setting.n_negatives), HELD_OUT)], dim=1)
    labels = torch.zeros(items.shape)
    labels[:, 0] = 1
    for _ in range(4):
        loss = binary_cross_entropy_with_logits(model(users, items), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    *_, last = epochs_of(history, setting, epochs=4)
    expected = gmf_fit.scorer_of(model.arrays(), setting, None).arrays()
    for name, array in last.scorer.arrays().items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-3, atol=1e-4, err_msg=name)
    assert last.loss == pytest.approx(loss.item(), rel=1e-4)


def test_the_spectral_start_has_the_asked_size(split: Split) -> None:
    parameters = start_of(split.train, replace(SPECTRAL, init_rms=0.3), 0)
    embeddings = np.concatenate(parameters[:2])
    assert np.sqrt(np.mean(embeddings**2)) == pytest.approx(0.3, rel=0.25)


XAVIER_48 = replace(SGD, embedding_dim=48)
TALL = History(np.arange(2001), np.arange(2000, dtype=np.int32) % 100, 100)  # one item a user


def test_it_starts_without_biases_and_with_plain_products() -> None:
    parameters = start_of(TALL, XAVIER_48, 1)
    assert (parameters.output_weight == 1).all()
    assert not parameters.item_bias.any()
    assert not parameters.output_bias.any()


def test_the_xavier_start_fills_its_range_evenly() -> None:
    parameters = start_of(TALL, XAVIER_48, 1)
    for weight, n_rows in ((parameters.user_embedding, 2000), (parameters.item_embedding, 100)):
        bound = (6 / (n_rows + 48)) ** 0.5
        assert np.abs(weight).max() <= bound
        assert weight.max() > 0.99 * bound
        assert weight.min() < -0.99 * bound
        assert weight.std() == pytest.approx(bound / 3**0.5, rel=0.02)


def test_the_gaussian_start_is_that_of_the_authors_code() -> None:
    setting = replace(GAUSSIAN, embedding_dim=48)
    parameters = start_of(TALL, setting, 1)
    for embedding in (parameters.user_embedding, parameters.item_embedding):
        assert embedding.mean() == pytest.approx(0, abs=1e-3)
        assert embedding.std() == pytest.approx(0.01, rel=0.05)
    output, bound = parameters.output_weight, (3 / 48) ** 0.5
    assert 0.8 * bound < output.max() <= bound
    assert -bound <= output.min() < -0.8 * bound
    fixed = start_of(TALL, replace(setting, learn_output_weight=False), 1)
    assert (fixed.output_weight == 1).all()


@BOTH
@pytest.mark.parametrize("learn_output_weight", [False, True])
def test_output_weights_are_learnt_only_if_asked(
    setting: Hyperparameters,
    learn_output_weight: bool,
    split: Split,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trained: list[Parameters] = []

    def watch(parameters: Parameters, *others: Any) -> Factors:
        trained.append(parameters)
        return scorer_of(parameters, *others)

    scorer_of = gmf_fit.scorer_of
    monkeypatch.setattr(gmf_fit, "scorer_of", watch)
    setting = replace(setting, learn_output_weight=learn_output_weight, weight_decay=0.01)
    epochs_of(split.train, setting, epochs=2)
    assert (trained[-1].output_weight == 1).any() != learn_output_weight
    assert (trained[-1].output_weight == 1).all() != learn_output_weight
    assert trained[-1].output_bias[0] != 0  # which is learnt in any case
    assert trained[-1].item_bias.all()


@BOTH
def test_item_biases_are_learnt_unless_they_are_not_to_be(
    setting: Hyperparameters, split: Split
) -> None:
    *_, last = epochs_of(split.train, replace(setting, learn_item_bias=False), epochs=2)
    assert len(set(factors(last).item_bias)) == 1  # the output's bias alone


@BOTH
def test_recency_prefers_what_came_last(setting: Hyperparameters) -> None:
    n_users, n_items, n_each = 60, 20, 10  # everyone took the same items in the same order
    users = np.repeat(np.arange(n_users, dtype=np.int32), n_each)
    items = np.tile(np.arange(n_each, dtype=np.int32), n_users)
    history = history_of(users, items, n_users, n_items)

    def lead_of_the_latest(recency: float) -> float:
        *_, last = epochs_of(history, replace(setting, recency=recency), epochs=3)
        scores = last.scorer.score_all(np.arange(n_users))
        return float((scores[:, n_each - 1] - scores[:, 0]).mean())

    assert lead_of_the_latest(2.0) > 1
    assert abs(lead_of_the_latest(0.0)) < 0.5


# Devices


def test_auto_takes_the_best_device_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def have(cuda: bool, mps: bool) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    have(cuda=False, mps=False)
    assert choose_device("auto") == torch.device("cpu")
    have(cuda=False, mps=True)
    assert choose_device("auto") == torch.device("mps")
    have(cuda=True, mps=True)
    assert choose_device("auto") == torch.device("cuda")
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "mps", "nonsense"])
def test_a_device_that_is_not_there_is_an_error(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ValueError, match=f"--device {device}: .* use auto or cpu"):
        choose_device(device)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_only_adam_asks_for_the_device(
    optimizer: Literal["adam", "sgd"], split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def note(device: str) -> torch.device:
        asked.append(device)
        return torch.device("cpu")

    monkeypatch.setattr(gmf_fit, "choose_device", note)
    setting = replace(ADAM, optimizer=optimizer)
    next(fit(split.train, setting, epochs=1, seed=np.random.SeedSequence(0), device="auto"))
    assert asked == (["auto"] if optimizer == "adam" else [])
