"""The commands that ask a model: `recommend` for users, `similar` for an item."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ncf.serving.answers import Recommendations
    from ncf.serving.catalogue import Catalogue
    from ncf.serving.recommender import Recommender

_HEADINGS = {"userid", "itemid", "user", "item", "id"}  # of a file of ids, less blanks and signs
_SHOWN = 5  # of unknown ids


def add_commands(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    rows: argparse.ArgumentParser,
    store: argparse.ArgumentParser,
) -> None:
    """Adds the commands to a parser's.

    Args:
        commands: The parser's commands.
        rows: The options of commands that print rows.
        store: The options of commands that ask MLflow's store.
    """
    model = argparse.ArgumentParser(add_help=False)
    model.add_argument(
        "--model", metavar="URI", help="models:/NAME/VERSION or models:/NAME@ALIAS "
        "(default: the champion that was registered last)",
    )  # fmt: skip
    model.add_argument("-k", type=int, default=10, help="items in a list (default: 10)")
    parents = [model, rows, store]
    recommend = commands.add_parser("recommend", help="the best items for users", parents=parents)
    whom = recommend.add_mutually_exclusive_group()
    whom.add_argument("--user", action="append", metavar="ID", help="a user id; may be repeated")
    whom.add_argument("--users", type=Path, metavar="FILE", help="text with a user id on each line")
    whom.add_argument("--all", action="store_true", help="every known user, into the file --out")
    recommend.add_argument(
        "--items", metavar="ID,ID,...", help="own item ids of a new user in the order of time, "
        "latest last, in double quotes where an id has a comma; with --user, newer items of that "
        "user (models with n_recent > 0, item-kNN, EASE, Markov, mixtures)",
    )  # fmt: skip
    recommend.add_argument("--out", type=Path, metavar="FILE", help="NAME.parquet or NAME.csv")
    recommend.add_argument(
        "--only", type=Path, metavar="FILE", help="text with the item ids that may be listed, one "
        "on each line, such as those in stock",
    )  # fmt: skip
    recommend.add_argument(
        "--exclude", type=Path, metavar="FILE", help="text with item ids that may not"
    )
    recommend.add_argument(
        "--include-seen", action="store_true", help="do not leave out seen items"
    )
    recommend.set_defaults(run=_recommend)

    similar = commands.add_parser("similar", help="the items most like an item", parents=parents)
    similar.add_argument("--item", required=True, metavar="ID", help="an item id of the data")
    similar.set_defaults(run=_similar)


def _recommend(
    model: str | None,
    tracking_uri: str | None,
    user: list[str] | None,
    users: Path | None,
    items: str | None,
    all: bool,
    out: Path | None,
    only: Path | None,
    exclude: Path | None,
    k: int,
    include_seen: bool,
    json: bool,
) -> None:
    from ncf.commands import lists, tables

    if all and out is None:
        raise ValueError("--all needs --out FILE, such as --out top10.parquet")
    if out is not None and not all:
        raise ValueError(
            f"--out {out} is for the lists of --all; of other users it is enough to send the "
            f"answers to a file, where they are CSV: recommend ... > {out.with_suffix('.csv').name}"
        )
    if not (user or users or items or all) or (items and (users or all)):
        raise ValueError(
            "give --user ID, --items ID,ID,... or both, or --users FILE, or --all with --out FILE"
        )
    if out is not None:
        lists.check_file(out)
    asked = user or [] if users is None else _ids_in("--users", users)
    listed = None if only is None else _ids_in("--only", only)
    barred = [] if exclude is None else _ids_in("--exclude", exclude)
    recommender = _load(model, tracking_uri)
    catalogue = recommender.catalogue
    for option, item_ids in (("--only", listed), ("--exclude", barred)):
        _tell_unknown(f"{option}: ", item_ids or [], catalogue)
    if out is not None:
        _write_all(recommender, out, k, include_seen, listed, barred)
        return
    given = None if items is None else _listed(items)
    _tell_unknown("", given or [], catalogue)
    answers = recommender.recommend(
        asked, k, include_seen, items=given, only=listed, exclude=barred
    )
    if asked:
        _tell_unknown_users("--user" if users is None else "--users", answers, catalogue)
    tables.show_recommendations(answers, json)


def _write_all(
    recommender: Recommender,
    out: Path,
    k: int,
    include_seen: bool,
    only: Sequence[str] | None,
    exclude: Sequence[str],
) -> None:
    """Writes the lists of all users that the model was fitted to."""
    from ncf.commands import lists, progress

    catalogue = recommender.catalogue
    is_listable = recommender.listable(only, exclude)
    blocks = lists.write_lists(recommender, out, k, include_seen, is_listable)
    n_users = progress.count(blocks, len(catalogue.fitted_users), "user")
    print(f"{out}: lists of {n_users:,} users", file=sys.stderr)
    if n_left := catalogue.n_users - n_users:
        print(
            f"no list of {n_left:,} users who came after what the model was fitted on; --users "
            "gives them what a new user gets",
            file=sys.stderr,
        )


def _similar(model: str | None, tracking_uri: str | None, item: str, k: int, json: bool) -> None:
    from ncf.commands import tables

    found = _load(model, tracking_uri).similar(item, k)
    columns = ("item_id", "score", "title")
    rows = zip(found.item_ids, found.scores, found.titles, strict=True)
    tables.show_rows([dict(zip(columns, row, strict=True)) for row in rows], json)


def _load(model: str | None, tracking_uri: str | None) -> Recommender:
    """Loads a model and prints to stderr which one it is."""
    from ncf.tracking import registry, store

    uri, recommender = registry.load(model, tracking_uri or store.default_uri())
    print(uri, file=sys.stderr)
    return recommender


def _ids_in(option: str, path: Path) -> list[str]:
    """Returns the ids in a text file, one on each line; a heading such as `item_id` is none.

    Raises:
        ValueError: It is no text, or holds no ids.
        OSError: It cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{option} {path}: no such file; check the path") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{option} {path}: must be a text with an id on each line") from error
    except OSError as error:
        raise OSError(f"{option} {path}: cannot be read: {error.strerror}") from error
    ids = [line.strip() for line in lines if line.strip()]
    if ids and "".join(filter(str.isalnum, ids[0].lower())) in _HEADINGS:
        del ids[0]
    if not ids:
        raise ValueError(f"{option} {path}: no ids are in it; write one on each line")
    return ids


