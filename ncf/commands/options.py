"""The options of a search, and the rules that their values must keep.

Importing this loads nothing heavy, so that `--help` is quick.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

# As in `ncf.models.table`, which a test checks.
BASELINES = ("popularity", "itemknn", "ials", "ease", "markov", "mixture", "slist")
DEFAULT_EXPERIMENT = Path(__file__).parents[2] / "experiments" / "ml_100k.py"


@dataclass(frozen=True)
class Options:
    """The options of a search; each field is the option of its name, explained by `--help`.

    Attributes:
        jobs: The number of trials trained at once; None means one for each core, of a cluster as
            many as it has room for.
        cluster: The Ray cluster that trains: an address, or "local"; None means this machine alone.
        lag: How far behind a trial those are from whose outcomes it is decided; None means the
            study's own, or for a new one 8, or twice the jobs where that is more.
        baselines: The names of the baselines, in the order of the results.
        register_best: Which contestant is registered: "any", the best on validation, or "gmf", the
            best trial of the study.
        register: The name in the model registry; None means gmf-<data>, "" no registration.
        repeat: The run id of a trial that is to be trained again, in place of a search.
        keep_models: How many of the best trials' models MLflow keeps; None means all of a small
            study, and ten of a big one.
        drop_empty: Whether rows with an empty user, item, rating or time are left out.
    """

    trials: int = 50
    experiment: Path = DEFAULT_EXPERIMENT
    data: str | None = None
    columns: str | None = None
    min_rating: float | None = None
    split: str = "leave-one-out"
    targets: str | None = None
    study: str | None = None
    jobs: int | None = None
    cluster: str | None = None
    lag: int | None = None
    epochs: int | None = None
    timeout: float | None = None
    seed: int = 0
    k: int = 10
    objective: str = "ndcg"
    device: str = "auto"
    prune: bool = True
    confirm: int = 3
    confirm_seeds: int = 3
    baselines: tuple[str, ...] = BASELINES
    register_best: Literal["gmf", "any"] = "any"
    register: str | None = None
    repeat: str | None = None
    quiet: bool = False
    verbose: bool = False
    log_file: str | None = None
    tracking_uri: str | None = None
    storage: str | None = None
    keep_models: int | None = None
    titles: str | None = None
    drop_empty: bool = False

    def check(self) -> None:
        """Checks the values as far as that is possible without the data.

        Raises:
            ValueError: A value breaks a rule; the message names the option and the rule.
        """
        for name in ("trials", "jobs", "lag", "k", "timeout"):
            value = getattr(self, name)
            if (
                value is not None and not value > 0
            ):  # "not >" rather than "<=", so that NaN is refused
                raise ValueError(f"--{name} must be positive, but got {value}")
        if self.confirm < 0 or self.confirm_seeds < 1:
            raise ValueError(
                "--confirm must not be negative and --confirm-seeds at least 1, but got "
                f"{self.confirm} and {self.confirm_seeds}"
            )
        if self.keep_models is not None and self.keep_models < 0:
            raise ValueError(f"--keep-models must not be negative, but got {self.keep_models}")
        if self.seed < 0:
            raise ValueError(f"--seed must not be negative, but got {self.seed}")
        unknown = [name for name in self.baselines if name not in BASELINES]
        if unknown:
            raise ValueError(
                f"--baselines {','.join(self.baselines)}: known are {', '.join(BASELINES)}, or none"
            )
        if self.study is not None:
            check_name("--study", self.study)
        if self.register:
            check_name("--register", self.register)


def check_name(option: str, name: str) -> str:
    """Returns the name, if it can name a folder and stand in queries of MLflow.

    Raises:
        ValueError: The name has other characters, or is too long; the message names the option.
    """
    if not re.fullmatch(r"[\w-][\w. -]{0,199}", name):
        raise ValueError(
            f"{option} {name!r}: a name is letters, digits, '-', '_', '.' and spaces, at most 200; "
            f"give one with {option} NAME"
        )
    return name


def named(baselines: str) -> tuple[str, ...]:
    """Returns the names of baselines that stand with commas between them; of "none" none."""
    return () if baselines == "none" else tuple(baselines.split(","))
