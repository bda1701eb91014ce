"""Keys that custody does not hold: at services, on tokens, behind plugins. The reference's scheme says who has them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from custody.errors import UsageError
from custody.formats.pkcs11uri import is_token
from custody.kit.clock import Clock, system_clock
from custody.ports.lookup import KEY_SERVICES
from custody.settings import Settings

if TYPE_CHECKING:
    from custody.adapters.pkcs11.tokens import Module
    from custody.ports.http import Http
    from custody.ports.keyservice import KeyService

_NOT_PLUGINS = ("env://", "k8s://", "file://", "http://", "https://", "gitlab://", "github://", "oci://")
"""References that have another meaning, here or at cosign: no plugin is asked for them."""


def is_kept_elsewhere(name: str) -> bool:
    """Whether a name is that of a key which a service, a token or a plugin has."""
    return is_token(name) or ("://" in name and not name.startswith(_NOT_PLUGINS))


def key_service(settings: Settings, http: Http, name: str, ask_pin: Callable[[str], str | None] | None = None,
                clock: Clock = system_clock) -> KeyService:
    """`ask_pin` asks a person for the PIN of the key of that name, and says None where nobody is there to be asked.

    Raises MalformedError, UnsupportedError, UsageError.
    """
    if is_token(name):
        return _token_key(name, ask_pin)
    if name.startswith(KEY_SERVICES):
        from custody.adapters.http.kms import KeyServices
        from custody.wiring.clients import command_http, vault_token

        direct = partial(command_http, settings, proxies=False)
        return KeyServices(http, os.environ, clock, direct, vault_token, aws_profile).named(name)
    from custody.sign.kmsplugin import PluginKey
    from custody.wiring.clients import programs

    return PluginKey(name, shutil.which, programs(), clock)


def token_module(path: str | None) -> Module:
    """The PKCS#11 module of that path, else of the environment. Raises UsageError."""
    from custody.adapters.pkcs11.tokens import Module
    from custody.wiring.clients import programs

    path = path or os.environ.get("COSIGN_PKCS11_MODULE_PATH") or os.environ.get("PKCS11_MODULE_PATH")
    if not path:
        raise UsageError("PKCS#11 module: none is named", hint="module-path in the URI, --module-path, or "
                         "COSIGN_PKCS11_MODULE_PATH")
    return Module(path, programs())


def _token_key(name: str, ask_pin: Callable[[str], str | None] | None) -> KeyService:
    from custody.adapters.pkcs11.tokens import TokenKey, stated_pin
    from custody.formats import pkcs11uri

    uri = pkcs11uri.parse(name)
    return TokenKey(uri, token_module(uri.module), partial(stated_pin, uri, os.environ), ask_pin,
                    ignore_certificate=os.environ.get("COSIGN_PKCS11_IGNORE_CERTIFICATE") == "1")


_PROFILE = {"aws_access_key_id": "AWS_ACCESS_KEY_ID", "aws_secret_access_key": "AWS_SECRET_ACCESS_KEY",
            "aws_session_token": "AWS_SESSION_TOKEN", "region": "AWS_REGION"}


def aws_profile() -> dict[str, str]:
    """What AWS's files say of the profile of AWS_PROFILE, by the variables in whose place it stands; empty where there
    are none. Raises UsageError for a file that is none, or has no such profile."""
    import configparser

    name = os.environ.get("AWS_PROFILE") or "default"
    folder = Path.home() / ".aws"
    said: dict[str, str] = {}
    for variable, file, section in (("AWS_CONFIG_FILE", "config", name if name == "default" else f"profile {name}"),
                                    ("AWS_SHARED_CREDENTIALS_FILE", "credentials", name)):
        path = Path(os.environ.get(variable) or folder / file)
        parser = configparser.RawConfigParser()
        try:
            parser.read(path)
        except (configparser.Error, UnicodeDecodeError, OSError) as error:
            raise UsageError(f"{path}: got no file of profiles ({type(error).__name__})") from None
        if parser.has_section(section):
            said |= {_PROFILE[key]: value for key, value in parser.items(section) if key in _PROFILE}
    if not said and os.environ.get("AWS_PROFILE"):
        raise UsageError(f"AWS_PROFILE: got {name!r}, of which AWS's files of profiles say nothing")
    return said
