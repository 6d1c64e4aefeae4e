"""A PostgreSQL server of Debian in a temporary folder, with a user `bench` whose password is known."""

import os
import shutil
import socket
import subprocess
import tempfile
from contextlib import closing
from pathlib import Path

PROGRAMS = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)
PASSWORD = "pl4nted-s3cret"


def problem() -> str:
    """Return why no server can be started here; empty if one can."""
    if PROGRAMS is None or not (PROGRAMS / "initdb").exists():
        return "no PostgreSQL server is installed"
    if os.getuid() == 0 and (shutil.which("runuser") is None or not _has_user()):
        return "PostgreSQL does not run as root, and there is no user postgres"
    return ""


def _has_user() -> bool:
    return any(line.startswith("postgres:") for line in Path("/etc/passwd").read_text().splitlines())


class Server:
    """A server with an empty database, at a free port of this machine."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
        with closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"postgresql://bench:{PASSWORD}@127.0.0.1:{self.port}/postgres"
        (self.folder / "password").write_text(PASSWORD)
        if os.getuid() == 0:
            for path in (self.folder, self.folder / "password"):
                shutil.chown(path, "postgres", "postgres")
        self._call("initdb", "-D", f"{self.folder}/data", "-U", "bench", "--auth=scram-sha-256", "--no-sync",
                   f"--pwfile={self.folder}/password", "--locale=C", "--encoding=UTF8")  # fmt: skip
        self.start()

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder} -c fsync=off"
        self._call("pg_ctl", "start", "-w", "-D", f"{self.folder}/data", "-l", f"{self.folder}/log", "-o", options)

    def stop(self) -> None:
        """End the server at once, as if it were killed: connections break, and it recovers at its next start."""
        self._call("pg_ctl", "stop", "-w", "-m", "immediate", "-D", f"{self.folder}/data")

    def remove(self) -> None:
        """End the server, and remove its folder."""
        self.stop()
        shutil.rmtree(self.folder)

    def _call(self, program: str, *words: str) -> None:
        user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        command = [*user, f"{PROGRAMS}/{program}", *words]
        # Its output goes to a file: the server would keep a pipe open.
        with (self.folder / "output").open("a+") as output:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=self.folder)
            output.seek(0)
            assert done.returncode == 0, output.read()
