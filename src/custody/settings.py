"""Settings: flags over `CUSTODY_*` variables over `custody.toml`. Every key is listed here; others are refused.

A variable is `CUSTODY_` and a key in capitals: `CUSTODY_KEEP_EVIDENCE=5`. An empty one counts as not set. Paths in
variables are relative to the working directory.
"""

from __future__ import annotations

import math
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec

from custody.errors import MalformedError, UsageError

_PREFIX = "CUSTODY_"
_SEPARATORS = {"policies": os.pathsep, "crds": os.pathsep, "plain_http": ","}
"""How a variable lists several values; hosts have colons in them."""
_BOOLEANS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
_OTHERS = {"CUSTODY_CONFIG", "CUSTODY_ORACLES", "CUSTODY_PEERS", "CUSTODY_PEERS_TOOLS", "CUSTODY_IMAGES",
           "CUSTODY_INPUTS", "CUSTODY_OUTPUT", "CUSTODY_SOURCE", "CUSTODY_ROOT"}
"""No settings: where the file is, what custody's own tests use, and what a build step is told."""
_KUBERNETES = re.compile(r"CUSTODY_(?:[A-Z0-9_]+_)?(?:SERVICE_(?:HOST|PORT)(?:_[A-Z0-9_]+)?|"
                         r"PORT(?:_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)\Z")
"""What the kubelet sets in every pod for a Service whose name begins with `custody`."""


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
    """Open no socket; what is not on this machine is an error that names it. Services listen, and ask nobody."""
    mirrors: dict[str, str] = {}
    """Names of images → where they are served: `"ghcr.io/myorg" = "127.0.0.1:5080/myorg"`. Longest prefix wins."""
    trusted_root: str | None = None
    """trusted_root.json to verify with; default: the one of this data directory's services."""
    signing_config: str | None = None
    """signing_config.json that says where to sign; default: this data directory's services."""
    policies: list[str] = []
    """Policy files or folders that `check` and the webhook use. `CUSTODY_POLICIES=a.yaml:folder`."""
    crds: list[str] = []
    """CustomResourceDefinition files or folders: the kinds beyond Kubernetes' own that policies may name."""
    plain_http: list[str] = []
    """Registries without TLS, beside localhost and 127.0.0.0/8. `CUSTODY_PLAIN_HTTP=one:5000,two:5000`."""
    keep_evidence: float = 10.0
    """Seconds for which the webhook counts what it gathered about a digest; newer evidence counts after that."""
    max_document: Annotated[int, msgspec.Meta(ge=1, le=128)] = 8
    """MiB of the largest signed document that `check` and the webhook read; a larger one is rejected, those beside it
    are not. Each MiB more costs memory and delays other reviews while such a document is read."""
    issuers: list[Issuer] = []
    """Other OIDC issuers that the certificate authority serves."""
    sparse_indexes: bool = False
    """The registry takes and serves manifests of which it has not all parts: an index with the images of some platforms
    only, an image without a layer that lies elsewhere."""
    urls: dict[str, str] = {}
    """How the trust root names the services, where not by the address they listen on: oidc, ca, log, ct, tsa."""

    def replace(self, **changes: Any) -> Settings:
        return msgspec.structs.replace(self, **changes)

    @property
    def data(self) -> Path:
        return Path(self.data_dir)


def load_settings(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read `path`, else $CUSTODY_CONFIG, else ./custody.toml if there is one, and the environment over it.

    Raises UsageError, MalformedError: also for a `CUSTODY_*` variable that is no setting.
    """
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
        _refuse_unknown(values, str(file))
    variables = _from_environment(env)
    values |= variables
    if unknown := set(values.get("urls") or ()) - {"oidc", "ca", "log", "ct", "tsa"}:
        raise MalformedError(f"{chosen or 'custody.toml'}: urls", got=min(unknown), expected="oidc, ca, log, ct or tsa")
    try:
        settings = msgspec.convert(values, Settings)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$.")
        key = place.rstrip("`")
        where = _PREFIX + key.upper() if key in variables else f"{chosen or 'custody.toml'}: {key}".removesuffix(": ")
        raise UsageError(f"{where}: {reason.replace('Expected', 'expected').replace('Object contains', 'contains')}",
                         hint="the settings are in docs/reference/settings.md") from None
    if not 0 <= settings.keep_evidence < math.inf:
        raise MalformedError("keep_evidence", got=settings.keep_evidence, expected="seconds, 0 or more")
    return settings


def _refuse_unknown(values: Mapping[str, Any], where: str) -> None:
    for key in values:
        if key not in Settings.__struct_fields__:
            raise UsageError(f"{where}: {key}: is no setting", hint=_near(key, Settings.__struct_fields__))


def _near(name: str, known: Iterable[str]) -> str:
    import difflib  # not for every start

    near = difflib.get_close_matches(name, list(known), 1)
    return f"did you mean {near[0]}?" if near else "the settings are in docs/reference/settings.md"


def _from_environment(env: Mapping[str, str]) -> dict[str, Any]:
    kinds = {field.name: field.type for field in msgspec.structs.fields(Settings)}
    values: dict[str, Any] = {}
    for name, text in sorted(env.items()):
        if not name.startswith(_PREFIX) or name in _OTHERS or _KUBERNETES.match(name):
            continue
        key = name.removeprefix(_PREFIX).lower()
        if key not in kinds or name != _PREFIX + key.upper():
            raise UsageError(f"{name}: is no setting", hint=_near(name, [_PREFIX + known.upper() for known in kinds]))
        if text:
            values[key] = _value(name, key, kinds[key], text)
    return values


def _value(name: str, key: str, kind: Any, text: str) -> Any:
    """A variable's text as the setting's type."""
    if get_origin(kind) is Annotated:  # with limits, which are checked with the whole
        kind = get_args(kind)[0]
    if isinstance(kind, UnionType):  # an optional one
        (kind,) = (part for part in get_args(kind) if part is not type(None))
    if kind is str:
        return text
    if kind == list[str]:
        parts = text.split(_SEPARATORS.get(key, ","))
        if not all(parts):
            raise MalformedError(name, got=text, expected=f"names, with a {_SEPARATORS.get(key, ',')!r} between two")
        return parts
    if kind is bool:
        if text.lower() not in _BOOLEANS:
            raise MalformedError(name, got=text, expected="true or false (or 1, 0, yes, no)")
        return _BOOLEANS[text.lower()]
    if kind in (int, float):
        try:
            return msgspec.convert(text, kind, strict=False)
        except msgspec.ValidationError:
            raise MalformedError(name, got=text, expected="a number") from None
    raise UsageError(f"{name}: {key} is a table, which a variable cannot hold", hint=f"[{key}] in custody.toml")
