"""How much the lists of fresh seeds agree, of models that are planted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from ncf.protocol.splitting import Split
from ncf.study.agreement import agreement_of, note_agreement
from tests.study.planted import plan_of, study_with


def test_lists_of_two_seeds_are_compared_where_both_are_there(split: Split, tmp_path: Path) -> None:
    study, plan = study_with([0.3]), plan_of(split)
    files = [tmp_path / f"{n}.safetensors" for n in range(3)]
    save_file({"popularity": np.arange(80.0)}, files[0])
    note_agreement(study, plan, 0, files)
    assert agreement_of(study, 0) is None
    save_file({"popularity": np.arange(80.0)}, files[2])
    note_agreement(study, plan, 0, files)
    assert agreement_of(study, 0) == 1
    save_file({"popularity": np.arange(80.0)[::-1].copy()}, files[1])
    note_agreement(study, plan, 0, files)
    assert agreement_of(study, 0) == pytest.approx(1 / 3, abs=0.05)  # of three pairs, one is equal
    assert agreement_of(study, 1) is None
