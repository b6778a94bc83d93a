"""A real PostgreSQL for tests, which requires a password.

`tests/conftest.py` loads it by its path, like `tests/wandb_loopback`, so that every test can write
`from postgres import running`.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

#: Has characters that must be quoted in a URI.
SECRET = "hunter2@%/:"


class Cluster:
    """A PostgreSQL on a loopback port, with the user `mlflow`."""

    def __init__(self, programs: Path, folder: Path, user: dict[str, Any]) -> None:
        self._programs, self._folder, self._user = programs, folder, user
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.uri = self.uri_with(SECRET)

    def uri_with(self, password: str) -> str:
        """The store's URI with this password."""
        return f"postgresql+psycopg2://mlflow:{quote(password, safe='')}@{self.address}"

    @property
    def address(self) -> str:
        """Host, port and database."""
        return f"127.0.0.1:{self.port}/postgres"

    def create(self) -> None:
        """Create the files; every connection needs the password."""
        secret = self._folder / "secret"
        secret.write_text(SECRET)
        secret.chmod(0o644)
        command = [str(self._programs / "initdb"), "-D", str(self._folder / "data"), "--no-sync"]
        command += ["-U", "mlflow", "--auth=scram-sha-256", f"--pwfile={secret}"]
        subprocess.run(command, check=True, capture_output=True, cwd="/", **self._user)
        secret.unlink()

    def start(self) -> None:
        """Start the server, and wait until it accepts connections."""
        command = [str(self._programs / "postgres"), "-D", str(self._folder / "data")]
        command += ["-p", str(self.port), "-h", "127.0.0.1", "-k", str(self._folder), "-F"]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, cwd="/", stdout=log, stderr=log, **self._user)
        ready = [str(self._programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        deadline = time.monotonic() + 300
        while subprocess.run(ready, check=False).returncode != 0:
            assert time.monotonic() < deadline, (self._folder / "log").read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop the server immediately, even with open connections."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(300)
            self._process = None


class Missing(Exception):
    """PostgreSQL is not installed, or there is no account to run it."""


@contextmanager
def running() -> Iterator[Cluster]:
    """Run a cluster during the block.

    Raises:
        Missing: PostgreSQL cannot run here.
    """
    initdbs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    which = shutil.which("initdb")
    if not initdbs and which is None:
        raise Missing("PostgreSQL is not installed")
    programs = initdbs[-1].parent if initdbs else Path(str(which)).parent
    user: dict[str, Any] = {}
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        try:
            account = pwd.getpwnam("postgres")
        except KeyError:
            raise Missing(
                "PostgreSQL does not run as root, and there is no account for it"
            ) from None
        user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    folder = Path(tempfile.mkdtemp(prefix="lrtrack-postgres-"))
    if user:
        os.chown(folder, user["user"], user["group"])
    cluster = Cluster(programs, folder, user)
    try:
        cluster.create()
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder)
