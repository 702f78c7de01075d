"""The model against its formula, and what a start may and may not depend on."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ncf.gmf import GMF

N_USERS, N_ITEMS, DIM = 7, 11, 4


def model_of(seed: int = 0, dim: int = DIM) -> GMF:
    return GMF(N_USERS, N_ITEMS, dim, torch.Generator().manual_seed(seed))


def filled() -> GMF:
    """Returns a model in which no parameter is at a value that hides a mistake, as 0 and 1 are."""
    model, generator = model_of(), torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model


def logit_by_hand(model: GMF, user: int, item: int) -> float:
    state = {name: tensor.double().numpy() for name, tensor in model.state_dict().items()}
    p, q = state["user_embedding.weight"][user], state["item_embedding.weight"][item]
    w, b = state["output.weight"][0], state["output.bias"][0]
    return float(
        sum(w[d] * p[d] * q[d] for d in range(DIM)) + state["item_bias.weight"][item, 0] + b
    )


def test_the_logit_is_the_formula() -> None:
    model = filled()
    users, items = torch.tensor([2, 0, 2]), torch.tensor([[1, 10], [0, 3], [3, 1]])
    logits = model(users, items)
    expected = [
        [logit_by_hand(model, int(u), int(i)) for i in row]
        for u, row in zip(users, items, strict=True)
    ]
    np.testing.assert_allclose(logits.detach().numpy(), expected, rtol=1e-5, atol=1e-5)


def test_score_and_score_all_agree_with_the_formula() -> None:
    model = filled()
    users = np.array([6, 0, 3], np.int32)
    everything = np.tile(np.arange(N_ITEMS, dtype=np.int32), (3, 1))
    expected = [[logit_by_hand(model, int(u), i) for i in range(N_ITEMS)] for u in users]
    for scores in (model.score(users, everything), model.score_all(users)):
        assert scores.dtype == np.float32
        np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-5)


def test_scoring_follows_training_in_place() -> None:
    model, users = filled(), np.array([1], np.int32)
    before = model.score_all(users).copy()
    with torch.no_grad():
        model.output.bias.add_(1)
    np.testing.assert_allclose(model.score_all(users), before + 1, rtol=1e-5, atol=1e-5)


def test_every_parameter_gets_a_gradient() -> None:
    model = filled()
    model(torch.arange(N_USERS), torch.arange(N_ITEMS).repeat(N_USERS, 1)).sum().backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert len(gradients) == 5
    for name, gradient in gradients.items():
        assert gradient is not None, name
        assert gradient.abs().min() > 0, name


def test_the_embeddings_start_xavier_uniform_and_the_rest_as_plain_factorization() -> None:
    model = GMF(400, 300, 64, torch.Generator().manual_seed(0))
    for embedding, n_rows in ((model.user_embedding, 400), (model.item_embedding, 300)):
        bound = (6 / (n_rows + 64)) ** 0.5
        weight = embedding.weight.detach()
        assert weight.abs().max() <= bound
        assert weight.max() > 0.99 * bound  # it fills the range,
        assert weight.min() < -0.99 * bound
        assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)  # evenly
    assert not model.item_bias.weight.any()
    assert not model.output.bias.any()
    assert (model.output.weight == 1).all()


def test_without_a_generator_the_embeddings_are_zero() -> None:
    model = GMF(N_USERS, N_ITEMS, DIM, None)
    assert not model.user_embedding.weight.any()
    assert not model.item_embedding.weight.any()
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_equal_seeds_give_equal_weights() -> None:
    first, same, other = (model_of(seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["user_embedding.weight"], other["user_embedding.weight"])
    assert not torch.equal(first["item_embedding.weight"], other["item_embedding.weight"])


def test_the_global_generator_is_neither_read_nor_moved() -> None:
    torch.manual_seed(0)
    first, state = model_of(), torch.get_rng_state()
    GMF(N_USERS, N_ITEMS, DIM, None)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(1)
    assert torch.equal(model_of().user_embedding.weight, first.user_embedding.weight)
