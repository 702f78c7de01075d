"""`python -m ncf recommend --user ID`: asks a registered model."""

from __future__ import annotations

import argparse
import sys


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; a person's mistake ends in one line and exit status 2."""
    parser = argparse.ArgumentParser(prog="python -m ncf", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    recommend = commands.add_parser("recommend", help="print the best items for users")
    recommend.add_argument(
        "--user", action="append", required=True, metavar="ID", help="own user id"
    )
    recommend.add_argument("-k", type=int, default=10, help="items per user (default: 10)")
    recommend.add_argument(
        "--model", metavar="URI", help="models:/NAME/VERSION or models:/NAME@ALIAS "
        "(default: the champion that was registered last)",
    )  # fmt: skip
    recommend.add_argument(
        "--include-seen", action="store_true", help="do not leave out seen items"
    )
    recommend.add_argument("--tracking-uri", help="MLflow store (default: as search.py)")
    options = parser.parse_args(arguments)
    try:
        _recommend(options)
    except (ValueError, OSError) as error:
        from ncf import terminal

        terminal.show_error(error)
        return 2
    return 0


def _recommend(options: argparse.Namespace) -> None:
    from ncf import registry, terminal, tracking

    uri, recommender = registry.load(options.model, options.tracking_uri or tracking.default_uri())
    print(f"{uri}", file=sys.stderr)
    terminal.show_recommendations(
        recommender.recommend(options.user, options.k, options.include_seen)
    )


if __name__ == "__main__":
    sys.exit(main())
