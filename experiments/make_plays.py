"""Writes a file of plays to try a search on: `python experiments/make_plays.py [--out plays.csv]`.

3,000 listeners play 3 to 59 tracks each at random times of the year 2025. Listener n likes genre
n % 8: four in five of the plays are drawn from that genre and the others from any genre. Within a
genre, track g-n is of genre g and the smaller n is, the more often the track is played. The seed is
fixed, so that the file is always the same. Its columns are `listener`, `track` and `played`, names
that a search does not know by itself.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

N_LISTENERS = 3000
N_GENRES = 8
N_RANKS = 99  # tracks of a genre, from the most popular to the least
SECONDS_OF_A_YEAR = 365 * 86400


def plays(seed: int = 0) -> pd.DataFrame:
    """Returns the plays, listener by listener: a row holds a listener, a track and a time."""
    rng = np.random.default_rng(seed)
    n_plays = rng.integers(3, 60, N_LISTENERS)
    listener = np.repeat(np.arange(N_LISTENERS), n_plays)
    is_liked = rng.random(len(listener)) < 0.8
    genre = np.where(is_liked, listener % N_GENRES, rng.integers(0, N_GENRES, len(listener)))
    rank = np.minimum(rng.geometric(0.03, len(listener)), N_RANKS)
    track = genre + N_GENRES * rank
    seconds = rng.integers(0, SECONDS_OF_A_YEAR, len(track))
    return pd.DataFrame(
        {
            "listener": [f"L{n:04}" for n in listener],
            "track": [f"{n % N_GENRES}-{n}" for n in track],
            "played": pd.Timestamp("2025-01-01") + pd.to_timedelta(seconds, "s"),
        }
    )


def main() -> None:
    """Writes the file and says where it is."""
    parser = argparse.ArgumentParser(description="Writes a made-up file of plays to search on.")
    parser.add_argument(
        "--out", type=Path, default=Path("plays.csv"), help="file to write (default: plays.csv)"
    )
    out: Path = parser.parse_args().out
    made = plays()
    made.to_csv(out, index=False)
    print(f"{out}: {len(made):,} plays of {made['track'].nunique():,} tracks")


if __name__ == "__main__":
    main()
