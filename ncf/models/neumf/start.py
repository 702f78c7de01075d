"""The parameters that MLP and NeuMF start from, and how NeuMF goes on from a GMF and an MLP."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn.init import normal_, uniform_, xavier_uniform_

from ncf.models.gmf.spectral import spectral_start
from ncf.models.neumf.module import NeuMF
from ncf.models.neumf.setting import NeuralSetting
from ncf.protocol.splitting import History

ALPHA = 0.5  # share of the GMF in what a pre-trained NeuMF starts from


@torch.no_grad()
def fill(
    module: NeuMF, history: History, setting: NeuralSetting, seed: int, starts: Path | None
) -> None:
    """Fills a module that is on the CPU: embeddings as the setting says, layers Xavier-uniform.

    Output weights are LeCun-uniform, as in the authors' code, but for those of a GMF part that
    starts from the decomposition, which are 1 so that it ranks well before its first epoch.

    Args:
        module: What to fill.
        history: The training interactions.
        setting: The hyperparameters.
        seed: Of what is drawn.
        starts: Folder where spectral starts of this history are kept.
    """
    generator = torch.Generator().manual_seed(seed % 2**63)
    is_spectral = setting.initialization == "spectral"
    parts = ((module.gmf_users, module.gmf_items), (module.mlp_users, module.mlp_items))
    for users, items in parts:
        dim = users.shape[1]
        if is_spectral and dim:
            for rows, factors in zip(
                (users, items), spectral_start(history, dim, starts), strict=True
            ):
                rows.copy_(torch.tensor(factors)).mul_(setting.init_rms)
        else:
            for rows in (users, items):
                normal_(rows, 0, 0.01, generator=generator)
    first = torch.empty(len(module.first_bias), 2 * len(module.first_bias))
    for weight in (first, *module.weights):
        if weight.numel():
            xavier_uniform_(weight, generator=generator)
    for half, values in zip(
        (module.first_of_users, module.first_of_items), first.chunk(2, dim=1), strict=True
    ):
        half.copy_(values)
    n_inputs = len(module.gmf_output) + len(module.mlp_output)
    bound = (3 / n_inputs) ** 0.5
    for output in (module.gmf_output, module.mlp_output):
        uniform_(output, -bound, bound, generator=generator)
    if is_spectral:
        module.gmf_output.fill_(1)


@torch.no_grad()
def join(module: NeuMF, gmf: NeuMF, mlp: NeuMF) -> None:
    """Starts a NeuMF from a trained GMF and a trained MLP (eq. 13 of the paper)."""
    state: dict[str, Tensor] = {}
    for name in module.state_dict():
        state[name] = (gmf if name.startswith("gmf") else mlp).state_dict()[name].clone()
    state["gmf_output"] *= ALPHA
    state["mlp_output"] *= 1 - ALPHA
    state["output_bias"] = ALPHA * gmf.output_bias + (1 - ALPHA) * mlp.output_bias
    module.load_state_dict(state)
