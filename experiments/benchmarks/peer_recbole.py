"""Prints one JSON line: pairs per second of RecBole's NeuMF with its GMF half alone, on ml-100k.

    python experiments/benchmarks/peer_recbole.py BATCH_SIZE

Runs in RecBole's own environment, on the ml-100k that its package brings, with its own trainer.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from importlib.metadata import version

import recbole.config
import recbole.data
import recbole.model.general_recommender
import recbole.trainer
import recbole.utils

N_NEGATIVES = 4
N_EPOCHS = 6  # the first is not counted


def main(batch_size: int) -> None:
    """Times whole training epochs, their negatives included."""
    with tempfile.TemporaryDirectory() as folder:
        config = recbole.config.Config(
            model="NeuMF",
            dataset="ml-100k",
            config_dict={
                "mf_train": True,
                "mlp_train": False,
                "mf_embedding_size": 32,
                "mlp_embedding_size": 1,  # not trained, but allocated
                "mlp_hidden_size": [1],
                "train_batch_size": batch_size,
                "train_neg_sample_args": {
                    "distribution": "uniform",
                    "sample_num": N_NEGATIVES,
                    "dynamic": False,
                    "candidate_num": 0,
                },
                "load_col": {"inter": ["user_id", "item_id"]},
                "use_gpu": False,
                "show_progress": False,
                "state": "ERROR",
                "checkpoint_dir": folder,
            },
        )
        recbole.utils.init_seed(1, True)
        dataset = recbole.data.create_dataset(config)
        train_data, _, _ = recbole.data.data_preparation(config, dataset)
        model = recbole.model.general_recommender.NeuMF(config, train_data.dataset)
        trainer = recbole.trainer.Trainer(config, model)
        seconds = []
        for epoch in range(N_EPOCHS):
            start = time.perf_counter()
            trainer._train_epoch(train_data, epoch)
            seconds.append(time.perf_counter() - start)
    pairs = len(train_data.dataset) * (1 + N_NEGATIVES)
    rate = pairs / statistics.median(seconds[1:])
    print(json.dumps({"version": version("recbole"), "samples_per_second": rate}))


if __name__ == "__main__":
    main(int(sys.argv[1]))
