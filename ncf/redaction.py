"""Passwords stay out of all that is printed, logged and kept."""

from __future__ import annotations

import logging
import re


def redacted(text: str) -> str:
    """Returns the text with `***` for the user and password of the URLs in it.

    A password may hold any sign but a space, also those that it should not: `:`, `/`, `#` and `@`.

    >>> redacted("no answer from http://me:p@ss/word@host:5000/x, nor sqlite:////home/me@work/x.db")
    'no answer from http://***@host:5000/x, nor sqlite:////home/me@work/x.db'
    """
    return re.sub(r"://[^\s/:@]*(?::\S*)?@", "://***@", text)


def one_line(error: Exception) -> str:
    """Returns what an error says, in one line without passwords."""
    return redacted(" ".join(str(error).split()))


class RedactingFormatter(logging.Formatter):
    """Writes log records, their tracebacks too, without passwords."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line."""
        return redacted(super().format(record))
