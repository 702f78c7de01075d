"""Passwords stay out of all that is printed, logged and kept.

They are known by where they stand in a text, as in `http://user:password@host`, and those of the
command's own addresses, once `learn` has seen them, wherever they stand and whatever they hold.
"""

from __future__ import annotations

import logging
import re
import traceback
from collections.abc import Iterable
from urllib.parse import quote, unquote

_SHORTEST = 4  # signs of a piece of a password that is looked for outside an address
_NAMES = r"[\w.-]*(?:password|passwd|pwd|token|secret|credential|signature|api[_-]?key)[\w.-]*"
# A password may hold any sign, also those that it should not: `:`, `/`, `#`, `@`. With a blank in
# it, it is told from `host:5000 and me@work` by what follows the colon.
_IN_ADDRESS = re.compile(
    r"://[^\s/:@]*(?::\S*)?@|://[^\s/:@]+:(?!\d{1,5}(?:[/?#,;.)\]'\"\s]|$))[^@\n]*@"
)
# A whole address, also one with a slash too few, or without its scheme; no URI of a model.
_ADDRESS = re.compile(
    r"(?:.*?://(?P<user>[^/:@\s]*)|(?:--[\w-]+=)?(?!models:|runs:)(?:\w+:)?/{0,2}(?P<other>[^/:@\s]+)(?!://))"
    r":(?!\d{1,5}[/?#])(?P<password>.*)@[^@]*",
    re.DOTALL,
)
_NAMED = re.compile(rf"(?<![\w.-])({_NAMES}=)(?:'[^']*'|\"[^\"]*\"|[^&\s'\"]+)", re.IGNORECASE)
_HEADER = re.compile(r"\b(Basic|Bearer) +[\w+/=.~-]{8,}")
learned: set[str] = set()


def learn(texts: Iterable[str]) -> None:
    """Remembers the passwords in the addresses among some texts, such as a command's arguments.

    From then on `redacted` knows them and their pieces, since a library that cannot read an
    address may show a piece of it alone.
    """
    for text in texts:
        found = _ADDRESS.fullmatch(text)
        passwords = [] if found is None else [found["password"]]
        if found is not None:
            learned.add(f"{found['user'] or found['other'] or ''}:{found['password']}@")
        passwords += re.findall(rf"[?&;]{_NAMES}=([^&]*)", text, re.IGNORECASE)
        for password in passwords:
            forms = {password, unquote(password), quote(password), quote(password, safe="")}
            pieces = {piece for form in forms for piece in (form, *re.split(r"[\s/:?#@]", form))}
            learned.update(piece for piece in pieces if len(piece) >= _SHORTEST)


def redacted(text: str) -> str:
    """Returns the text with `***` for the passwords in it, and for the user of a URL.

    >>> redacted("no answer from http://me:p@ss/word@host:5000/x, nor sqlite:////home/me@work/x.db")
    'no answer from http://***@host:5000/x, nor sqlite:////home/me@work/x.db'
    >>> redacted("http://me:p ss@host/x?k=1&token=abc&l=2")
    'http://***@host/x?k=1&token=***&l=2'
    """
    for secret in (one for one in learned if one.endswith("@")):  # a user and a whole password
        text = text.replace(secret, "***@")
    if learned:
        longest_first = sorted(learned, key=len, reverse=True)
        text = re.sub("|".join(map(_as_words, longest_first)), "***", text)
    text = _NAMED.sub(r"\1***", _IN_ADDRESS.sub("://***@", text))
    return _HEADER.sub(r"\1 ***", text)


def _as_words(piece: str) -> str:
    """Returns the pattern of a piece of a password that is no part of a longer word."""
    before, after = (r"\b" if re.match(r"\w", sign) else "" for sign in (piece[0], piece[-1]))
    return before + re.escape(piece) + after


def one_line(error: BaseException) -> str:
    """Returns what an error says, in one line without passwords."""
    return " ".join(redacted(str(error)).split())


def is_clean(error: BaseException) -> bool:
    """Returns whether neither an error nor one before it shows a password."""
    text = "".join(traceback.format_exception(error))
    return redacted(text) == text


class RedactingFormatter(logging.Formatter):
    """Writes log records, their tracebacks too, without passwords."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line."""
        return redacted(super().format(record))
