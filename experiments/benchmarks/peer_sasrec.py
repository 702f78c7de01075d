"""SASRec on the split and the candidates of a ready-made data set, on one core.

    python experiments/benchmarks/peer_sasrec.py prepare DATA.npz        needs `ncf`
    python experiments/benchmarks/peer_sasrec.py train DATA.npz FOLDER --loss softmax
    python experiments/benchmarks/peer_sasrec.py test DATA.npz FOLDER --loss softmax

The last two need torch and numpy alone. `train` keeps the model of the best validation epoch in
FOLDER and writes one JSON line per evaluation. `test` reads the test items, once, with that model:
train + validation is its input, but it is not trained again, as is usual for SASRec. It prints one
JSON line and saves each user's ranks.

Training is by Adam, with a batch of 128 users whose latest 200 items each predict the next. The
sequences are padded on the right, where causal attention never looks, and positions are counted
from the end, as if padded on the left. A batch goes through the model in pieces of similar length,
whose gradients add up to the batch's: less padding, the same step.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sasrec import LENGTH, SASRec, bce_loss, softmax_loss
from torch import Tensor

BATCH, PIECE, LEARNING_RATE, BETAS = 128, 16, 1e-3, (0.9, 0.98)

Ints = NDArray[np.int32]
Sequences = list[NDArray[np.int64]]  # of each user, oldest first


def padded(rows: Sequences) -> tuple[Tensor, Tensor]:
    """Returns the latest LENGTH items of each row, (B, L) padded on the right, and lengths (B,)."""
    lengths = np.array([min(len(row), LENGTH) for row in rows])
    items = np.zeros((len(rows), lengths.max()), np.int64)
    for line, row, length in zip(items, rows, lengths, strict=True):
        line[:length] = row[len(row) - length :]
    return torch.from_numpy(items), torch.from_numpy(lengths)


def train_epoch(
    model: SASRec,
    optimizer: torch.optim.Optimizer,
    loss_of: Callable[..., Tensor],
    sequences: Sequences,
    rng: np.random.Generator,
) -> float:
    """Visits each user once, in random order; returns the mean loss of a position."""
    model.train()
    total, n_total = 0.0, 0
    sizes = np.array([min(len(row) - 1, LENGTH) for row in sequences])  # of positions that learn
    order = rng.permutation(np.flatnonzero(sizes > 0))
    for start in range(0, len(order), BATCH):
        users = order[start : start + BATCH]
        users = users[np.argsort(-sizes[users])]
        n = int(sizes[users].sum())
        optimizer.zero_grad()
        for piece in np.split(users, range(PIECE, len(users), PIECE)):
            items, lengths = padded([sequences[user][:-1] for user in piece])
            targets, _ = padded([sequences[user][1:] for user in piece])
            real = torch.arange(items.shape[1]) < lengths[:, None]
            owners = torch.from_numpy(piece)[:, None].expand_as(items)
            loss = loss_of(model, model(items, lengths)[real], targets[real], owners[real]) / n
            loss.backward()
            total += float(loss.detach()) * n
        optimizer.step()
        n_total += n
    return total / n_total


@torch.no_grad()
def ranks(model: SASRec, sequences: Sequences, users: Ints, candidates: Ints) -> tuple[Ints, Ints]:
    """Ranks the first candidate of each user among the others, and among all that is not taken.

    As `ncf` does: a tie or a NaN counts against it, and -1 is padding.

    Args:
        model: SASRec.
        sequences: What each user has taken: the input, and what no list holds.
        users: (V,).
        candidates: (V, C).

    Returns:
        (V,) of the sampled and (V,) of the full ranks.
    """
    model.eval()
    sampled, full = np.empty(len(users), np.int32), np.empty(len(users), np.int32)
    by_length = np.argsort([len(sequences[user]) for user in users], kind="stable")
    for rows in np.split(by_length, range(BATCH, len(users), BATCH)):
        histories = [sequences[user] for user in users[rows]]
        items, lengths = padded(histories)
        last = model(items, lengths)[torch.arange(len(rows)), lengths - 1]
        scores = (last @ model.items.weight.T).numpy()
        of = candidates[rows]
        beats = ~(scores < np.take_along_axis(scores, of[:, :1], axis=1))
        sampled[rows] = (np.take_along_axis(beats, of, axis=1) & (of >= 0)).sum(axis=1)
        for row, beat, history in zip(rows, beats, histories, strict=True):
            full[row] = beat.sum() - beat[history].sum()
    return sampled, full


def metrics(sampled: Ints, full: Ints) -> dict[str, float]:
    """Returns HR@10 and nDCG@10 of both."""
    means = {}
    for name, rank in (("sampled", sampled), ("full", full)):
        means[f"{name}_hr"] = float((rank <= 10).mean())
        means[f"{name}_ndcg"] = float(np.where(rank <= 10, 1 / np.log2(rank + 1.0), 0).mean())
    return means


def prepare(path: Path, data: str) -> None:
    """Saves a ready-made split: train, and the candidates of a study of seed 0."""
    from ncf.models.positives import items_by_time
    from ncf.protocol.candidates import draw_candidates
    from ncf.protocol.given_split import find, load_ready_made
    from ncf.protocol.seeds import Purpose, spawn_int

    if (file := find(data)) is None:
        raise ValueError(f"{data} is no ready-made split; give ncf-ml-1m or NAME.train.rating")
    given = load_ready_made(file)
    train, validation, whole = given.split.train, given.split.validation, given.split.whole
    seed = spawn_int(0, Purpose.VALIDATION_CANDIDATES)
    candidates = draw_candidates(
        whole.indptr, whole.items, whole.n_items, validation.users, validation.items, 99, seed
    )
    np.savez(
        path,
        indptr=train.indptr,
        items=items_by_time(train),
        n_items=train.n_items,
        validation_users=validation.users,
        validation=candidates,
        test_users=given.split.test.users,
        test=given.test_candidates,
    )


def train(options: argparse.Namespace) -> None:
    """Trains until validation's sampled nDCG@10 has not risen for so many epochs, or minutes."""
    torch.manual_seed(options.seed)
    rng = np.random.Generator(np.random.SFC64(options.seed))
    data = np.load(options.data)
    sequences, validated = train_sequences(data), (data["validation_users"], data["validation"])
    taken = np.zeros((len(sequences), int(data["n_items"])), np.bool_)
    for row, sequence in zip(taken, sequences, strict=True):
        row[sequence] = True
    model = SASRec(taken.shape[1], rng)
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE, BETAS)
    loss_of = softmax_loss if options.loss == "softmax" else bce_loss(taken, rng)
    best, best_epoch, epoch = -1.0, 0, 0
    seconds = np.zeros(2)  # of the processor and of the clock, without evaluations
    with log_file(options).open("w") as log:
        while epoch - best_epoch < options.patience and seconds[1] < 60 * options.minutes:
            start = clocks()
            loss = train_epoch(model, optimizer, loss_of, sequences, rng)
            seconds += clocks() - start
            epoch += 1
            if epoch % options.every:
                continue
            found = metrics(*ranks(model, sequences, *validated))
            if found["sampled_ndcg"] > best:
                best, best_epoch = found["sampled_ndcg"], epoch
                torch.save(model.state_dict(), model_file(options))
            cpu, wall = seconds.round(1).tolist()
            line = {"epoch": epoch, "cpu": cpu, "wall": wall, "loss": loss, **found}
            print(json.dumps(line), file=log, flush=True)


