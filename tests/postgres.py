"""A real PostgreSQL on this machine, which a test may stop and start again."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

# Where Debian has the programs of the server, which are not on the path.
_FOLDERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
_SETTINGS = "-c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"


class Postgres:
    """A server on loopback that trusts whoever comes, with files in a folder of its own."""

    def __init__(self) -> None:
        """Makes and starts a server; skips the test where none is installed."""
        initdb = shutil.which("initdb", path=os.pathsep.join(map(str, _FOLDERS)) or None)
        if initdb is None:
            pytest.skip("no PostgreSQL is installed: `apt-get install postgresql`")
        self._programs = Path(initdb).parent
        self._folder = Path(tempfile.mkdtemp(prefix="ncf-postgres-"))
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = int(free.getsockname()[1])
        self._as_user: list[str] = []
        if os.getuid() == 0:  # the server refuses to run as root
            self._as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
            shutil.chown(self._folder, "postgres")
        self._run("initdb", "--auth=trust", "--username=postgres", "--no-sync", "-E", "UTF8")
        self.start()

    def create_database(self, name: str) -> str:
        """Returns the URL of a new database."""
        address = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres"]
        subprocess.run([str(self._programs / "createdb"), *address, name], check=True)
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}"

    def start(self) -> None:
        """Starts the server, and waits until it answers."""
        log = str(self._folder / "log")
        options = f"{_SETTINGS} -p {self.port}"
        self._run("pg_ctl", "start", "--wait", "--log", log, "--options", options)

    def stop(self) -> None:
        """Ends all connections and the server."""
        self._run("pg_ctl", "stop", "--wait", "--mode", "fast")

    def remove(self) -> None:
        """Stops the server and removes its files."""
        self.stop()
        shutil.rmtree(self._folder)

    def _run(self, program: str, *options: str) -> None:
        command = [*self._as_user, str(self._programs / program), "-D", str(self._folder / "data")]
        subprocess.run(
            [*command, *options], check=True, stdout=subprocess.DEVNULL, cwd=self._folder
        )
