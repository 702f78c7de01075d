"""The gate of the alias `champion`: whether a version is known to be better than the one in use.

The validation objective decides, of versions that were judged by it in the same way. Then both are
scored on the same users and candidates, of items that neither was fitted on: those of validation
where both were fitted on train alone, and those of test where both are winners of a search. Test
never makes a version better; it may only object, where the interval of the paired difference says
that the new version is worse. A winner knows more than a trial's model, so that the two are not
compared. What was found is noted on the new version.
"""

from __future__ import annotations

from dataclasses import dataclass

from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from ncf.protocol.metrics import label
from ncf.tracking import comparison, marks, next_steps, registry

_COMPARABLE = ("fingerprint", "protocol")  # tags that must be equal for two versions to be compared
_AGAINST, DECISION = "held_against", "decision"  # tags of a version that tell what was found
_HELD_OUT = {"train": "validation", "train + validation": "test"}  # by what both were fitted on


@dataclass(frozen=True)
class Judgement:
    """Whether a version is known to be better than the champion.

    Attributes:
        objection: Why it is not; empty if it is.
        evidence: What came of scoring both on the same users and candidates; empty where they were
            not scored.
    """

    objection: str
    evidence: str = ""

    @property
    def in_words(self) -> str:
        """Both, as a part of a sentence."""
        return "; ".join(part for part in (self.objection, self.evidence) if part)


def crown_if_better(client: MlflowClient, new: ModelVersion) -> str:
    """Makes the new version champion if there is none, or if it is better than the champion.

    Returns:
        The decision and the reason, as a sentence.
    """
    old = _champion(client, new.name)
    if old is not None and old.version == new.version:
        registry.note_reign(client, old)
        return old.tags.get(DECISION, f"version {new.version} is the champion")
    if old is None:
        decision = registry.crown(client, new, old)
    elif not registry.has_files(old):
        decision = f"{registry.crown(client, new, old)}, whose files are gone"
    else:
        judgement = judge(client, old, new)
        if judgement.objection:
            decision = f"version {old.version} stays champion: {judgement.in_words}"
        else:
            decision = f"{registry.crown(client, new, old)}: {judgement.in_words}"
    _note(client, old, new, decision)
    return decision


def promote(client: MlflowClient, text: str, force: bool) -> str:
    """Makes a version the champion of its model, if it is known to be better than the champion.

    Args:
        client: A client of the store.
        text: The version, as `versions.find` takes it.
        force: Whether to promote a version that is not known to be better, such as an older one.

    Returns:
        What was done, as a sentence.

    Raises:
        ValueError: There is no such version, it does not load, or it is not known to be better.
    """
    new = marks.find(client, text)
    old = _champion(client, new.name)
    if old is not None and old.version == new.version:
        registry.note_reign(client, old)
        return f"{new.name}: version {new.version} is the champion already"
    registry.read(client, f"models:/{new.name}/{new.version}")
    if old is None:
        decision = registry.crown(client, new, old)
        _note(client, old, new, decision)
        return f"{new.name}: {decision}"
    judgement = judge(client, old, new)
    if judgement.objection and not force:
        _note(client, old, new, f"version {old.version} stayed champion: {judgement.in_words}")
        pair = [f"{new.name}/{version.version}" for version in (old, new)]
        raise ValueError(
            f"{text}: version {old.version} stays champion: {judgement.in_words}. "
            f"{_needed(old, new)}; --force promotes it anyway, "
            f"`{next_steps.command('compare', *pair)}` shows all metrics"
        )
    forced = " by --force, though" if judgement.objection else ":"
    decision = f"{registry.crown(client, new, old)}{forced} {judgement.in_words}"
    _note(client, old, new, decision)
    return f"{new.name}: {decision}"


def _champion(client: MlflowClient, name: str) -> ModelVersion | None:
    """Returns the version in use, if any, with its tags also where the UI has registered it."""
    version = registry.champion(client, name)
    return None if version is None else marks.mark(client, version)


