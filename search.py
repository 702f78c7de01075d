"""Finds the best recommender for a data set: `python search.py --trials 50`."""

from __future__ import annotations

import sys

from ncf.commands import options


def main() -> None:
    """Runs the command; a person's mistake ends in one line and exit status 2."""
    asked = options.parse()
    try:
        from ncf.commands.search import run  # after the options are read, so that --help is quick

        sys.exit(run(asked))
    except KeyboardInterrupt:  # before there was anything to continue
        sys.exit(130)


if __name__ == "__main__":
    main()
