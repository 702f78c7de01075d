"""The parameters that GMF's training starts from."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ncf.models.gmf.kernel import Parameters
from ncf.models.gmf.setting import Hyperparameters
from ncf.models.gmf.spectral import spectral_start
from ncf.protocol.splitting import History


def start(
    history: History, setting: Hyperparameters, seed: int, starts: Path | None = None
) -> Parameters:
    """Returns new parameters: embeddings as the setting says, biases 0, output weights 1 or drawn.

    Args:
        history: The training interactions.
        setting: The hyperparameters.
        seed: Of what is drawn; a spectral start draws nothing.
        starts: Folder where spectral starts of this history are kept.
    """
    dim = setting.embedding_dim
    parameters = Parameters(
        np.zeros((history.n_users, dim), np.float32),
        np.zeros((history.n_items, dim), np.float32),
        np.zeros(history.n_items, np.float32),
        np.ones(dim, np.float32),
        np.zeros(1, np.float32),
    )
    if setting.initialization == "spectral":
        embeddings = parameters.user_embedding, parameters.item_embedding
        for embedding, factors in zip(
            embeddings, spectral_start(history, dim, starts), strict=True
        ):
            np.multiply(factors, setting.init_rms, out=embedding)
    else:
        _draw(parameters, setting, seed)
    return parameters


def _draw(parameters: Parameters, setting: Hyperparameters, seed: int) -> None:
    """Fills the embeddings, and perhaps the output weights, by PyTorch's random numbers."""
    import torch  # here, since a spectral start need not wait for it
    from torch.nn.init import normal_, uniform_, xavier_uniform_

    generator = torch.Generator().manual_seed(seed % 2**63)
    embeddings = parameters.user_embedding, parameters.item_embedding
    for embedding in map(torch.from_numpy, embeddings):
        if setting.initialization == "xavier":
            xavier_uniform_(embedding, generator=generator)
        else:
            normal_(embedding, 0, 0.01, generator=generator)
    if setting.initialization == "gaussian" and setting.learn_output_weight:
        bound = (3 / setting.embedding_dim) ** 0.5
        uniform_(torch.from_numpy(parameters.output_weight), -bound, bound, generator=generator)
