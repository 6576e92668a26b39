"""A PostgreSQL server of the tests' own, in a temporary folder, on 127.0.0.1, its passwords checked."""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

OWNER, PASSWORD = "keeper", "s3cret-of-keeper"
DATABASE = "bitlaw"
START_SECONDS = 60.0


def programs() -> Path | None:
    """The folder that holds initdb and postgres, the newest of those Debian installs; None where there is none."""
    on_path = shutil.which("initdb")
    folders = [Path(on_path).resolve().parent] if on_path else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda f: -float(f.parent.name))
    return next((f for f in folders if (f / "initdb").is_file() and (f / "postgres").is_file()), None)


def ordinary_user() -> dict[str, Any]:
    """Arguments of Popen for a user that may run a server, which root may not."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise RuntimeError("neither a user postgres nor nobody")


class Server:
    """A server that can be stopped, killed and started again; its data stay."""

    def __init__(self) -> None:
        found = programs()
        assert found is not None
        self._programs = found
        self._as = ordinary_user()
        self.folder = Path(tempfile.mkdtemp(prefix="bitlaw-postgres-"))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        password = self.folder / "password"
        password.write_text(PASSWORD)
        if self._as:
            for path in (self.folder, password):
                os.chown(path, self._as["user"], self._as["group"])
        self._run(
            "initdb",
            "-D",
            "data",
            "-U",
            OWNER,
            "-A",
            "scram-sha-256",
            "--pwfile=password",
            "-E",
            "UTF8",
            "--locale=C",
            "-N",
        )
        self.start()
        self.execute(f"CREATE DATABASE {DATABASE}", database="postgres")

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._programs / program, *arguments], cwd=self.folder, capture_output=True, text=True, **self._as
        )
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        """Start it and wait until it answers."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "fsync": "off",  # the tests kill processes, not the machine
            "max_connections": 40,
            "shared_buffers": "16MB",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", "data", *options],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **self._as,
            )
        deadline = time.monotonic() + START_SECONDS
        import psycopg

        while True:
            try:
                self.execute("SELECT 1", database="postgres")
                return
            except psycopg.OperationalError:
                assert self._process.poll() is None, (self.folder / "log").read_text()
                assert time.monotonic() < deadline, (self.folder / "log").read_text()
                time.sleep(0.05)

    def stop(self, *, crash: bool = False) -> None:
        """End every session and stop; crash: at once, leaving the log to be replayed."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT if crash else signal.SIGINT)
            self._process.wait(START_SECONDS)
            self._process = None

    def restart(self, *, crash: bool = False) -> None:
        self.stop(crash=crash)
        self.start()

    def remove(self) -> None:
        self.stop(crash=True)
        shutil.rmtree(self.folder)

    def address(
        self,
        database: str = DATABASE,
        *,
        user: str = OWNER,
        password: str = PASSWORD,
        port: int | None = None,
        schema: str = "",
        scheme: str = "postgresql",
    ) -> str:
        """The address of a store."""
        options = f"?options=-csearch_path%3D{schema}" if schema else ""
        return f"{scheme}://{user}:{password}@127.0.0.1:{port or self.port}/{database}{options}"

    def connect(self, database: str = DATABASE, schema: str = "") -> Any:
        """A bare connection of the owner, statement by statement."""
        import psycopg

        return psycopg.connect(self.address(database, schema=schema), autocommit=True)

    def execute(self, statement: str, *, database: str = DATABASE, schema: str = "") -> list[tuple[Any, ...]]:
        """Run one statement as the owner -> its rows."""
        with self.connect(database, schema) as connection:
            cursor = connection.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []

    def schema(self, folder: Path) -> str:
        """The schema that belongs to a folder of a test, made if it is not there."""
        name = "s" + hashlib.sha256(str(folder).encode()).hexdigest()[:16]
        self.execute(f"CREATE SCHEMA IF NOT EXISTS {name}")
        return name

    def place(self, folder: Path) -> str:
        """The address of the store that belongs to a folder of a test."""
        return self.address(schema=self.schema(folder))
