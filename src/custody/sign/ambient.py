"""The identity that a place gives to what runs in it: CI services, workloads, machines.

As cosign (pkg/providers) and sigstore-python (the package `id`) find it, but for one thing: a place that promises an
identity and fails is an error that names it. Theirs go on to the next one, and may sign as somebody else.

    name               it promises an identity where                        which is then had
    github-actions     ACTIONS_ID_TOKEN_REQUEST_URL or _TOKEN,              GET URL&audience=…, {"value": TOKEN}
                       or GITHUB_ACTIONS
    gitlab             GITLAB_CI                                            in $<AUDIENCE>_ID_TOKEN
    buildkite-agent    BUILDKITE_AGENT_ACCESS_TOKEN, or BUILDKITE           POST jobs/JOB/oidc/tokens, {"token": TOKEN};
                                                                            without the former, `buildkite-agent`
    circleci           CIRCLECI                                             in $CIRCLE_OIDC_TOKEN_V2, or from `circleci`
    filesystem         /var/run/sigstore/cosign/oidc-token is there         in it (a projected Kubernetes token, say)
    spiffe             SPIFFE_ENDPOINT_SOCKET is set, or                    not by custody: refused, with what to do
                       /tmp/spire-agent/public/api.sock is there
    google             GOOGLE_SERVICE_ACCOUNT_NAME is set, or               from the metadata server; for the account
                       the machine is Google's by its DMI name              of that name through iamcredentials

They are tried in this order. A token is never printed, and what gets one is sent over TLS or to loopback only.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

from custody.errors import AuthenticationError, CustodyError, MalformedError, NetworkError, UnsupportedError, UsageError
from custody.kit import program, strictjson
from custody.kit.address import Network, network_of
from custody.kit.clock import Clock, system_clock
from custody.ports.http import Http

DEADLINE = 30.0
"""Seconds until an identity is there, whatever it takes."""
_TRIES = 3
_MAX_TOKEN = 16 * 1024
_MAX_ANSWER = 64 * 1024
_ACCOUNT = re.compile(r"[A-Za-z0-9._-]+@[A-Za-z0-9.-]+")
_IAM = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts"
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where custody runs, as far as identities go. Tests give another one."""

    http: Http
    direct: Http
    """The same, which asks no proxy: metadata servers are the machine's own."""
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    token_file: Path = Path("/var/run/sigstore/cosign/oidc-token")
    spiffe_socket: Path = Path("/tmp/spire-agent/public/api.sock")  # noqa: S108 - SPIRE's own place, only looked at
    product_name: Path = Path("/sys/class/dmi/id/product_name")
    iam: str = _IAM
    clock: Clock = system_clock
    pause: float = 1.0
    """Seconds between two tries."""

    def get(self, name: str) -> str:
        """A variable's value, empty where it is not set."""
        return self.environ.get(name, "").strip()


async def ambient_token(place: Place, audience: str, provider: str | None = None,
                        tell: Callable[[str], None] = lambda _: None) -> tuple[str, str] | None:
    """Provider and token; None where no place promises an identity. `tell` hears of each that was asked.

    `provider` names the only one to ask. Raises AuthenticationError, NetworkError, UsageError, UnsupportedError.
    """
    if provider is not None and provider not in PROVIDERS:
        raise UsageError(f"--oidc-provider: got {provider!r}, expected {', '.join(PROVIDERS)}")
    for name in [provider] if provider else PROVIDERS:
        promise, provide = PROVIDERS[name]
        reason = promise(place)
        if not reason:
            tell(f"identity: {name}: not here")
            if provider:
                raise UsageError(f"--oidc-provider {name}: this is no such place",
                                 hint="docs/guides/sign.md says what each one needs")
            continue
        tell(f"identity: {name}: promised by {reason}")
        try:
            async with asyncio.timeout(DEADLINE):
                token = (await provide(place, audience)).strip()
        except TimeoutError:
            raise NetworkError(f"identity of {name}: not there within {DEADLINE:g} s", hint=_OTHERWISE) from None
        except CustodyError as error:
            error.args = (f"identity of {name}: {error.message}",)
            error.message, error.hint = error.args[0], error.hint or _OTHERWISE
            raise
        _check(token, name, audience, place)
        tell(f"identity: {name}: got a token")
        return name, token
    return None


_OTHERWISE = "--identity-token TOKEN|FILE, --key FILE, or --oidc-disable-ambient-providers"


def _check(token: str, name: str, audience: str, place: Place) -> None:
    """What the certificate authority would refuse is said here, where it is known who gave the token."""
    where = f"identity of {name}"
    claims = _claims(token)
    if claims is None:
        raise AuthenticationError(f"{where}: got {len(token)} characters, expected an identity token (a JWT of three "
                                  f"parts, at most {_MAX_TOKEN} bytes)", hint=_OTHERWISE)
    if not _meant_for(claims, audience):
        raise AuthenticationError(f"{where}: aud: got {str(claims.get('aud'))[:200]!r}, expected {audience!r}",
                                  hint="--oidc-client-id AUDIENCE, where the authority takes that one")
    expiry = claims.get("exp")
    if isinstance(expiry, (int, float)) and expiry <= place.clock().timestamp():
        raise AuthenticationError(f"{where}: exp: the token has expired", hint=_OTHERWISE)


