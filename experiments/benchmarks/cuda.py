"""Minibatch training on a CUDA device beside the CPU: as good, how much faster, repeatable?

    python experiments/benchmarks/cuda.py [--data ml-1m] [--epochs 5] [--device cuda]

Trains GMF ("adam") and NeuMF on the device and on the CPU, one epoch's negatives and order the same
on both, and twice on the device. Prints for each the validation nDCG@10 after the last epoch, the
samples per second of the last epochs, and how far the scores of a repeat on the device are from the
first run's. Test is never read. Where there is no such device it says so, and measures nothing.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from dataclasses import replace

import numpy as np
import torch

from ncf.data.datasets import load_interactions
from ncf.models.gmf.setting import Hyperparameters
from ncf.models.neumf.setting import NEUMF_DEFAULTS
from ncf.models.table import Setting, fit, model_of
from ncf.protocol.candidates import draw_candidates
from ncf.protocol.metrics import summarize
from ncf.protocol.ranks import sampled_ranks
from ncf.protocol.seeds import Purpose, spawn_int
from ncf.protocol.splitting import Split, leave_one_out
from ncf.serving.scorers import Scorer

BATCH_SIZE = 65_536  # a device is idle between steps of a few thousand
SETTINGS: tuple[Setting, ...] = (
    Hyperparameters(
        optimizer="adam",
        embedding_dim=64,
        learning_rate=5e-3,
        weight_decay=1e-6,
        n_negatives=8,
        batch_size=BATCH_SIZE,
        recency=0.6,
        n_recent=8,
    ),
    replace(NEUMF_DEFAULTS, batch_size=BATCH_SIZE, learning_rate=5e-3),
)


def main() -> int:
    """Prints a row for each model and device, and one for each repeat."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="ml-1m")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        print(
            f"no CUDA device: PyTorch {torch.__version__} finds none on this machine, so nothing "
            "was measured. Run it where there is one, with a PyTorch that is built for it."
        )
        return 1
    name = torch.cuda.get_device_name() if options.device.startswith("cuda") else options.device
    print(f"{options.data}, {options.epochs} epochs, device: {name}, PyTorch {torch.__version__}")
    split = leave_one_out(load_interactions(options.data))
    users = np.arange(min(200, split.train.n_users))
    for setting in SETTINGS:
        title, found = model_of(setting).title, {}
        for run in ("cpu", options.device, f"{options.device}, again"):
            device = run.partition(",")[0]
            scorer, rate = trained(split, setting, options.epochs, device)
            found[run] = scorer.score_all(users)
            ndcg = quality(split, scorer)
            print(f"{title:6} {run:14} nDCG@10 {ndcg:.4f}, {rate / 1e6:7.2f} M samples/s")
        first, again = found[options.device], found[f"{options.device}, again"]
        difference = float(np.abs(first - again).max())
        agrees = "bit for bit" if difference == 0 else f"to {difference:.2g} at most"
        print(f"{title:6} a repeat on the device agrees {agrees}; scores reach {first.max():.2g}")
    return 0


def trained(split: Split, setting: Setting, epochs: int, device: str) -> tuple[Scorer, float]:
    """Returns the model after the last epoch and its median samples per second, the first left out.

    An epoch's time ends when its loss has come from the device, so that nothing is still under way.
    """
    rates = []
    for epoch in fit(
        split.train, setting, epochs=epochs, seed=np.random.SeedSequence(0), device=device
    ):
        rates.append(epoch.n_samples / epoch.seconds)
    return epoch.scorer, statistics.median(rates[1:] or rates)


def quality(split: Split, scorer: Scorer) -> float:
    """Returns the validation nDCG@10 among 100 items that the user never touched."""
    whole, held_out = split.whole, split.validation
    candidates = draw_candidates(
        whole.indptr, whole.items, whole.n_items, held_out.users, held_out.items, 100,
        spawn_int(0, Purpose.VALIDATION_CANDIDATES),
    )  # fmt: skip
    return summarize(sampled_ranks(scorer, held_out.users, candidates), 10)["ndcg_10"]


if __name__ == "__main__":
    sys.exit(main())
