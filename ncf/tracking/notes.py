"""The Markdown that the MLflow UI shows on pages of experiments, trials, models and versions.

The UI keeps the line breaks of the Markdown, and shows only the first lines of a longer text.
"""

from __future__ import annotations

from ncf.models.table import Setting, describe, model_of
from ncf.protocol.metrics import label
from ncf.tracking.next_steps import command
from ncf.trials.messages import Outcome

EXPERIMENT = (
    "Click **Model training** (top left) and **Views** (top right) for the trials of a study, the "
    "best first, with charts. A run named `study` is a search; its child runs are the trials."
)
REGISTERED_MODEL = (
    "Answers user ids of the data with the ids of the k best items. The alias `champion` is the "
    "version in use. `python -m ncf models` lists the versions; `compare` and `promote` choose "
    "among them."
)


def describe_trial(outcome: Outcome, run_id: str, why_no_model: str = "") -> str:
    """Returns a trial's results, and the commands that repeat and register it.

    Args:
        outcome: How the trial ended.
        run_id: The id of its run.
        why_no_model: Why MLflow has no model of it; empty where it has one.
    """
    sampled, full = _in_words(outcome.metrics), _in_words(outcome.metrics_full)
    pruned = ", and pruned: other trials were better by then" if outcome.pruned else ""
    of_model = ""
    if why_no_model:
        of_model = (
            f" MLflow has no model of it, since {why_no_model}: the first command trains it again, "
            "to the same bits on the same machine."
        )
    return (
        f"Best at epoch {outcome.best_epoch} of {outcome.epochs}{pruned}. Validation: {sampled}; "
        f"over the full catalogue {full}.\n\n"
        f"To register its model: `{command('register', run_id)}`. To train it again: "
        f"`{command('--repeat', run_id, program='python search.py')}`.{of_model}"
    )


def describe_model(run_id: str) -> str:
    """Returns what the button beside a trial's model does, and the command that is to be preferred.

    Args:
        run_id: The id of the trial's run.
    """
    return (
        f"To register it: `{command('register', run_id)}`. The button **Register model** makes a "
        "version that needs this project and this store, until "
        f"`{command('models')}` has made it one that stands alone."
    )


def describe_contestant(note: str) -> str:
    """Returns how a model was found that was held against the study's best trial."""
    return f"Tuned by the same search, on the same data, as the trials: {note}."


def describe_confirmation(number: int) -> str:
    """Returns an explanation of a run of a fresh seed."""
    return (
        f"Trial {number} trained again with a fresh seed: of the best trials, the one with the "
        "best mean over fresh seeds wins, not the luckiest."
    )


def describe_version(setting: Setting, fitted_on: str, validation: str, test: str = "") -> str:
    """Returns the setting and the results of a version of the registered model."""
    test = f" Test, {test}." if test else " Test was not read."
    title = model_of(setting).title
    what = f"Fitted on {fitted_on}, with {describe(setting)}."
    return f"{title}, {validation} on validation.{test} {what}"


def _in_words(metrics: dict[str, float]) -> str:
    return ", ".join(
        f"{label(name)} {value:.4f}" for name, value in metrics.items() if "mrr" not in name
    )