def _claims(token: str) -> Mapping[str, object] | None:
    """What a token says, unverified; None where it is none. The reason is not told: its words may hold some of it."""
    from custody.trust.token import parse_token  # commands that sign with a key need not wait for it

    try:
        return parse_token(token).claims
    except (MalformedError, AuthenticationError):
        return None


def _meant_for(claims: Mapping[str, object], audience: str) -> bool:
    stated = claims.get("aud")
    return audience in (stated if isinstance(stated, list) else [stated])


def _github_promise(place: Place) -> str:
    return next((name for name in ("ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "GITHUB_ACTIONS")
                 if place.get(name)), "")


async def _github(place: Place, audience: str) -> str:
    url, secret = place.get("ACTIONS_ID_TOKEN_REQUEST_URL"), place.get("ACTIONS_ID_TOKEN_REQUEST_TOKEN")
    for name, value in (("ACTIONS_ID_TOKEN_REQUEST_URL", url), ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", secret)):
        if not value:
            raise AuthenticationError(f"{name} is not set: this job may not ask for a token",
                                      hint="permissions: id-token: write, in the workflow or the job")
    joined = url + ("&" if "?" in url else "?") + urlencode({"audience": audience})
    return _text(await _ask(place, "GET", joined, f"bearer {secret}"), "value")


def _gitlab_promise(place: Place) -> str:
    return "GITLAB_CI" if place.get("GITLAB_CI") else ""


async def _gitlab(place: Place, audience: str) -> str:
    name = re.sub(r"[^A-Z0-9_]|^[^A-Z_]", "_", audience.upper()) + "_ID_TOKEN"
    token = place.get(name)
    if not token:
        raise AuthenticationError(f"{name} is not set", hint=f"id_tokens: {name}: aud: {audience}, in the job")
    return token


def _buildkite_promise(place: Place) -> str:
    return next((name for name in ("BUILDKITE_AGENT_ACCESS_TOKEN", "BUILDKITE") if place.get(name)), "")


async def _buildkite(place: Place, audience: str) -> str:
    secret = place.get("BUILDKITE_AGENT_ACCESS_TOKEN")
    if not secret:
        return await _program(["buildkite-agent", "oidc", "request-token", "--audience", audience])
    endpoint = place.get("BUILDKITE_AGENT_ENDPOINT") or "https://agent.buildkite.com/v3"
    job = quote(place.get("BUILDKITE_JOB_ID"), safe="").replace(".", "%2E")
    if not job:
        raise AuthenticationError("BUILDKITE_JOB_ID is not set")
    return _text(await _ask(place, "POST", f"{endpoint.rstrip('/')}/jobs/{job}/oidc/tokens", f"Token {secret}",
                            {"audience": audience}), "token")


def _circleci_promise(place: Place) -> str:
    return "CIRCLECI" if place.get("CIRCLECI") else ""


async def _circleci(place: Place, audience: str) -> str:
    ready = [token for name in ("CIRCLE_OIDC_TOKEN_V2", "CIRCLE_OIDC_TOKEN") if (token := place.get(name))]
    for token in ready:
        if _meant_for(_claims(token) or {}, audience):
            return token
    try:
        return await _program(["circleci", "run", "oidc", "get", "--claims", json.dumps({"aud": audience}),
                               "--root-issuer"])
    except AuthenticationError:
        if ready:
            return ready[0]  # whose audience is then what is wrong
        raise


def _filesystem_promise(place: Place) -> str:
    return str(place.token_file) if os.path.lexists(place.token_file) else ""


async def _filesystem(place: Place, audience: str) -> str:  # noqa: ARG001 - whoever wrote the file chose the audience
    return _file(place.token_file, _MAX_TOKEN)


def _spiffe_promise(place: Place) -> str:
    if place.get("SPIFFE_ENDPOINT_SOCKET"):
        return "SPIFFE_ENDPOINT_SOCKET"
    return str(place.spiffe_socket) if os.path.lexists(place.spiffe_socket) else ""


async def _spiffe(place: Place, audience: str) -> str:  # noqa: ARG001
    raise UnsupportedError("Workload API", "custody does not speak it",
                           hint=f"spire-agent api fetch jwt -audience {audience}, or spiffe-helper, writes a token: "
                           "--identity-token FILE")


def _google_promise(place: Place) -> str:
    if place.get("GOOGLE_SERVICE_ACCOUNT_NAME"):
        return "GOOGLE_SERVICE_ACCOUNT_NAME"
    try:
        name = place.product_name.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""
    return str(place.product_name) if name in ("Google", "Google Compute Engine") else ""


async def _google(place: Place, audience: str) -> str:
    account = place.get("GOOGLE_SERVICE_ACCOUNT_NAME")
    if not account:
        return (await _metadata(place, "identity", {"audience": audience, "format": "full"})).decode("ascii", "replace")
    if place.get("GOOGLE_APPLICATION_CREDENTIALS"):
        raise UnsupportedError("GOOGLE_APPLICATION_CREDENTIALS", "custody reads no credential files of Google's",
                               hint="gcloud auth print-identity-token writes a token: --identity-token TOKEN")
    if not _ACCOUNT.fullmatch(account):
        raise AuthenticationError(f"GOOGLE_SERVICE_ACCOUNT_NAME: got {account!r}, expected NAME@PROJECT.iam."
                                  "gserviceaccount.com")
    access = _text(await _metadata(place, "token", {"scopes": _SCOPE}), "access_token")
    return _text(await _ask(place, "POST", f"{place.iam}/{account}:generateIdToken", f"Bearer {access}",
                            {"audience": audience, "includeEmail": True}), "token")


async def _metadata(place: Place, resource: str, query: Mapping[str, str]) -> bytes:
    host = place.get("GCE_METADATA_HOST") or "metadata.google.internal"
    url = f"http://{host}/computeMetadata/v1/instance/service-accounts/default/{resource}?{urlencode(query)}"
    # Plain HTTP, as Google has it: nothing secret is sent, and the answer does not leave the machine.
    async with await place.direct.request("GET", url, headers={"Metadata-Flavor": "Google"}) as answer:
        data = await answer.read(_MAX_ANSWER)
        if answer.status != 200:
            raise NetworkError(f"the metadata server answered {answer.status}, expected a token",
                               hint="is there a service account on this machine?")
    return data


async def _ask(place: Place, method: str, url: str, authorization: str, body: Mapping[str, object] | None = None
               ) -> bytes:
    """The answer to a request that carries a secret; once more where it did not come or is a server's failure."""
    _refuse_open(url)
    headers = {"Authorization": authorization, "Accept": "application/json"}
    if body is not None:
        headers["Content-Type"] = "application/json"
    failure: NetworkError | None = None
    for attempt in range(_TRIES):
        if attempt:
            await asyncio.sleep(place.pause)
        try:
            async with await place.http.request(method, url, headers=headers,
                                                body=None if body is None else json.dumps(body).encode()) as answer:
                data = await answer.read(_MAX_ANSWER)
                if answer.status == 200:
                    return data
                words = f"the service answered {answer.status}, expected 200 and a token"
                if answer.status not in (429, 500, 502, 503, 504):
                    raise AuthenticationError(words)
                failure = NetworkError(words)
        except NetworkError as error:
            failure = error
    assert failure is not None
    raise failure


def _refuse_open(url: str) -> None:
    parts = urlsplit(url)
    host = parts.hostname or ""
    near = host == "localhost" or network_of(host) is Network.LOOPBACK
    if not host or parts.username is not None or not (parts.scheme == "https" or (parts.scheme == "http" and near)):
        raise AuthenticationError(f"got {parts.scheme}://{host}, expected https: a secret goes there")


def _text(data: bytes, name: str) -> str:
    """One member of a JSON object, whose other words are not repeated: they may be secret."""
    try:
        document = strictjson.loads(data, "answer", max_size=_MAX_ANSWER, max_depth=16)
    except MalformedError:
        document = None
    value = document.get(name) if isinstance(document, dict) else None
    if not isinstance(value, str) or not value:
        raise NetworkError(f"got {len(data)} bytes, expected JSON with a text {name!r}")
    return value


def _file(path: Path, limit: int) -> str:
    try:
        with path.open("rb") as stream:
            data = stream.read(limit + 1)
    except OSError as error:
        raise AuthenticationError(f"{path}: {error.strerror}") from None
    if len(data) > limit:
        raise AuthenticationError(f"{path}: got more than {limit} bytes, expected a token")
    return data.decode("ascii", "replace")


async def _program(argv: list[str]) -> str:
    status, output = await asyncio.to_thread(program.ask, argv)
    if status != 0:
        raise AuthenticationError(f"`{' '.join(argv[:4])}` ended with {status}")
    return output.decode("ascii", "replace")


Provider = tuple[Callable[[Place], str], Callable[[Place, str], Awaitable[str]]]
PROVIDERS: dict[str, Provider] = {
    "github-actions": (_github_promise, _github), "gitlab": (_gitlab_promise, _gitlab),
    "buildkite-agent": (_buildkite_promise, _buildkite), "circleci": (_circleci_promise, _circleci),
    "filesystem": (_filesystem_promise, _filesystem), "spiffe": (_spiffe_promise, _spiffe),
    "google": (_google_promise, _google)}
"""Name → (what promises an identity here, or nothing; the token). cosign's names where it has them."""
