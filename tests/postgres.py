"""A PostgreSQL server of this test's own, from Debian's package `postgresql`; skips by name where there is none."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NOBODY = "postgres"  # the server refuses to run as root
_SPEED = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "listen_addresses=", "max_connections=40")


def programs() -> Path | None:
    """Where `initdb` and `pg_ctl` are."""
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if places:
        return places[-1].parent
    program = shutil.which("initdb")
    return Path(program).resolve().parent if program else None


@contextmanager
def server() -> Iterator[str]:
    """Its address, on a Unix socket, for as long as it runs."""
    pytest.importorskip("psycopg", reason="psycopg (the extra `postgres`) is not installed")
    bin_ = programs()
    if bin_ is None:
        pytest.skip("peer postgresql is not installed")
    with tempfile.TemporaryDirectory(prefix="pg") as folder:
        data = Path(folder) / "data"
        user = None
        if os.geteuid() == 0:
            try:
                user = pwd.getpwnam(NOBODY).pw_name
            except KeyError:
                pytest.skip("peer postgresql: no user postgres to run it as")
            shutil.chown(folder, user)
        run = {"user": user, "cwd": folder, "check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        subprocess.run([bin_ / "initdb", "-D", data, "-U", NOBODY, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8",
                        "--no-sync"], **run)  # type: ignore[call-overload]
        options = " ".join(f"-c {option}" for option in _SPEED)
        subprocess.run([bin_ / "pg_ctl", "-D", data, "-w", "-l", Path(folder) / "log", "-o", f"{options} -k {folder}",
                        "start"], **run)  # type: ignore[call-overload]
        try:
            yield f"host={folder} user={NOBODY} dbname=postgres"
        finally:
            subprocess.run([bin_ / "pg_ctl", "-D", data, "-m", "immediate", "stop"], **run)  # type: ignore[call-overload]


def database(address: str) -> str:
    """The address of a new database of that server."""
    import psycopg

    name = f"t{uuid.uuid4().hex}"
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')  # type: ignore[arg-type]
    return address.replace("dbname=postgres", f"dbname={name}")
