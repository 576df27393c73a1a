"""Database servers of the tests' own: to be stopped, killed, frozen and cut off, without harm to anybody else."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ClassVar

import sqlalchemy as sa

from tests.support.databases import sync_engine
from tests.support.processes import children, free_port

START_SECONDS = 180


class AbsentError(Exception):
    """Such a server cannot be started here; the message says why."""


class PrivateServer(ABC):
    """A server with a data folder, a port and a socket of its own."""

    kind: ClassVar[str]
    quick: ClassVar[signal.Signals] = signal.SIGTERM  # ends it in good order, whoever is connected

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="userapi_"))
        self.data = self.folder / "data"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Where tests may make databases, as the user who may do anything."""

    @abstractmethod
    def _make(self) -> None:
        """Fill the data folder."""

    @abstractmethod
    def _command(self) -> list[str]: ...

    def _user(self) -> str | None:
        """The user to run as; None for the present one."""
        return None

    def _run(self, command: list[str]) -> None:
        made = subprocess.run(
            command, cwd=self.folder, user=self._user(), group=self._user(), capture_output=True, text=True, check=False
        )
        if made.returncode:
            raise AbsentError(f"{command[0]} failed: {made.stderr.strip() or made.stdout.strip()}")

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                cwd=self.folder,
                user=self._user(),
                group=self._user(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        engine = sync_engine(self.url, poolclass=sa.NullPool)
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                engine.connect().close()
                return
            except sa.exc.OperationalError as error:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    words = (self.folder / "log").read_text(errors="replace")[-2000:]
                    raise AbsentError(f"the private {self.kind} server did not start: {words}") from error
                time.sleep(0.02)

    def end(self, how: signal.Signals | None = None) -> None:
        """Send it a signal that ends it, and wait for that."""
        assert self._process
        self._process.send_signal(how or self.quick)
        self._process.wait(START_SECONDS)

    def crash(self) -> None:
        """End it at once, without a word to its clients."""
        self.end(signal.SIGKILL)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """It is down inside, and up again afterwards."""
        self.end()
        try:
            yield
        finally:
            self.start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Inside, it neither answers nor closes any connection."""
        assert self._process
        frozen = [self._process.pid]
        try:
            os.kill(self._process.pid, signal.SIGSTOP)  # first: it makes no more children then
            frozen += children(self._process.pid)
            for pid in frozen[1:]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
            yield
        finally:
            for pid in reversed(frozen):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def close(self) -> None:
        """End it and remove its data."""
        if self._process and self._process.poll() is None:
            self.end()
        shutil.rmtree(self.folder, ignore_errors=True)


class PostgreSQL(PrivateServer):
    kind = "postgresql"
    quick = signal.SIGINT  # its "fast" shutdown
    options: ClassVar[tuple[str, ...]] = ()  # more of them

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres?sslmode=disable"

    def _user(self) -> str | None:
        return "postgres" if os.geteuid() == 0 else None  # it refuses to run as root

    def _make(self) -> None:
        if user := self._user():
            try:
                shutil.chown(self.folder, user, user)
            except LookupError as error:
                raise AbsentError("PostgreSQL does not run as root, and there is no user postgres") from error
        self._run([binary("initdb"), "-D", str(self.data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "-N"])

    def _command(self) -> list[str]:
        # The deadlock check comes early, so that tests need not wait for it.
        options = ["listen_addresses=127.0.0.1", f"unix_socket_directories={self.folder}", "deadlock_timeout=50ms"]
        options += self.options
        command = [binary("postgres"), "-D", str(self.data), "-p", str(self.port)]
        return command + [part for option in options for part in ("-c", option)]

    def crash(self) -> None:
        """As `pg_ctl restart -m immediate` does: no checkpoint, every client is cut off, recovery at the next start."""
        self.end(signal.SIGQUIT)


class MariaDB(PrivateServer):
    kind = "mysql"

    @property
    def url(self) -> str:
        return f"mysql://root@127.0.0.1:{self.port}/mysql"

    def _make(self) -> None:
        self._run(
            [
                binary("mariadb-install-db"),
                "--no-defaults",
                f"--datadir={self.data}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                *self._user_option(),
            ]
        )

    def _command(self) -> list[str]:
        return [
            binary("mariadbd"),
            "--no-defaults",
            f"--datadir={self.data}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            f"--socket={self.folder}/socket",
            f"--pid-file={self.folder}/pid",
            *self._user_option(),
        ]

    def _user_option(self) -> list[str]:
        """What it asks for to run as root."""
        return ["--user=root"] if os.geteuid() == 0 and self._user() is None else []


def start(kind: str) -> PrivateServer:
    """Start a server of this kind.

    Raises: AbsentError.
    """
    server = PostgreSQL() if kind == "postgresql" else MariaDB()
    try:
        server._make()
        server.start()
    except BaseException:
        server.close()
        raise
    return server


def binary(name: str) -> str:
    """Where a program is; raises AbsentError."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    places = [os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin", *map(str, versions)]
    found = shutil.which(name, path=os.pathsep.join(places))
    if found is None:
        raise AbsentError(f"there is no {name} to start a private server with")
    return found
