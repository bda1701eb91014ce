"""What texts about a process and its container are in Falco's terms."""

from __future__ import annotations

from collections.abc import Sequence

COMM = 15
"""Bytes of a command's name that the kernel keeps (TASK_COMM_LEN less its zero)."""
UNSET = 4294967295
"""A login user id that was never set; Falco has -1."""


def name(path: str | None) -> str | None:
    """`proc.name` of an executable's path."""
    return path.rpartition("/")[2][:COMM] if path else None


def cmdline(path: str | None, arguments: str | None) -> str | None:
    """`proc.cmdline`: the command's name and its arguments."""
    if not path:
        return None
    command = path.rpartition("/")[2][:COMM]
    return f"{command} {arguments}" if arguments else command


def folder(path: str | None) -> str | None:
    """`proc.cwd`, which ends with a slash."""
    return path if not path or path[-1] == "/" else path + "/"


def directory(path: str | None) -> str | None:
    """`fd.directory` of a file's path."""
    if not path:
        return None
    return path.rpartition("/")[0] or "/"


def filename(path: str | None) -> str | None:
    """`fd.filename`."""
    return path.rpartition("/")[2] if path else None


def container(identifier: str) -> str:
    """`container.id`: twelve digits, without the runtime's scheme; `host` for none."""
    return identifier.rpartition("/")[2][:12] or "host"


def repository(image: str | None) -> str | None:
    """`container.image.repository`: without tag and digest."""
    if not image:
        return None
    image = image.partition("@")[0]
    head, colon, tail = image.rpartition(":")
    return head if colon and "/" not in tail else image


def tag(image: str | None) -> str | None:
    image = (image or "").partition("@")[0]
    head, colon, tail = image.rpartition(":")
    return tail if head and colon and "/" not in tail else None


def digest(image: str | None) -> str | None:
    """`container.image.digest` of `NAME@sha256:…`, or of the digest alone."""
    text = (image or "").rpartition("@")[2]
    return text if text.startswith("sha256:") else None


def login(user: int | None) -> int | None:
    """`user.loginuid`."""
    return -1 if user == UNSET else user


def user(identifier: int | None, text: str | None = None) -> str | None:
    """`user.name`: only root's is known without the machine's user database."""
    return text or ("root" if identifier == 0 else None)


def capabilities(names: Sequence[str]) -> str:
    """`thread.cap_permitted`: Tetragon leaves out the prefix of some."""
    return " ".join(capability if capability.startswith("CAP_") else f"CAP_{capability}" for capability in names)


def connection(client: str | None, client_port: int | None, server: str | None, server_port: int | None) -> str | None:
    """`fd.name` of a connection; what is not known of the client is its zero."""
    if server is None:
        return None
    return f"{client or ('::' if ':' in server else '0.0.0.0')}:{client_port or 0}->{server}:{server_port or 0}"  # noqa: S104


def typechar(address: str | None) -> str | None:
    """`fd.typechar` of a socket."""
    return None if address is None else "6" if ":" in address else "4"
