"""Settings: flags over `CUSTODY_*` variables over `custody.toml`. Every key is listed here; others are refused.

A variable is `CUSTODY_` and a key in capitals: `CUSTODY_KEEP_EVIDENCE=5`. An empty one counts as not set. Paths in
variables are relative to the working directory.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from custody.errors import MalformedError, UsageError
from custody.kit.folder import state_folder
from custody.kit.near import near
from custody.settings.tables import (
    Advisories,
    Auth,
    Counting,
    EvidenceProvider,
    Issuer,
    Rescan,
    Runtime,
    Sensing,
    Source,
    Summaries,
)

_PREFIX = "CUSTODY_"
_SETTINGS = "the settings are in docs/reference/settings.md"
_SEPARATORS = {"policies": os.pathsep, "crds": os.pathsep, "plain_http": ",", "hosts": ",", "exceptions": ",",
               "exempt_namespaces": ",", "policy_hosts": ",", "exception_keys": os.pathsep, "notify": ","}
"""How a variable lists several values; hosts have colons in them."""
_PATHS = ("data_dir", "kubeconfig", "trusted_root", "notation", "signing_config", "tls_certificate", "tls_key",
          "tls_client_ca", "webhook_certificate", "webhook_key", "webhook_client_ca", "summary_key",
          "provider_certificate", "provider_key")
_PATHS_IN_TABLES = {
    "auth": ("htpasswd",), "summaries": ("keys",), "advisories": ("keys",),
    "source": ("popular", "allowed_signers", "openpgp_keyring", "ca_roots"),
    "counting": ("vex", "ignorefiles", "key"), "runtime": ("rules", "token"), "sensing": ("mounts",),
    "external_data": ("client_ca", "certificate", "key", "keys")}
_BOOLEANS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
_OTHERS = {"CUSTODY_CONFIG", "CUSTODY_ORACLES", "CUSTODY_PEERS", "CUSTODY_PEERS_TOOLS", "CUSTODY_IMAGES",
           "CUSTODY_TRACEBACK", "CUSTODY_INPUTS", "CUSTODY_OUTPUT", "CUSTODY_SOURCE", "CUSTODY_ROOT", "CUSTODY_WORKER"}
"""No settings: where the file is, what custody's own tests use, what a build step is told, and a worker."""
_KUBERNETES = re.compile(r"CUSTODY_(?:[A-Z0-9_]+_)?(?:SERVICE_(?:HOST|PORT)(?:_[A-Z0-9_]+)?|"
                         r"PORT(?:_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)\Z")
