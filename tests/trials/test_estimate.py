"""Estimates against what a real trial takes."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import psutil
import pytest

from ncf.models.gmf.setting import Hyperparameters
from ncf.protocol.splitting import History
from ncf.trials.estimate import Estimate, check_fits, estimate, largest

SIZE = "n_users, n_items, per_user = 40_000, 20_000, 50"
TRIAL = f"""
import numpy as np
from ncf.models.gmf.setting import Hyperparameters
from ncf.protocol.splitting import History
from ncf.models.table import fit
{SIZE}
rng = np.random.default_rng(0)
rows = np.sort(rng.integers(0, n_items // per_user, (n_users, per_user)), axis=1)
items = (rows + np.arange(per_user) * (n_items // per_user)).astype(np.int32).ravel()
history = History(np.arange(n_users + 1) * per_user, items, n_items)
h = Hyperparameters(initialization="xavier", embedding_dim=256, n_negatives=1)
next(fit(history, h, epochs=1, seed=np.random.SeedSequence(0)))
peak = [line for line in open("/proc/self/status") if line.startswith("VmHWM:")]
print(int(peak[0].split()[1]) * 1024)  # getrusage would count the parent's, too
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_memory_is_right_within_a_factor_of_two() -> None:
    command = [sys.executable, "-c", TRIAL]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    indptr = np.arange(40_001) * 50
    history = History(indptr, np.zeros(2_000_000, np.int32), 20_000)
    setting = Hyperparameters(initialization="xavier", embedding_dim=256, n_negatives=1)
    found = estimate(history, 0, setting)
    expected = found.n_bytes + found.n_shared_bytes
    assert expected / 2 < int(result.stdout) < 2 * expected


def test_more_of_anything_takes_more() -> None:
    history = History(np.array([0, 1000, 2000]), np.zeros(2000, np.int32), 5000)
    small = Hyperparameters()
    for larger in (replace(small, embedding_dim=128), replace(small, n_negatives=40)):
        assert estimate(history, 0, larger).seconds_per_epoch > (
            estimate(history, 0, small).seconds_per_epoch
        )
    adam = replace(small, optimizer="adam", batch_size=1024)
    short_steps = estimate(history, 0, replace(adam, batch_size=256)).seconds_per_epoch
    assert short_steps > 1.5 * estimate(history, 0, adam).seconds_per_epoch
    wide = replace(small, embedding_dim=1280)
    assert estimate(history, 0, wide).n_bytes > estimate(history, 0, small).n_bytes


def test_what_cannot_fit_is_refused_with_a_remedy() -> None:
    check_fits(Estimate(1 << 20, 1 << 20, 1.0), 2)
    for n_bytes, n_shared_bytes in ((1 << 60, 0), (1 << 20, 1 << 60)):
        with pytest.raises(ValueError, match=r"lower --jobs, or the largest embedding_dim"):
            check_fits(Estimate(n_bytes, n_shared_bytes, 1.0), 1)


def test_data_that_workers_share_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    free = psutil.virtual_memory()._replace(available=100)
    monkeypatch.setattr("psutil.virtual_memory", lambda: free)
    check_fits(Estimate(10, 50, 1.0), 5)
    with pytest.raises(ValueError, match="6 trials at once"):
        check_fits(Estimate(10, 50, 1.0), 6)
    history = History(np.array([0, 1000, 2000]), np.zeros(2000, np.int32), 5000)
    more = [estimate(history, n, Hyperparameters()) for n in (0, 1000)]
    assert more[1].n_shared_bytes == more[0].n_shared_bytes + 4 * 1000
    assert more[1].n_bytes == more[0].n_bytes


def test_the_largest_of_several_is_taken_of_each() -> None:
    assert largest([Estimate(1, 5, 2.0), Estimate(3, 4, 1.0)]) == Estimate(3, 5, 2.0)