def _needed(old: ModelVersion, new: ModelVersion) -> str:
    """Returns what a new champion needs, in a sentence.

    With it stand the values of two versions that cannot be compared; else the objection has them.
    """
    values = ", ".join(
        f"version {version.version} {label(tag.removeprefix(registry.OBJECTIVE))} "
        f"{float(version.tags[tag]):.4f}"
        for version in (old, new)
        if (tag := registry.objective_tag(version)) is not None
    )
    had = f"On validation: {values}. " if _incomparable(old, new) else ""
    return (
        f"{had}Needed is a better value than the champion's, of the same data "
        "and protocol, and that a paired comparison on what neither was fitted on finds no loss"
    )


def judge(client: MlflowClient, old: ModelVersion, new: ModelVersion) -> Judgement:
    """Returns whether the new version is known to be better than the old."""
    if reason := _incomparable(old, new):
        return Judgement(reason)
    metric = str(registry.objective_tag(new))
    before, now = (float(version.tags[metric]) for version in (old, new))
    values = (
        f"validation {label(metric.removeprefix(registry.OBJECTIVE))} of version {old.version} is "
        f"{before:.4f}, of version {new.version} {now:.4f}"
    )
    worse = "" if now > before else values
    name = metric.removeprefix(registry.OBJECTIVE)
    part = _HELD_OUT.get(new.tags.get("fitted_on", ""))
    if part is None:
        return Judgement(worse, "what both were fitted on is not known, so they were not scored")
    try:
        difference, n_users = comparison.difference(client, new, old, part, name)
    except (ValueError, MlflowException, OSError) as error:
        return Judgement(worse, f"both could not be scored on the same candidates ({error})")
    if not worse and difference.low == difference.mean == difference.high == 0:
        worse = "both answer alike"
    of_both = f"{difference.mean:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]"
    found = "which establishes no difference"
    if difference.low > 0 or difference.high < 0:
        better = new if difference.low > 0 else old
        found = f"so that version {better.version} is better there"
    evidence = (
        f"on {part}, over the same {n_users:,} users and candidates, {label(name)} of version "
        f"{new.version} less that of version {old.version} is {of_both}, {found}"
    )
    if not worse and difference.high < 0:
        worse = f"{part} finds version {old.version} better"
    return Judgement(worse, evidence if worse == values else f"{values}; {evidence}")


def _incomparable(old: ModelVersion, new: ModelVersion) -> str:
    """Returns why two versions cannot be compared; empty if they can."""
    names = [f"version {version.version}" for version in (old, new)]
    fitted = [version.tags.get("fitted_on", "unknown data") for version in (old, new)]
    if fitted[0] != fitted[1]:
        return (
            f"{names[0]} was fitted on {fitted[0]}, {names[1]} on {fitted[1]}, so that to compare "
            "them is unfair: compare winners of searches with winners, and trials with trials, of "
            f"which `{next_steps.command('register')}` makes versions"
        )
    differing = [tag for tag in _COMPARABLE if old.tags.get(tag) != new.tags.get(tag)]
    if differing:
        return " and ".join(
            f"{tag} of {names[0]} is {_short(old.tags.get(tag))}, of {names[1]} "
            f"{_short(new.tags.get(tag))}"
            for tag in differing
        ) + ", so that the two cannot be compared"  # fmt: skip
    seeds = [version.tags.get(registry.SEEDS) for version in (old, new)]
    if None not in seeds and seeds[0] != seeds[1]:  # the best of few seeds is more often lucky
        return (
            f"its validation is a mean over {seeds[0]} fresh seeds, the new one's over {seeds[1]}, "
            "so that the two cannot be compared"
        )
    metric = registry.objective_tag(new)
    if metric not in old.tags:
        return f"{names[0]} was not judged by {metric}, as {names[1]} was"
    return ""


def _note(client: MlflowClient, old: ModelVersion | None, new: ModelVersion, decision: str) -> None:
    """Notes on the new version which one it was held against, if any, and what came of it."""
    against = "no other" if old is None else f"version {old.version}"
    for key, value in ((_AGAINST, against), (DECISION, decision)):
        client.set_model_version_tag(new.name, str(new.version), key, value)


def _short(tag: str | None) -> str:
    return "unknown" if tag is None else repr(tag[:400])
