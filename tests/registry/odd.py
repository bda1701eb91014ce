"""A registry in memory with one odd habit at a time, which writes down what it was sent."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import parse_qs, quote, urlsplit

from custody.formats import oci
from custody.kit.digest import sha256

USER = "ann:secret"
IDENTITY = "refresh-me"


@dataclass(frozen=True)
class Seen:
    """One request, as it came."""

    method: str
    path: str
    authorization: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def who(self) -> str:
        kind, _, value = self.authorization.partition(" ")
        return base64.b64decode(value).decode() if kind == "Basic" else self.authorization


Hook = Callable[["Request"], bool]
"""Answers the request itself and returns True, or leaves it to the registry."""


@dataclass
class Habits:
    auth: str = ""                    # basic, token
    ttl: float = 300                  # seconds that a token lives
    expires_in: float | None = None   # what is said of it, where that is something else
    anonymous: bool = False           # the token service also serves nobody
    narrow: bool = True               # a challenge names the scope of the one request
    realm: str = ""                   # the token service's URL, where it is not the registry's
    challenges: tuple[str, ...] = ()  # other challenges before the Bearer one
    oauth: int = 200                  # status of POST /token
    trouble: int = 0                  # status of the first `times` answers to each request
    times: int = 1
    retry_after: str = ""
    resets: int = 0                   # how often each request is answered with a reset
    cuts: int = 0                     # how often each GET of a blob or manifest ends in the middle
    referrers: int = 200
    referrers_body: bytes = b""
    referrers_type: str = "application/json"
    head: str = ""                    # 405, 403, bare (no digest), refused for HEAD
    put: int = 201
    put_blob: int = 201
    delete: int = 202
    location: str = "relative"        # absolute, query, elsewhere
    drip: float = 0.0                 # seconds between two bytes of a blob or manifest
    hook: Hook | None = None


class Registry:
    def __init__(self, host: str, habits: Habits) -> None:
        self.host = host
        self.habits = habits
        self.seen: list[Seen] = []
        self.blobs: dict[tuple[str, str], bytes] = {}
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.tokens: dict[str, tuple[float, set[str]]] = {}
        self.counts: Counter[tuple[str, str]] = Counter()
        self.open_now = self.most_open = 0
        self.lock = threading.Lock()

    def count(self, method: str, part: str) -> int:
        return sum(1 for seen in self.seen if seen.method == method and part in seen.path)

    @property
    def token_requests(self) -> list[Seen]:
        return [seen for seen in self.seen if seen.path.startswith("/token")]

    def image(self, repository: str = "app", tag: str = "1", layer: bytes = b"layer") -> str:
        """Put an image there, not through HTTP; its digest."""
        manifest = oci.Manifest(oci.MANIFEST, oci.Descriptor(oci.CONFIG, self._blob(repository, b"{}"), 2),
                                (oci.Descriptor(oci.LAYER_GZIP, self._blob(repository, layer), len(layer)),))
        return self.put(repository, tag, json.dumps(manifest.to_json()).encode())

    def put(self, repository: str, tag: str, data: bytes, media_type: str = oci.MANIFEST) -> str:
        digest = sha256(data)
        self.manifests[repository, digest] = self.manifests[repository, tag or digest] = (media_type, data)
        return digest

    def referrer(self, repository: str, subject: str, kind: str = "a/sig", **annotations: str) -> str:
        body = {"schemaVersion": 2, "mediaType": oci.MANIFEST, "artifactType": kind,
                "config": oci.EMPTY_DESCRIPTOR.to_json(), "layers": [oci.EMPTY_DESCRIPTOR.to_json()],
                "subject": {"mediaType": oci.MANIFEST, "digest": subject, "size": 1}, "annotations": annotations}
        return self.put(repository, "", json.dumps(body).encode())

    def referrers(self, repository: str, subject: str) -> list[dict[str, Any]]:
        entries = []
        for (name, key), (media_type, data) in self.manifests.items():
            body = json.loads(data)
            if name == repository and key.startswith("sha256:") and (body.get("subject") or {}).get(
                    "digest") == subject:
                entries.append({"mediaType": media_type, "digest": key, "size": len(data),
                                "artifactType": body.get("artifactType") or body["config"]["mediaType"],
                                "annotations": body.get("annotations") or {}})
        return entries

    def _blob(self, repository: str, data: bytes) -> str:
        self.blobs[repository, sha256(data)] = data
        return sha256(data)


class Request(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @property
    def registry(self) -> Registry:
        return cast(Registry, self.server.registry)  # type: ignore[attr-defined]

    def log_message(self, *arguments: object) -> None:
        pass

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        for name, value in {"Content-Length": str(len(body)), **names}.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def error(self, status: int, code: str, **headers: str) -> None:
        body = json.dumps({"errors": [{"code": code, "message": code.lower()}]}).encode()
        self.answer(status, body, Content_Type="application/json", **headers)

    def reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def slowly(self, status: int, body: bytes, **headers: str) -> None:
        """A whole answer, or one that drips, or one that is cut off."""
        habits, key = self.registry.habits, ("cut", self.path)
        if self.command != "GET" or not (habits.drip or habits.cuts > self.registry.counts[key]):
            self.answer(status, body, **headers)
            return
        self.registry.counts[key] += 1
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if not habits.drip:
            self.wfile.write(body[:len(body) // 2])
            self.close_connection = True
            return
        with contextlib.suppress(OSError):
            for byte in body:
                self.wfile.write(bytes([byte]))
                time.sleep(habits.drip)

    def handle_one(self) -> None:
        registry, habits = self.registry, self.registry.habits
        body = self._body()
        with registry.lock:
            registry.seen.append(Seen(self.command, self.path, self.headers.get("authorization", ""), body,
                                      dict(self.headers.items())))
            registry.open_now += 1
            registry.most_open = max(registry.most_open, registry.open_now)
        try:
            path = urlsplit(self.path).path
            if habits.hook and habits.hook(self):
                return
            if path == "/token":
                self._token(body)
                return
            key = (self.command, path)
            registry.counts[key] += 1
            if habits.resets >= registry.counts[key]:
                self.reset()
            elif habits.trouble and registry.counts[key] <= habits.times:
                self.error(habits.trouble, "TOOMANYREQUESTS", Retry_After=habits.retry_after)
            else:
                self._serve(path, body)
        finally:
            with registry.lock:
                registry.open_now -= 1

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = handle_one  # noqa: N815

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("transfer-encoding", ""):
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def _serve(self, path: str, body: bytes) -> None:
        match = re.fullmatch(r"/v2/(.+?)/(manifests|blobs|tags|referrers)/(.*)", path)
        repository = match[1] if match else ""
        if not self._is_let_in(repository):
            return
        if match is None:
            self.answer(200 if path == "/v2/" else 404, b"{}" if path == "/v2/" else b"404 page not found")
            return
        {"manifests": self._manifest, "blobs": self._blob, "tags": self._tags, "referrers": self._referrers}[
            match[2]](repository, match[3], body)

    # Who asks

    def _is_let_in(self, repository: str) -> bool:
        registry, habits = self.registry, self.registry.habits
        authorization = self.headers.get("authorization", "")
        if not habits.auth:
            return True
        needed = {"GET": "pull", "HEAD": "pull", "DELETE": "delete"}.get(self.command, "push")
        if habits.auth == "basic":
            if authorization == "Basic " + base64.b64encode(USER.encode()).decode():
                return True
            self.error(401, "UNAUTHORIZED", WWW_Authenticate='Basic realm="odd"')
            return False
        until, allowed = registry.tokens.get(authorization.removeprefix("Bearer "), (0.0, set()))
        if until > time.monotonic() and (not repository or f"{repository}:{needed}" in allowed):
            return True
        actions = {"pull": "pull", "push": "pull,push", "delete": "delete"}[needed]
        scope = f',scope="repository:{repository}:{actions}"' if habits.narrow and repository else ""
        realm = habits.realm or f"http://{registry.host}/token"
        self.send_response(401)
        for challenge in (*habits.challenges, f'Bearer realm="{realm}",service="odd"{scope}'):
            self.send_header("WWW-Authenticate", challenge)
        self.send_header("Content-Length", "0")
        self.end_headers()
        return False

    def _token(self, body: bytes) -> None:
        registry, habits = self.registry, self.registry.habits
        query = parse_qs(urlsplit(self.path).query if self.command == "GET" else body.decode())
        who = Seen("", "", self.headers.get("authorization", "")).who
        if self.command == "POST":
            if habits.oauth != 200:
                self.answer(habits.oauth)
                return
            who = USER if query.get("refresh_token") == [IDENTITY] else "nobody:"
        if who not in ("", USER, f"<token>:{IDENTITY}") or (not who and not habits.anonymous):
            self.answer(401, b"no")
            return
        allowed = {f"{name}:{action}" for scope in " ".join(query.get("scope", [])).split()
                   for _, name, actions in [scope.split(":")] for action in actions.split(",")
                   if who or action == "pull"}
        token = f"token-{len(registry.tokens)}"
        registry.tokens[token] = (time.monotonic() + habits.ttl, allowed)
        said = max(1, int(habits.ttl)) if habits.expires_in is None else habits.expires_in
        self.answer(200, json.dumps({"access_token" if self.command == "POST" else "token": token,
                                     "expires_in": said}).encode())

    # What is there

    def _manifest(self, repository: str, key: str, body: bytes) -> None:
        registry, habits = self.registry, self.registry.habits
        if self.command == "PUT":
            document = json.loads(body)
            digest = registry.put(repository, key, body, self.headers["content-type"])
            knows = habits.referrers == 200 and document.get("subject")
            self.answer(habits.put, Docker_Content_Digest=digest,
                        OCI_Subject=document["subject"]["digest"] if knows else "")
            return
        if self.command == "DELETE":
            known = registry.manifests.pop((repository, key), None)
            self.answer(habits.delete if known else 404)
            return
        if self.command == "HEAD" and habits.head in ("403", "405"):
            self.answer(int(habits.head))
            return
        found = registry.manifests.get((repository, key))
        if found is None:
            self.error(404, "MANIFEST_UNKNOWN")
            return
        bare = self.command == "HEAD" and habits.head == "bare"
        self.slowly(200, found[1], Content_Type=found[0], Docker_Content_Digest="" if bare else sha256(found[1]))

    def _blob(self, repository: str, key: str, body: bytes) -> None:
        registry, habits = self.registry, self.registry.habits
        query = parse_qs(urlsplit(self.path).query)
        if self.command == "POST":
            source = (query.get("from", [""])[0], query.get("mount", [""])[0])
            if source in registry.blobs:
                registry.blobs[repository, source[1]] = registry.blobs[source]
                self.answer(201, Location=f"/v2/{repository}/blobs/{source[1]}")
                return
            with registry.lock:
                registry.counts["upload", ""] += 1
                path = f"/v2/{repository}/blobs/uploads/{registry.counts['upload', '']}"
            location = {"absolute": f"http://{registry.host}{path}", "query": f"{path}?state=a%2Fb",
                        "elsewhere": f"http://127.0.0.2:1{path}", "none": ""}.get(habits.location, path)
            self.answer(202, Location=location, OCI_Chunk_Min_Length="999999")
        elif self.command == "PATCH":
            registry.blobs[repository, key] = body
            self.answer(202, Location=self.path, Range=f"0-{len(body) - 1}")
        elif self.command == "PUT":
            data = body or registry.blobs.pop((repository, key), b"")
            if habits.location == "query" and query.get("state") != ["a/b"]:
                self.error(400, "BLOB_UPLOAD_INVALID")
            elif sha256(data) != query["digest"][0]:
                self.error(400, "DIGEST_INVALID")
            else:
                registry.blobs[repository, sha256(data)] = data
                self.answer(habits.put_blob, Location=f"/v2/{repository}/blobs/{quote(sha256(data))}")
        elif self.command == "HEAD" and habits.head in ("403", "405"):
            self.answer(int(habits.head))
        else:
            blob = registry.blobs.get((repository, key))
            if blob is None:
                self.error(404, "BLOB_UNKNOWN")
            else:
                self.slowly(200, blob, Content_Type="application/octet-stream")

    def _tags(self, repository: str, key: str, body: bytes) -> None:
        tags = sorted(tag for name, tag in self.registry.manifests if name == repository and ":" not in tag)
        self.answer(200, json.dumps({"name": repository, "tags": tags}).encode())

    def _referrers(self, repository: str, key: str, body: bytes) -> None:
        habits = self.registry.habits
        if habits.referrers != 200 or habits.referrers_body:
            self.answer(habits.referrers, habits.referrers_body, Content_Type=habits.referrers_type)
            return
        entries = self.registry.referrers(repository, key)
        index = {"schemaVersion": 2, "mediaType": oci.INDEX, "manifests": entries}
        self.answer(200, json.dumps(index).encode(), Content_Type=oci.INDEX)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        pass  # clients that go away in the middle are what is tested


@contextlib.contextmanager
def odd(hook: Hook | None = None, **habits: Any) -> Iterator[Registry]:
    server = _Server(("127.0.0.1", 0), Request)
    registry = Registry(f"127.0.0.1:{server.server_address[1]}", Habits(hook=hook, **habits))
    server.registry = registry  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
