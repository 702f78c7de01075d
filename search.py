"""Finds the best recommender for a data set: `python search.py --trials 50`."""

from __future__ import annotations

import gc
import sys

from ncf.commands import command_line, output
from ncf.redaction import redacted
from ncf.serving import compiled_cache


def main() -> None:
    """Runs the command; a user's mistake is reported in one line and exit status 2."""
    gc.set_threshold(100_000)  # MLflow makes half a million objects while it loads, which all stay
    output.outlast()
    parsed = command_line.parse()
    if not parsed.quiet and parsed.repeat is None:  # the libraries take a second
        of = parsed.data or f"the data of {parsed.experiment.name}"
        print(f"reading {redacted(of)} ...", file=sys.stderr, flush=True)
    try:
        try:
            from ncf.commands.search import run  # only now, so that --help is quick
        except RuntimeError as error:  # numba's
            sys.exit(f"error: {error}{compiled_cache.advice(error)}")
        status = run(parsed)
        output.tell_of_loss()
        output.leave(status)
    except KeyboardInterrupt:  # before the search has begun
        sys.exit(130)


if __name__ == "__main__":
    main()