def test(options: argparse.Namespace) -> None:
    """Prints the test metrics of the best model, and saves each user's ranks beside it."""
    data = np.load(options.data)
    curve = [json.loads(line) for line in log_file(options).read_text().splitlines()]
    best = max(curve, key=lambda line: line["sampled_ndcg"])
    model = SASRec(int(data["n_items"]), np.random.default_rng())
    model.load_state_dict(torch.load(model_file(options)))
    sequences = train_sequences(data)
    for user, item in zip(data["validation_users"], data["validation"][:, 0], strict=True):
        sequences[user] = np.append(sequences[user], np.int64(item))
    sampled, full = ranks(model, sequences, data["test_users"], data["test"])
    file = options.folder / f"ranks-{options.loss}.npz"
    np.savez(file, users=data["test_users"], sampled=sampled, full=full)
    record = {
        "version": torch.__version__,
        "loss": options.loss,
        "best": best,
        "last": curve[-1],
        "test": metrics(sampled, full),
    }
    print(json.dumps(record))


def train_sequences(data: Any) -> Sequences:
    """Returns each user's train items, oldest first."""
    return np.split(data["items"].astype(np.int64), data["indptr"][1:-1])


def clocks() -> NDArray[np.float64]:
    """Returns the seconds of this process on the processor, and those of the clock."""
    return np.array([time.process_time(), time.perf_counter()])


def log_file(options: argparse.Namespace) -> Path:
    """Returns where the curve of validation is."""
    return Path(options.folder / f"train-{options.loss}.jsonl")


def model_file(options: argparse.Namespace) -> Path:
    """Returns where the model of the best epoch is."""
    return Path(options.folder / f"best-{options.loss}.pt")


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="SASRec on a ready-made split, on one core.")
    add = parser.add_argument
    add("command", choices=("prepare", "train", "test"))
    add("data", type=Path, metavar="DATA.npz")
    add("folder", type=Path, nargs="?", help="where train and test keep what they find")
    add("--split", default="ncf-ml-1m", help="for prepare: as `--data` of search.py")
    add("--loss", choices=("bce", "softmax"), default="softmax")
    add("--every", type=int, default=2, help="epochs from one evaluation to the next")
    add("--patience", type=int, default=20, help="epochs without a better one")
    add("--minutes", type=float, default=math.inf, help="of training, at most")
    add("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.command != "prepare" and options.folder is None:
        parser.error(f"{options.command} needs a FOLDER")
    torch.set_num_threads(1)
    if options.command == "prepare":
        prepare(options.data, options.split)
    else:
        {"train": train, "test": test}[options.command](options)


if __name__ == "__main__":
    main()
