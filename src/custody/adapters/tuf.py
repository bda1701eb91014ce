"""A TUF repository through python-tuf's client, over HTTP or in a folder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

from tuf.api import exceptions
from tuf.api.metadata import Metadata
from tuf.ngclient.config import UpdaterConfig
from tuf.ngclient.fetcher import FetcherInterface
from tuf.ngclient.updater import Updater

from custody.errors import MalformedError, NetworkError, NotFoundError, StorageError, VerificationError
from custody.ports.http import Answer, Http, place_of
from custody.ports.trustmirror import State

MAX_ROOT = 512_000
"""Bytes of root metadata, as python-tuf has it."""
_MAX_TARGET = 4 * 1024 * 1024
_CHUNK = 1 << 16
_ROLES = ("root", "timestamp", "snapshot", "targets")


class TufMirror:
    """Implements ports.trustmirror.TrustMirror over the repository below `url`, whose metadata is kept in `folder`.

    `root`: the root metadata to begin with; None: the one that the folder has. Raises MalformedError for one that is
    none, or not signed as it says itself.
    """

    def __init__(self, http: Http, url: str, folder: Path, root: bytes | None) -> None:
        self._url = url.rstrip("/")
        self._folder = folder
        self._fetcher = _Fetcher(http)
        config = UpdaterConfig(root_max_length=MAX_ROOT)
        try:
            self._updater = Updater(str(folder), self._url, target_base_url=f"{self._url}/targets",
                                    fetcher=self._fetcher, config=config, bootstrap=root)
        except (exceptions.RepositoryError, ValueError) as error:
            self._fetcher.close()
            raise MalformedError("root metadata", got=str(error), expected="a root.json of a TUF repository") from None
        except OSError as error:
            self._fetcher.close()
            raise StorageError(f"{folder}: {error.strerror}") from None

    def refresh(self) -> State:
        with self._translated("metadata"):
            self._updater.refresh()
            parts = {role: Metadata.from_file(str(self._folder / f"{role}.json")).signed for role in _ROLES}
        role = min(parts, key=lambda role: parts[role].expires)
        expires: datetime = parts[role].expires
        return State(parts["root"].version, parts["timestamp"].version, expires.astimezone(UTC), role)

    def target(self, name: str) -> bytes | None:
        path = self._folder / ".target"
        with self._translated(name):
            described = self._updater.get_targetinfo(name)
            if described is None:
                return None
            if described.length > _MAX_TARGET:
                raise VerificationError(f"{self._url}: {name}: got {described.length} bytes, expected at most "
                                        f"{_MAX_TARGET}")
            try:
                self._updater.download_target(described, str(path))
                return path.read_bytes()
            finally:
                path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._fetcher.close()

    @contextmanager
    def _translated(self, part: str) -> Iterator[None]:
        """Errors of python-tuf as ours."""
        where = f"{place_of(self._url)}: {part}"
        try:
            yield
        except exceptions.DownloadHTTPError as error:
            kind = NotFoundError if error.status_code == 404 else NetworkError
            raise kind(str(error), hint="--mirror is the URL below which timestamp.json and 1.root.json are") from None
        except exceptions.DownloadLengthMismatchError as error:
            raise VerificationError(f"{where}: {self._fetcher.last}: is longer than it may be: {error}") from None
        except exceptions.DownloadError as error:
            raise NetworkError(f"{where}: {error}") from None
        except exceptions.ExpiredMetadataError as error:
            raise VerificationError(f"{where}: {error}", hint="the mirror is out of date, or somebody holds news back"
                                    ) from None
        except exceptions.RepositoryError as error:
            raise VerificationError(f"{where}: {self._fetcher.last}: {error}") from None
        except OSError as error:
            raise StorageError(f"{self._folder}: {error.strerror or error}") from None


class _Fetcher(FetcherInterface):
    """python-tuf's port to the network, over this house's."""

    def __init__(self, http: Http) -> None:
        self._http = http
        self._runner = asyncio.Runner()
        self.last = ""
        """The file that was asked for last."""
        self._open: Generator[bytes, None, None] | None = None

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
        self._runner.run(self._http.close())
        self._runner.close()

    def _fetch(self, url: str) -> Iterator[bytes]:
        if self._open is not None:
            self._open.close()  # of an answer that was too long nobody read the rest
        self.last = url.rpartition("/")[2]
        self._open = self._of_file(url) if url.startswith("file:") else self._of_http(url)
        return self._checked(url, self._open)

    @staticmethod
    def _checked(url: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for position, chunk in enumerate(chunks):
            if not position and chunk.lstrip()[:1] == b"<":
                raise NetworkError(f"GET {place_of(url)}: got a page of HTML, expected JSON",
                                   hint="--mirror is the URL below which timestamp.json and 1.root.json are")
            yield chunk

    def _of_file(self, url: str) -> Generator[bytes, None, None]:
        path = Path(unquote(urlsplit(url).path))
        try:
            with path.open("rb") as stream:
                while chunk := stream.read(_CHUNK):
                    yield chunk
        except FileNotFoundError:
            raise exceptions.DownloadHTTPError(f"{path}: no such file", 404) from None
        except OSError as error:
            raise NetworkError(f"{path}: {error.strerror}") from None

    def _of_http(self, url: str) -> Generator[bytes, None, None]:
        answer = self._runner.run(_asked(self._http, url))
        try:
            if answer.status != 200:
                moved = answer.headers.get("location")
                raise exceptions.DownloadHTTPError(f"GET {place_of(url)}: got status {answer.status}"
                                                   f"{f' (to {place_of(moved)})' if moved else ''}, expected 200",
                                                   answer.status)
            chunks = answer.chunks()
            while (chunk := self._runner.run(_next(chunks))) is not None:
                yield chunk
        finally:
            self._runner.run(_closed(answer))


async def _next(chunks: AsyncIterator[bytes]) -> bytes | None:
    return await anext(chunks, None)


async def _asked(http: Http, url: str) -> Answer:
    return await http.request("GET", url)


async def _closed(answer: Answer) -> None:
    await answer.__aexit__(None, None, None)
