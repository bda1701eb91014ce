"""Settings: flags over `CUSTODY_*` variables over `custody.toml`. Every key is listed here; others are refused."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from custody.errors import MalformedError, UsageError


class Issuer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An OIDC issuer whose tokens the certificate authority takes, beside custody's own."""

    url: str
    """The `iss` of its tokens."""
    jwks: str | None = None
    """A file with the issuer's public keys (JWK set). Without one they are asked for at `url` (OIDC discovery)."""
    type: Literal["email", "github-workflow", "uri"] = "email"
    """What of a token becomes the certificate's identity: `email`, `job_workflow_ref`, or a URI in `sub`."""
    client_id: str = "sigstore"
    """The `aud` that its tokens must have."""
    subject_domain: str | None = None
    """For type uri: scheme and host that every subject has."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a command knows before it starts. Paths are relative to the file that names them."""

    data_dir: str = ".custody"
    """Where services, caches and the advisory database keep their state."""
    offline: bool = False
    """Open no socket; what is not on this machine is an error that names it."""
    mirrors: dict[str, str] = {}
    """Names of images → where they are served: `"ghcr.io/myorg" = "127.0.0.1:5080/myorg"`. Longest prefix wins."""
    trusted_root: str | None = None
    """trusted_root.json to verify with; default: the one of this data directory's services."""
    signing_config: str | None = None
    """signing_config.json that says where to sign; default: this data directory's services."""
    policies: list[str] = []
    """Policy files or folders that `check` and the webhook use."""
    crds: list[str] = []
    """CustomResourceDefinition files or folders: the kinds beyond Kubernetes' own that policies may name."""
    plain_http: list[str] = []
    """Registries without TLS, beside localhost and 127.0.0.0/8."""
    keep_evidence: float = 10.0
    """Seconds for which the webhook counts what it gathered about a digest; newer evidence counts after that."""
    max_document: Annotated[int, msgspec.Meta(ge=1, le=128)] = 8
    """MiB of the largest signed document that `check` and the webhook read; a larger one is rejected, those beside it
    are not. Each MiB more costs memory and delays other reviews while such a document is read."""
    issuers: list[Issuer] = []
    """Other OIDC issuers that the certificate authority serves."""
    urls: dict[str, str] = {}
    """How the trust root names the services, where not by the address they listen on: oidc, ca, log, ct, tsa."""

    def replace(self, **changes: Any) -> Settings:
        return msgspec.structs.replace(self, **changes)

    @property
    def data(self) -> Path:
        return Path(self.data_dir)


def load_settings(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read `path`, else $CUSTODY_CONFIG, else ./custody.toml if there is one. Raises UsageError, MalformedError."""
    env = os.environ if environ is None else environ
    chosen = path or (Path(env["CUSTODY_CONFIG"]) if env.get("CUSTODY_CONFIG") else None)
    values: dict[str, Any] = {}
    if chosen is not None or Path("custody.toml").is_file():
        file = chosen or Path("custody.toml")
        try:
            values = tomllib.loads(file.read_text())
        except OSError as error:
            raise UsageError(f"{file}: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise MalformedError(str(file), got=str(error), expected="TOML") from None
        for key in ("data_dir", "trusted_root", "signing_config"):
            if isinstance(values.get(key), str):
                values[key] = str(file.parent / values[key])
        for key in ("policies", "crds"):
            if isinstance(values.get(key), list):
                values[key] = [str(file.parent / entry) for entry in values[key]]
        for entry in values["issuers"] if isinstance(values.get("issuers"), list) else []:
            if isinstance(entry, dict) and isinstance(entry.get("jwks"), str):
                entry["jwks"] = str(file.parent / entry["jwks"])
    for key in ("data_dir", "trusted_root", "signing_config"):
        if name := env.get("CUSTODY_" + key.upper()):
            values[key] = name
    if env.get("CUSTODY_OFFLINE"):
        values["offline"] = env["CUSTODY_OFFLINE"] not in ("0", "false", "no")
    if unknown := set(values.get("urls") or ()) - {"oidc", "ca", "log", "ct", "tsa"}:
        raise MalformedError(f"{chosen or 'custody.toml'}: urls", got=min(unknown), expected="oidc, ca, log, ct or tsa")
    try:
        return msgspec.convert(values, Settings)
    except msgspec.ValidationError as error:
        raise MalformedError(str(chosen or "custody.toml"), got=str(error),
                             expected="the keys of docs/reference/settings.md") from None
