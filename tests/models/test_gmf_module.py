"""The module against its formula."""

from __future__ import annotations

import numpy as np
import torch

from ncf.models.gmf.fit import scorer_of
from ncf.models.gmf.kernel import Parameters
from ncf.models.gmf.module import GMF
from ncf.models.gmf.setting import Hyperparameters

N_USERS, N_ITEMS, DIM = 7, 11, 4
NO_WEIGHTS = np.empty(0, np.float32)  # of a recent block, which `test_gmf_recent.py` is about


def filled() -> Parameters:
    """Returns parameters of which none is at a value that hides a mistake, as 0 and 1 are."""
    rng = np.random.default_rng(5)
    shapes = ((N_USERS, DIM), (N_ITEMS, DIM), (N_ITEMS,), (DIM,), (1,), (N_ITEMS, 0))
    return Parameters(*(rng.standard_normal(shape).astype(np.float32) for shape in shapes))


def logit_by_hand(parameters: Parameters, user: int, item: int) -> float:
    p, q, c, w, b, _ = (array.astype(np.float64) for array in parameters)
    return float(sum(w[d] * p[user, d] * q[item, d] for d in range(DIM)) + c[item] + b[0])


def test_the_logit_is_the_formula() -> None:
    parameters = filled()
    users, items = torch.tensor([2, 0, 2]), torch.tensor([[1, 10], [0, 3], [3, 1]])
    expected = [
        [logit_by_hand(parameters, int(u), int(i)) for i in row]
        for u, row in zip(users, items, strict=True)
    ]
    logits = GMF(parameters, NO_WEIGHTS)(users, items).detach().numpy()
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)


def test_the_scorer_agrees_with_the_formula() -> None:
    parameters, users = filled(), np.array([6, 0, 3], np.int32)
    scorer = scorer_of(parameters, Hyperparameters(), None)
    everything = np.tile(np.arange(N_ITEMS, dtype=np.int32), (3, 1))
    expected = [[logit_by_hand(parameters, int(u), i) for i in range(N_ITEMS)] for u in users]
    for scores in (scorer.score(users, everything), scorer.score_all(users)):
        assert scores.dtype == np.float32
        np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-5)


def test_the_module_trains_the_arrays_that_it_was_given() -> None:
    parameters = filled()
    module = GMF(parameters, NO_WEIGHTS)
    with torch.no_grad():
        module.output_bias.add_(1)
        module.user_embedding.add_(1)
    assert parameters.output_bias == filled().output_bias + 1
    for mine, given in zip(module.arrays(), parameters, strict=True):
        np.testing.assert_array_equal(mine, given)


def test_every_parameter_gets_a_gradient() -> None:
    module = GMF(filled(), NO_WEIGHTS)
    module(torch.arange(N_USERS), torch.arange(N_ITEMS).repeat(N_USERS, 1)).sum().backward()
    gradients = {name: parameter.grad for name, parameter in module.named_parameters()}
    assert len(gradients) == 6
    del gradients["recent_embedding"]
    for name, gradient in gradients.items():
        assert gradient is not None, name
        assert gradient.abs().min() > 0, name
