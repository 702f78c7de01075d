"""Where numba keeps compiled code, if it can write to neither of its own two places.

Numba refuses to work without a place: beside the code, or in the user's cache folder. An
installation of another user, with no home folder for this one (`docker run --user`), has neither.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


def choose(package: Path = _PACKAGE) -> None:
    """Sets NUMBA_CACHE_DIR for this process and those that it starts, where that is needed.

    It must be called before numba is loaded. Where the temporary folder cannot be written either,
    numba's error comes up, and `advice` has the remedy.

    Args:
        package: The folder of the code.
    """
    own_places = (package / "protocol" / "__pycache__", _cache_of_user())
    if "NUMBA_CACHE_DIR" in os.environ or any(map(_is_writable, own_places)):
        return
    if (folder := _temporary_folder()) is not None:
        os.environ["NUMBA_CACHE_DIR"] = folder


def advice(error: Exception) -> str:
    """Returns what to do, to stand after the error, where it is that numba found no place."""
    if "no locator available" not in str(error):
        return ""
    return "; set NUMBA_CACHE_DIR to a folder that can be written"


def _cache_of_user() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")) / "numba"


def _is_writable(folder: Path) -> bool:
    """Returns whether files can be made in a folder, which may itself have to be made first."""
    there = next(one for one in (folder, *folder.parents) if os.path.exists(one) or not one.name)
    return os.path.isdir(there) and os.access(there, os.W_OK | os.X_OK)


def _temporary_folder() -> str | None:
    """Returns a folder that only this user can write, since what is in it is run; None for none."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    try:
        folder = Path(tempfile.gettempdir()) / f"ncf-search-{user}"
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        is_own = stat.S_ISDIR(found.st_mode) and found.st_uid == user
        if is_own and not found.st_mode & 0o022 and os.access(folder, os.W_OK):
            return str(folder)
        return tempfile.mkdtemp(prefix="ncf-search-")
    except OSError:
        return None
