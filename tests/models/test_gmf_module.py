"""The model against its formula."""

from __future__ import annotations

import numpy as np
import torch

from ncf.models.gmf.module import GMF

N_USERS, N_ITEMS, DIM = 7, 11, 4


def filled() -> GMF:
    """Returns a model in which no parameter is at a value that hides a mistake, as 0 and 1 are."""
    model, generator = GMF(N_USERS, N_ITEMS, DIM), torch.Generator().manual_seed(5)
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


def test_it_starts_as_plain_factorization_of_nothing() -> None:
    model = GMF(N_USERS, N_ITEMS, DIM)
    assert (model.output.weight == 1).all()
    for zero in (model.user_embedding, model.item_embedding, model.item_bias):
        assert not zero.weight.any()
    assert not model.output.bias.any()
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_the_global_generator_is_not_moved() -> None:
    state = torch.get_rng_state()
    GMF(N_USERS, N_ITEMS, DIM)
    assert torch.equal(torch.get_rng_state(), state)
