"""One thread that makes all changes of a registry, many at a time.

What arrives while a batch is being flushed to disk is the next batch, so that any number of pushes share its syncs.
A batch goes through three steps, and a crash between two of them loses nothing that was acknowledged:

    1. contents get durable files under their digests: nobody can see them, since no repository has them
    2. the index changes, in one transaction: from here on they are there
    3. files of digests that no repository has any more are removed
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from custody.errors import CustodyError, StorageError
from custody.ports.blobs import Blobs, Draft
from custody.ports.repositories import Repositories, Transaction

_T = TypeVar("_T")
_BATCH = 256  # changes
_BATCH_BYTES = 32 << 20


@dataclass(slots=True)
class _Job:
    change: Callable[[Transaction], Any]
    digest: str | None = None
    content: Draft | bytes | None = None
    future: Future[Any] = field(default_factory=Future)
    result: Any = None
    error: BaseException | None = None
    freed: str | None = None
    """A digest that may have lost its last repository."""


class Committer:
    """Runs until `close`. `tick` is called about every `interval` seconds, in between."""

    def __init__(self, blobs: Blobs, repositories: Repositories, tick: Callable[[], object],
                 interval: float = 60.0) -> None:
        self._blobs = blobs
        self._repositories = repositories
        self._tick = tick
        self._interval = interval
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="registry-commit", daemon=True)
        self._thread.start()

    def submit(self, change: Callable[[Transaction], _T], digest: str | None = None,
               content: Draft | bytes | None = None, *, freed: str | None = None) -> Future[_T]:
        """`change` is called with the batch's transaction, after `content` has become the blob `digest`.

        The future has its result once that is durable. What it raises is its own failure and no other's; then, and
        where `freed` is given, the digest's file goes if no repository has it.
        """
        if self._closed:
            raise StorageError("registry: it is being closed")
        job = _Job(change, digest, content, freed=freed)
        self._jobs.put(job)
        return job.future

    def close(self) -> None:
        """Finish what was submitted."""
        self._closed = True
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=self._interval)
            except queue.Empty:
                with contextlib.suppress(CustodyError, OSError):  # it is tried again
                    self._tick()
                continue
            batch, last = self._gather(job)
            if batch:
                self._commit(batch)
            if last:
                return

    def _gather(self, job: _Job | None) -> tuple[list[_Job], bool]:
        batch, size = [], 0
        while job is not None:
            if job.future.set_running_or_notify_cancel():
                batch.append(job)
                size += len(job.content) if isinstance(job.content, bytes) else 0
            if len(batch) >= _BATCH or size >= _BATCH_BYTES:
                return batch, False
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return batch, False
        return batch, True

    def _commit(self, batch: list[_Job]) -> None:
        try:
            self._publish(batch)
            self._change(batch)
        except Exception as error:
            for job in batch:
                job.error = job.error or error
        self._remove(batch)
        for job in batch:
            if job.error is not None:
                job.future.set_exception(job.error)
            else:
                job.future.set_result(job.result)

    def _publish(self, batch: list[_Job]) -> None:
        contents = [(job, job.digest, job.content) for job in batch
                    if job.digest is not None and job.content is not None]
        outcomes = self._blobs.publish([(digest, content) for _, digest, content in contents]) if contents else []
        for (job, _, _), outcome in zip(contents, outcomes, strict=True):
            job.error = outcome

    def _change(self, batch: list[_Job]) -> None:
        with self._repositories.transaction() as transaction:
            for job in batch:
                if job.error is None:
                    try:
                        with transaction.part():
                            job.result = job.change(transaction)
                    except StorageError:
                        raise  # the transaction is over, for all
                    except Exception as error:
                        job.error = error

    def _remove(self, batch: list[_Job]) -> None:
        """Best effort: a file without a repository does no harm, and `scrub` names it."""
        freed = {job.digest for job in batch if job.error is not None and job.digest is not None}
        freed |= {job.freed for job in batch if job.error is None and job.freed is not None}
        with contextlib.suppress(CustodyError, OSError):
            self._blobs.delete([digest for digest in freed if not self._repositories.blob_is_used(digest)])
