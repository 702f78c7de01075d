"""The parameters that GMF's training starts from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ncf.models.gmf.kernel import Parameters
from ncf.models.gmf.setting import Hyperparameters
from ncf.models.gmf.spectral import spectral_start
from ncf.protocol.splitting import History

CACHE_LINE = 64  # bytes


def start(
    history: History, setting: Hyperparameters, seed: int, starts: Path | None = None
) -> Parameters:
    """Returns new parameters: embeddings as the setting says, biases 0, output weights 1 or drawn.

    A spectral start of the recent block is the item half of the decomposition at its own size, for
    an item before a target (X) and for the target (m) alike: what is taken after another item
    resembles it.

    Args:
        history: The training interactions.
        setting: The hyperparameters.
        seed: Of what is drawn; a spectral start draws nothing.
        starts: Folder where spectral starts of this history are kept.
    """
    user_dim = setting.embedding_dim
    recent_dim = setting.recent_dim if setting.n_recent else 0
    dim = user_dim + recent_dim
    parameters = Parameters(
        _zeros(history.n_users, user_dim),
        _zeros(history.n_items, dim),
        np.zeros(history.n_items, np.float32),
        np.ones(dim, np.float32),
        np.zeros(1, np.float32),
        _zeros(history.n_items, recent_dim),
    )
    if setting.initialization != "spectral":
        _draw(parameters, setting, seed)
        return parameters
    if user_dim:
        users, items = spectral_start(history, user_dim, starts)
        np.multiply(users, setting.init_rms, out=parameters.user_embedding)
        np.multiply(items, setting.init_rms, out=parameters.item_embedding[:, :user_dim])
    if recent_dim:
        _, items = spectral_start(history, recent_dim, starts)
        np.multiply(items, setting.init_rms, out=parameters.recent_embedding)
        parameters.item_embedding[:, user_dim:] = parameters.recent_embedding
    return parameters


def _zeros(n_rows: int, n_columns: int) -> NDArray[np.float32]:
    """Returns zeros that begin with a line of the processor's cache, which numpy's need not.

    A row of 16, 32 or 64 columns then lies in one, two or four lines, and not in one more. An epoch
    on large tables takes two thirds of the time.
    """
    n_bytes = 4 * n_rows * n_columns
    memory = np.empty(n_bytes + CACHE_LINE, np.uint8)  # which numpy asks for in large pages
    first = -memory.ctypes.data % CACHE_LINE
    zeros = memory[first : first + n_bytes].view(np.float32).reshape(n_rows, n_columns)
    zeros[:] = 0
    return zeros


def _draw(parameters: Parameters, setting: Hyperparameters, seed: int) -> None:
    """Fills the embeddings, and perhaps the output weights, by PyTorch's random numbers."""
    import torch  # here, since a spectral start need not wait for it
    from torch.nn.init import normal_, uniform_, xavier_uniform_

    generator = torch.Generator().manual_seed(seed % 2**63)
    embeddings = (
        parameters.user_embedding,
        parameters.item_embedding,
        parameters.recent_embedding,
    )
    for embedding in (torch.from_numpy(array) for array in embeddings if array.size):
        if setting.initialization == "xavier":
            xavier_uniform_(embedding, generator=generator)
        else:
            normal_(embedding, 0, 0.01, generator=generator)
    if setting.initialization == "gaussian" and setting.learn_output_weight:
        bound = (3 / len(parameters.output_weight)) ** 0.5
        uniform_(torch.from_numpy(parameters.output_weight), -bound, bound, generator=generator)