"""What the kubelet sets in every pod for a Service whose name begins with `custody`."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a command knows before it starts. Paths are relative to the file that names them."""

    data_dir: str = ".custody"
    """Where services, caches and the advisory database keep their state."""
    inventory: str | None = None
    """Where the contents of images are kept for `affected` and `watch`: the address of a PostgreSQL database
    (`postgresql://…`, needs the extra `postgres`). Without it: inventory.db in the data directory."""
    watch_interval: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    """Seconds between two looks of `up`, and of `serve` with the registry role, at the images of their own registry and
    at the advisories, as `custody watch` does; 0: none. The webhook then notes which images it lets in, too. With
    `auth`, the registry must let everybody pull what is to be read (`public`)."""
    rescan: Rescan | None = None
    """With `watch_interval`: the scanner role, of `up` too, attests the scans of these images anew."""
    notify: list[str] = []
    """URLs that `watch` tells what appeared, changed and disappeared, as CloudEvents.
    `CUSTODY_NOTIFY=https://one.example/hook,https://two.example/hook`."""
    notify_secret: str | None = None
    """Signs them (Standard Webhooks): `whsec_` and base64 of 24 to 64 bytes. Better in CUSTODY_NOTIFY_SECRET."""
    counting: Counting | None = None
    """What `watch`, and `watch_interval`, leave out."""
    offline: bool = False
    """Open no socket; what is not on this machine is an error that names it. Services listen, and ask nobody."""
    mirrors: dict[str, str] = {}
    """Names of images → where they are served: `"ghcr.io/myorg" = "127.0.0.1:5080/myorg"`. Longest prefix wins."""
    trusted_root: str | None = None
    """trusted_root.json to verify with; default: that of this data directory, its services' or `initialize`d."""
    expired_trusted_root: Literal["warn", "refuse"] = "warn"
    """What is done where the metadata of the TUF mirror that `initialize` fetched that from has run out."""
    notation: str | None = None
    """A folder with `notation`'s trustpolicy.json and truststore/x509: by them its signatures are evidence too."""
    max_staple_age: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    """Hours since answers about revoked certificates were given that `custody notation staple` put beside a signature,
    and that count where nobody can be asked; 0: for as long as they say themselves."""
    signing_config: str | None = None
    """signing_config.json that says where to sign; default: this data directory's services."""
    policies: list[str] = []
    """Policy files or folders that `check` and the webhook use. `CUSTODY_POLICIES=a.yaml:folder`."""
    exceptions: list[str] = []
    """Namespaces whose PolicyExceptions count, as Kyverno's --exceptionNamespace; `*`: all. Without any, none does:
    whoever may write one in a namespace of theirs would be bound by no policy. `CUSTODY_EXCEPTIONS=security,audit`."""
    exception_keys: list[str] = []
    """Public keys in PEM, one of which must have signed a PolicyException (`custody policy sign`) that counts; without
    any, whoever may write into those namespaces decides."""
    exempt_namespaces: list[str] = []
    """As `--exempt-namespace`, beside it; a star begins or ends what names several: `monitoring`, `kube-*`."""
    webhooks_named_as: Literal["", "kyverno", "custody"] = ""
    """Whose webhook configurations those of `admission run` are like, in names and all: `kyverno`
    (`validate.kyverno.svc-fail`), or `custody`. Default: Kyverno's where the cluster has Kyverno's definitions."""
    crds: list[str] = []
    """CustomResourceDefinition files or folders: the kinds beyond Kubernetes' own that policies may name."""
    kubeconfig: str | None = None
    """Names the API server that `check` and the webhook ask what policies ask of a cluster, such as the labels of a
    namespace. A webhook that runs as a pod needs none: it asks its own cluster, as its service account."""
    policy_hosts: list[str] = []
    """`HOST` or `HOST:PORT` of other servers that policies may ask (`apiCall.service`, `http`, `http.send`). None is
    asked that is not named here. `CUSTODY_POLICY_HOSTS=one.example,two.example:8443`."""
    provider_certificate: str | None = None
    """Certificate in PEM that Gatekeeper's external data providers are shown; read again when the file changes."""
    provider_key: str | None = None
    """The private key of `provider_certificate`."""
    provider_cache: Annotated[float, msgspec.Meta(ge=0)] = 180.0
    """Seconds for which what a provider said of a key counts; 0: for one decision alone."""
    external_data: EvidenceProvider | None = None
    """For the provider role of `serve`."""
    plain_http: list[str] = []
    """Registries without TLS, beside localhost and 127.0.0.0/8. `CUSTODY_PLAIN_HTTP=one:5000,two:5000`."""
    keep_evidence: float = 10.0
    """Seconds for which the webhook counts what it gathered about a digest; newer evidence counts after that."""
    stale_evidence: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    """Hours for which the webhook counts what it gathered about a digest before, where a registry does not answer now;
    each such decision says so. 0: what cannot be gathered is unverifiable."""
    kept_first: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    """Minutes for which what was gathered about a digest counts before its registry is asked, which is asked beside the
    answer then: no review waits for a registry that falls silent, and newer evidence counts one review later. What a
    tag means is asked first all the same. 0: never; without `stale_evidence` nothing is kept."""
    summaries: Summaries | None = None
    """SLSA verification summaries that count where the evidence itself cannot be had; without it none does."""
    summary_key: str | None = None
    """The private key with which the webhook signs a summary of each digest that it allows, and stores it beside the
    image; the password is in COSIGN_PASSWORD. Without it none is written."""
    summary_verifier: str = "https://custody.internal/verifier"
    """Who verified: the `verifier.id` of the summaries that are written, and of those that count."""
    keep_decisions: Annotated[float, msgspec.Meta(ge=0)] = 7.0
    """Days for which the webhook keeps what it decided, with all that it was decided on but the values of Secrets, for
    `explain`, `decisions` and `replay`; 0: not at all."""
    max_decisions: Annotated[int, msgspec.Meta(ge=1)] = 1024
    """MiB that they may have; the oldest go first."""
    max_document: Annotated[int, msgspec.Meta(ge=1, le=128)] = 8
    """MiB of the largest signed document that `check` and the webhook read; a larger one is rejected, those beside it
    are not. Each MiB more costs memory and delays other reviews while such a document is read."""
    issuers: list[Issuer] = []
    """Other OIDC issuers that the certificate authority serves."""
    drain: float = 0.0
    """Seconds for which the services go on after SIGTERM, with /readyz failing and each answer closing its
    connection, until others have heard of it: some five where several replicas are behind one name."""
    log_format: Literal["text", "json"] = "text"
    """How the services write what they log: key=value for people, or one JSON object a line."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """From where: requests and decisions that allow are info, denials warnings, probes and reviews' requests debug."""
    auth: Auth | None = None
    """Who may use the registry; without it everybody who reaches it."""
    source: Source | None = None
    """What `custody source check` expects of lock files."""
    advisories: Advisories | None = None
    """From where advisories come."""
    runtime: Runtime | None = None
    """What runs: events, by which rules they are judged, and where alerts go."""
    sensing: Sensing | None = None
    """What the sensors of this machine watch."""
    tls_certificate: str | None = None
    """Certificates in PEM, the server's first, with which --port speaks TLS."""
    tls_key: str | None = None
    """The private key of `tls_certificate`."""
    tls_client_ca: str | None = None
    """Authorities whose client certificates say who somebody is, for `auth`."""
    webhook_certificate: str | None = None
    """Certificates in PEM for the webhook, instead of those that custody makes itself."""
    webhook_key: str | None = None
    """The private key of `webhook_certificate`."""
    webhook_names: list[str] = []
    """Names and addresses by which the API server calls the webhook, for the certificate that custody makes."""
    webhook_client_ca: str | None = None
    """Authorities of the API server's client certificate, without which the webhook then talks to nobody."""
    webhook_client_names: list[str] = []
    """Names that the API server's client certificate may have; without it each of `webhook_client_ca`."""
    sparse_indexes: bool = False
    """The registry takes and serves manifests of which it has not all parts: an index with the images of some platforms
    only, an image without a layer that lies elsewhere."""
    urls: dict[str, str] = {}
    """How the trust root names the services, where not by the address they listen on: oidc, ca, log, ct, tsa."""
    hosts: list[str] = []
    """Names by which services are called beside the address they listen on and those in `urls`; ports do not count. On
    loopback no others are answered (421), elsewhere only where this names some. `CUSTODY_HOSTS=registry.example`."""
    max_connections_per_peer: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """Connections that one address (of IPv6: one /64) may hold at each listener. Without it: as many as it likes, and
    above half of all it is the first to lose some when others want them."""

    def replace(self, **changes: Any) -> Settings:
        return msgspec.structs.replace(self, **changes)

    @property
    def data(self) -> Path:
        """The data directory, for who reads in it; it need not be there."""
        return Path(self.data_dir)

    def state(self) -> Path:
        """The data directory, for who writes in it: made where there is none. Raises UsageError."""
        return state_folder(self.data)


