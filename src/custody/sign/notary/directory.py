"""Where `notation` keeps what it knows, so that either program uses what the other made.

    CONFIG   $NOTATION_CONFIG, else $XDG_CONFIG_HOME/notation, else ~/.config/notation
      config.json  signingkeys.json  trustpolicy.json  trustpolicy.oci.json  trustpolicy.blob.json
      localkeys/NAME.key  localkeys/NAME.crt
      truststore/x509/{ca,signingAuthority,tsa}/NAME/FILE
    LIBEXEC  $NOTATION_LIBEXEC, else CONFIG
      plugins/NAME/notation-NAME
    CACHE    $NOTATION_CACHE, else $XDG_CACHE_HOME/notation, else ~/.cache/notation
      crl/

(notation-go `dir`.) Where neither the variable, nor XDG's, nor HOME is set, it is `.notation` in the working directory.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from custody.errors import MalformedError, UsageError
from custody.kit.folder import private

STORE_TYPES = ("ca", "signingAuthority", "tsa")
MAX_DOCUMENT = 1 << 20
"""Bytes of a document of the directory that are read."""
_NAME = re.compile(r"[a-zA-Z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Directory:
    config: Path
    libexec: Path
    cache: Path

    @property
    def config_file(self) -> Path:
        return self.config / "config.json"

    @property
    def signing_keys(self) -> Path:
        return self.config / "signingkeys.json"

    @property
    def oci_policy(self) -> Path:
        """The trust policy for images, there or not: trustpolicy.oci.json where that is there, as `notation` 2 has it,
        else trustpolicy.json. A link is there, wherever it leads."""
        newer = self.config / "trustpolicy.oci.json"
        return newer if os.path.lexists(newer) else self.config / "trustpolicy.json"

    @property
    def blob_policy(self) -> Path:
        return self.config / "trustpolicy.blob.json"

    def local_key(self, name: str) -> tuple[Path, Path]:
        """Key and certificate that were made here. Raises UsageError for a name that is no file's."""
        named(name, "key name")
        return self.config / "localkeys" / f"{name}.key", self.config / "localkeys" / f"{name}.crt"

    @property
    def trust_stores(self) -> Path:
        return self.config / "truststore" / "x509"

    def trust_store(self, store_type: str, name: str) -> Path:
        """The folder of a named store. Raises UsageError for a type that there is not, a name that is no folder's."""
        if store_type not in STORE_TYPES:
            raise UsageError(f"trust store type: got {store_type!r}, expected {', '.join(STORE_TYPES)}")
        return self.trust_stores / store_type / named(name, "trust store")

    @property
    def plugins(self) -> Path:
        return self.libexec / "plugins"

    def plugin(self, name: str) -> Path:
        """The program of a plugin. Raises UsageError for a name that is no folder's."""
        return self.plugins / named(name, "plugin name") / f"notation-{name}"

    @property
    def revocation_lists(self) -> Path:
        return self.cache / "crl"


def directory(environment: Mapping[str, str]) -> Directory:
    """The directories that an environment names, as `notation` takes them."""
    config = _place(environment, "NOTATION_CONFIG", "XDG_CONFIG_HOME", ".config", Path(".notation"))
    cache = _place(environment, "NOTATION_CACHE", "XDG_CACHE_HOME", ".cache", Path(".notation") / "cache")
    return Directory(config, Path(environment.get("NOTATION_LIBEXEC") or config), cache)


def _place(environment: Mapping[str, str], own: str, xdg: str, below_home: str, nowhere: Path) -> Path:
    if named_place := environment.get(own):
        return Path(named_place)
    if base := environment.get(xdg):
        # Go's os.UserConfigDir refuses a relative path, and notation then falls back as if there were no home.
        return Path(base) / "notation" if os.path.isabs(base) else nowhere
    home = environment.get("HOME")
    return Path(home) / below_home / "notation" if home else nowhere


def named(name: str, role: str) -> str:
    """The name itself, where it can be that of a file: letters, digits, `_`, `.` and `-`. Raises UsageError."""
    if not _NAME.fullmatch(name) or name in (".", ".."):
        raise UsageError(f"{role}: got {name!r}, expected letters, digits, '_', '.' and '-' alone")
    return name


def read_document(path: Path, limit: int = MAX_DOCUMENT) -> bytes | None:
    """What a file of the directory holds; None where there is none.

    Raises MalformedError for a link, a folder or any other place that is no regular file, as notation does, and for
    one of more than `limit` bytes; UsageError where it cannot be read.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if path.is_symlink():
            raise MalformedError(str(path), got="a link", expected="a regular file") from None
        raise UsageError(f"{path}: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise MalformedError(str(path), got="no file", expected="a regular file")
    with os.fdopen(handle, "rb") as stream:
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise MalformedError(str(path), got=f"more than {limit} bytes", expected=f"at most {limit}")
    return data


def write_document(path: Path, data: bytes) -> None:
    """Write a file that its owner alone may read, whole or not at all; folders above it are made with mode 0700.

    Raises UsageError, StorageFullError.
    """
    from custody.kit import destination  # who only verifies writes nothing, and waits for no import of it

    if path.is_symlink():
        raise UsageError(f"{path}: is a link, expected a regular file or nothing")
    try:
        for folder in (*reversed(path.parent.parents), path.parent):
            if not folder.exists():
                private(folder)
    except OSError as error:
        raise UsageError(f"{path.parent}: {error.strerror}, expected a folder that this user may write to",
                         hint="NOTATION_CONFIG names another") from None
    with destination.opened(path, "", private=True) as stream:
        stream.write(data)
