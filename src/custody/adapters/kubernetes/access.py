"""How an API server is reached: its address, whom its certificate must be of, and who asks."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from custody.errors import AuthenticationError


@dataclass(frozen=True, slots=True)
class Access:
    where: str
    """What says so, for messages: a file or folder."""
    url: str
    """`https://host:port`, without a slash at its end."""
    tls: ssl.SSLContext
    """With the client's certificate, where that is who asks. Files are read once: another CA needs a restart."""
    token: Callable[[], str]
    """The bearer token of now; "" for none. Raises AuthenticationError."""


def token_file(path: Path) -> Callable[[], str]:
    """Reads the file each time: the kubelet puts another token there before the one of before runs out."""
    def token() -> str:
        try:
            text = path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise AuthenticationError(f"{path}: the token cannot be read ({type(error).__name__})") from None
        if not text or not text.isprintable() or " " in text:
            raise AuthenticationError(f"{path}: got no token, expected one line of text")
        return text

    return token