def load_settings(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Read `path`, else $CUSTODY_CONFIG, else ./custody.toml if there is one, and the environment over it.

    Raises UsageError, MalformedError: also for a `CUSTODY_*` variable that is no setting.
    """
    env = os.environ if environ is None else environ
    chosen = path or (Path(env["CUSTODY_CONFIG"]) if env.get("CUSTODY_CONFIG") else None)
    values: dict[str, Any] = {}
    if chosen is not None or Path("custody.toml").is_file():
        import tomllib  # only where there is a file
        file = chosen or Path("custody.toml")
        try:
            values = tomllib.loads(file.read_text())
        except OSError as error:
            raise UsageError(f"{file}: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise MalformedError(str(file), got=str(error), expected="TOML") from None
        _beside(file, values, (*_PATHS, "policies", "crds", "exception_keys"))
        for name, keys in _PATHS_IN_TABLES.items():
            _beside(file, values.get(name), keys)
        for table in (values, values.get("auth")):
            issuers = table.get("issuers") if isinstance(table, dict) else None
            for entry in issuers if isinstance(issuers, list) else []:
                _beside(file, entry, ("jwks",))
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
        reason = reason.replace("Expected", "expected").replace("Object contains", "contains")
        if reason.startswith("Invalid enum value"):
            reason = f"got {reason.removeprefix('Invalid enum value ')}, expected {', '.join(_choices(key))}"
        raise UsageError(f"{where}: {reason}",
                         hint="the settings are in docs/reference/settings.md") from None
    for key, seconds in (("keep_evidence", settings.keep_evidence), ("drain", settings.drain)):
        if not 0 <= seconds < math.inf:
            raise MalformedError(key, got=seconds, expected="seconds, 0 or more")
    return settings


def _choices(key: str) -> list[str]:
    """What the setting at a path such as `issuers[0].type` may be."""
    kind: Any = Settings
    for name in key.split("."):
        fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
        kind = _inner(fields[name.partition("[")[0]])
    return [repr(choice) for choice in get_args(kind)]


def _inner(kind: Any) -> Any:
    """The type of what there is one of, or several, or none."""
    while get_origin(kind) not in (None, Literal):
        kind = next(part for part in get_args(kind) if part is not type(None))
    return kind


def _beside(file: Path, table: Any, keys: Iterable[str]) -> None:
    """Make the paths that a table names those from the folder of the file that holds it."""
    for key in keys if isinstance(table, dict) else ():
        if isinstance(table.get(key), str):
            table[key] = str(file.parent / table[key])
        elif isinstance(table.get(key), list):
            table[key] = [str(file.parent / str(entry)) for entry in table[key]]


def _refuse_unknown(values: Mapping[str, Any], where: str) -> None:
    for key in values:
        if key not in Settings.__struct_fields__:
            raise UsageError(f"{where}: {key}: is no setting", hint=near(key, Settings.__struct_fields__, _SETTINGS))


def _from_environment(env: Mapping[str, str]) -> dict[str, Any]:
    kinds = {field.name: field.type for field in msgspec.structs.fields(Settings)}
    values: dict[str, Any] = {}
    for name, text in sorted(env.items()):
        if not name.startswith(_PREFIX) or name in _OTHERS or _KUBERNETES.match(name):
            continue
        key = name.removeprefix(_PREFIX).lower()
        if key not in kinds or name != _PREFIX + key.upper():
            raise UsageError(f"{name}: is no setting",
                             hint=near(name, [_PREFIX + known.upper() for known in kinds], _SETTINGS))
        if text:
            values[key] = _value(name, key, kinds[key], text)
    return values


def _value(name: str, key: str, kind: Any, text: str) -> Any:
    """A variable's text as the setting's type."""
    if get_origin(kind) in (UnionType, Union):  # an optional one
        (kind,) = (part for part in get_args(kind) if part is not type(None))
    if get_origin(kind) is Annotated:  # with limits, which are checked with the whole
        kind = get_args(kind)[0]
    if kind is str or get_origin(kind) is Literal:
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
