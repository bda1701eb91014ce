"""Files that commands are given: what to trust, where to sign, documents; light to import."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from custody.errors import MalformedError, UsageError
from custody.kit import regular
from custody.settings import Settings
from custody.trust.roots import SigningConfig, TrustedRoot, parse_signing_config, parse_trusted_root
from custody.trust.tuf.mirrored import check_age

_MAX_INPUT = 256 << 20
trusted_root_option = click.option("--trusted-root", metavar="FILE",
                                   help="trusted_root.json, or a client trust config; default: the services' own, or "
                                   "what `initialize` fetched.")


def read_input(path: str, flag: str) -> bytes:
    """A file's bytes, or for `-` those of standard input. Raises UsageError, MalformedError for too many."""
    if path != "-":
        return regular.limited(Path(path), _MAX_INPUT, flag)
    data = sys.stdin.buffer.read(_MAX_INPUT + 1)
    if len(data) > _MAX_INPUT:
        raise MalformedError(f"{flag} -", got=f"more than {_MAX_INPUT} bytes", expected=f"at most {_MAX_INPUT}")
    return data


def load_root(settings: Settings, given: str | None) -> TrustedRoot | None:
    """The trusted root of a flag, the settings or the data directory; None where there is none anywhere."""
    data, where = _read(settings, given or settings.trusted_root, "trusted_root.json")
    return parse_trusted_root(data, where) if data is not None else None


def load_config(settings: Settings, given: str | None, *, log: bool, signs: bool = True) -> SigningConfig:
    """Where to sign, without the logs unless `log`; empty where no services are known. `signs` as when it is parsed."""
    data, where = _read(settings, given or settings.signing_config, "signing_config.json")
    config = parse_signing_config(data, where, signs=signs) if data is not None else SigningConfig()
    return config if log else SigningConfig(config.ca, config.oidc, (), config.tsa)


def _read(settings: Settings, named: str | None, name: str) -> tuple[bytes | None, str]:
    path = Path(named) if named else settings.data / "trust" / name
    if not named:
        check_age(path.parent, refuse=settings.expired_trusted_root == "refuse")
    try:
        return path.read_bytes(), str(path)
    except FileNotFoundError:
        if named:
            raise UsageError(f"{path}: no such file") from None
        return None, str(path)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
