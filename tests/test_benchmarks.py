"""The generator of the benchmarks: what it promises of its files, on small ones."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from ncf.data.datasets import load_interactions
from ncf.models.gmf.setting import Hyperparameters
from ncf.models.table import fit
from ncf.protocol.candidates import draw_candidates
from ncf.protocol.metrics import summarize
from ncf.protocol.ranks import sampled_ranks
from ncf.protocol.splitting import leave_one_out

SIZE = (400, 600, 16_000)


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    """The script, as a module."""
    path = Path(__file__).parent.parent / "experiments" / "benchmarks" / "generate.py"
    spec = importlib.util.spec_from_file_location("generate", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["generate"] = module  # where its dataclass looks for it
    spec.loader.exec_module(module)
    return module


def written(generate: ModuleType, path: Path, seed: int) -> bytes:
    generate.write_ratings(path, generate.Size(*SIZE), seed)
    return path.read_bytes()


def test_the_counts_are_exact_and_pairs_distinct(generate: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "ratings.csv"
    assert written(generate, path, seed=1).startswith(b"userId,movieId,rating,timestamp\n1,")
    frame = pd.read_csv(path)
    counts = frame.groupby("userId").size()
    assert (len(counts), frame["movieId"].nunique(), len(frame)) == SIZE
    assert not frame.duplicated(["userId", "movieId"]).any()
    assert counts.min() >= generate.FEWEST
    assert frame["rating"].isin(np.arange(1, 11) / 2).all()
    assert frame["timestamp"].min() > 0


def test_the_seed_and_nothing_else_decides(generate: ModuleType, tmp_path: Path) -> None:
    first = written(generate, tmp_path / "a.csv", seed=1)
    assert first == written(generate, tmp_path / "b.csv", seed=1)
    assert first != written(generate, tmp_path / "c.csv", seed=2)


def test_small_blocks_hold_all_users_in_order(
    generate: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generate, "BLOCK", 500)
    blocks = list(generate.ratings_blocks(generate.Size(*SIZE), 1))
    users = np.concatenate([block[0] for block in blocks])
    assert len(blocks) > 10
    assert len(users) == SIZE[2]
    assert (np.diff(users) >= 0).all()
    assert np.array_equal(np.unique(users), np.arange(SIZE[0]))


def test_activity_and_popularity_have_long_tails(generate: ModuleType) -> None:
    users, movies, _, _ = map(
        np.concatenate, zip(*generate.ratings_blocks(generate.Size(*SIZE), 1), strict=True)
    )
    activity = np.bincount(users)
    popularity = np.sort(np.unique(movies, return_counts=True)[1])[::-1]
    assert activity.mean() > 1.5 * np.median(activity)
    assert popularity[:60].sum() > 0.25 * SIZE[2]  # uniform items would have a tenth


def test_a_model_learns_the_planted_tastes(generate: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "planted.csv"
    written(generate, path, seed=1)
    split = leave_one_out(load_interactions(str(path)))
    whole, held_out = split.whole, split.validation
    candidates = draw_candidates(
        whole.indptr, whole.items, whole.n_items, held_out.users, held_out.items, 50, seed=1
    )
    setting = Hyperparameters(embedding_dim=32)
    *_, last = fit(split.train, setting, epochs=8, seed=np.random.SeedSequence(1))
    learned = summarize(sampled_ranks(last.scorer, held_out.users, candidates), 10)["ndcg_10"]
    popular = split.train.popularity[candidates]
    ranks = (~(popular < popular[:, :1])).sum(axis=1).astype(np.int32)
    assert learned > 1.3 * summarize(ranks, 10)["ndcg_10"]


@pytest.mark.parametrize(
    ("size", "why"),
    [
        ((10, 100, 29), "at least 3 each"),  # 100 items do not fit either
        ((10, 20, 101), "at most half of the items"),
        ((1, 100, 40), "can have"),
    ],
)
def test_impossible_sizes_are_refused_before_a_file_is_made(
    generate: ModuleType, tmp_path: Path, size: tuple[int, int, int], why: str
) -> None:
    path = tmp_path / "never.csv"
    with pytest.raises(ValueError, match=why):
        generate.write_ratings(path, generate.Size(*size), 1)
    assert not path.exists()