def _listed(items: str) -> list[str]:
    """Returns the ids of a list with commas, in which quotes keep an id with a comma together.

    A line's end separates too, as where the list comes from a file.

    >>> _listed('50, 181'), _listed('"shelf, oak",50')
    (['50', '181'], ['shelf, oak', '50'])
    """
    rows = csv.reader(items.splitlines(), skipinitialspace=True)
    return [field.strip() for row in rows for field in row if field.strip()]


def _tell_unknown_users(
    option: str, answers: Sequence[Recommendations], catalogue: Catalogue
) -> None:
    """Prints to stderr how many users were answered by popularity, as the model knows them not."""
    unknown = [answer.user_id for answer in answers if not answer.known]
    if unknown:
        known = catalogue.user_ids[catalogue.fitted_users[:2]].tolist()
        print(
            f"{option}: {len(unknown):,} of {len(answers):,} users are unknown to the model and "
            f"get the most popular items: {_some(unknown)}; it knows users such as "
            f"{' and '.join(map(str, known))}",
            file=sys.stderr,
        )


def _some(own_ids: Sequence[str]) -> str:
    more = f" and {len(own_ids) - _SHOWN:,} more" if len(own_ids) > _SHOWN else ""
    return f"{', '.join(own_ids[:_SHOWN])}{more}"


def _tell_unknown(option: str, item_ids: Sequence[str], catalogue: Catalogue) -> None:
    """Prints to stderr which items the model does not know."""
    unknown = [item_id for item_id in item_ids if catalogue.item_of(item_id) is None]
    if unknown:
        print(f"{option}unknown to the model and passed over: {_some(unknown)}", file=sys.stderr)
