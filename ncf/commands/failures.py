"""The one door that every error of a command leaves by: in one line, without passwords."""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import logging
import os
import sys
from collections.abc import Callable, Sequence

from ncf.redaction import RedactingFormatter, learn, one_line, redacted

_logger = logging.getLogger(__name__)
_OF_STORES = {"mlflow", "sqlalchemy", "sqlite3", "requests", "urllib3", "google", "alembic"}
_LONGEST = 600  # signs of what a store has said


def parse(parser: argparse.ArgumentParser, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Returns a command's options; learns the passwords in them, which nothing then prints.

    Where the command line cannot be read, the program ends as argparse ends it.
    """
    learn([*(sys.argv[1:] if arguments is None else arguments), *os.environ.values()])
    said = io.StringIO()  # argparse repeats what it cannot read, which may be a store's address
    try:
        with contextlib.redirect_stderr(said):
            return parser.parse_args(arguments)
    finally:
        sys.stderr.write(redacted(said.getvalue()))


def guarded(run: Callable[[], int]) -> int:
    """Runs a command and returns its exit status; prints the error that has ended it.

    The status is 2 after an error that a person can mend, 130 after Ctrl-C, and 1 after a defect of
    this program, of which the traceback is logged.
    """
    if not logging.getLogger().handlers:  # else Python would write warnings as they are
        handler = logging.StreamHandler()
        handler.setFormatter(RedactingFormatter("%(levelname)s: %(message)s"))
        logging.basicConfig(handlers=[handler], level=logging.WARNING)
    try:
        return run()
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        return _status_after(error)


def show_error(error: BaseException | str) -> None:
    """Prints an error in one line, to stderr."""
    text = one_line(error) if isinstance(error, BaseException) else redacted(error)
    print(f"error: {text}", file=sys.stderr)


def _status_after(error: Exception) -> int:
    if _is_of_store(error):
        show_error(
            f"MLflow failed: {one_line(error)[:_LONGEST]}; see that its store answers and is "
            "whole, or name another store with --tracking-uri"
        )
    elif isinstance(error, OSError) and error.filename is not None and error.strerror:
        show_error(f"{error.filename}: {error.strerror}{_remedy(error)}")  # without its number
    elif isinstance(error, ValueError | OSError | RuntimeError):
        show_error(error)
    else:
        _logger.error("a defect of this program:", exc_info=error)
        return 1
    return 2


def _remedy(error: OSError) -> str:
    """Returns what a person can do about an error of the system, as the end of a sentence."""
    from ncf.data.locks import is_read_only  # here, as only a few commands need locks

    if is_read_only(error):
        return "; see that you may write there, or work in another folder"
    return "; make room there" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""


def _is_of_store(error: Exception) -> bool:
    """Returns whether it was raised by a library that talks to a store, or below one."""
    places = []
    trace = error.__traceback__
    while trace is not None:
        places.append(str(trace.tb_frame.f_globals.get("__name__")).partition(".")[0])
        trace = trace.tb_next
    if places and places[-1] == "ncf":
        return False
    return not _OF_STORES.isdisjoint([type(error).__module__.partition(".")[0], *places])
