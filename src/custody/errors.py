"""Every exception that custody raises on purpose.

    CustodyError                       exit 1   HTTP 500
    ├── UsageError                     exit 2   HTTP 400   a flag, field or format that is not accepted
    │   ├── MalformedError             exit 2   HTTP 400   hostile or broken bytes: field, got, expected
    │   └── UnsupportedError           exit 2   HTTP 501   well formed, but custody does not evaluate it
    ├── DeniedError                    exit 3   HTTP 403   a gate said no, or a threshold was met
    ├── VerificationError              exit 4   HTTP 422   evidence that does not verify
    │   ├── MissingEvidenceError       exit 4   HTTP 404   evidence that is not there
    │   └── NotJudgedError             exit 4   HTTP 422   nothing was said against it, since no rule spoke of it
    ├── AuthenticationError            exit 5   HTTP 401
    │   └── ReplayedTokenError         exit 5   HTTP 401   an identity token that was used before
    ├── NetworkError                   exit 6   HTTP 502   the other side did not answer, or answered nonsense
    │   ├── ConnectionBrokenError      exit 6   HTTP 502   refused, reset or cut off: the same request may be sent again
    │   ├── TimeoutExceededError       exit 6   HTTP 504   --timeout is over
    │   ├── OfflineError               exit 6   HTTP 503   --offline, and the answer is not on this machine
    │   └── NotFoundError              exit 6   HTTP 404   the other side says that there is no such thing
    ├── ConflictError                  exit 1   HTTP 409
    ├── LanguageFailedError            exit 1   HTTP 500   a policy's program failed while it was evaluated
    └── StorageError                   exit 1   HTTP 500   this machine's disk failed
        └── StorageFullError           exit 1   HTTP 507   no room, quota or file size left on it

A message says what was got and what was expected; `hint` is the next thing to try.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from policylang.errors import InputError, InvalidError, LanguageError, NotEvaluatedError, Words, shown


class CustodyError(Exception):
    """Something went wrong in custody or on this machine."""

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.place: str | None = None
        """Where the document stands that it is about, where that is one of several (`policy.engines.standing`)."""


class UsageError(CustodyError):
    """The request cannot be understood as it was made."""

    code = "usage"
    exit_code = 2
    http_status = 400


class MalformedError(UsageError):
    """Bytes from outside that are not what their format says."""

    code = "malformed"

    def __init__(self, where: str, *, got: object, expected: str, hint: str | None = None) -> None:
        said = f"got {shown(got)}, expected {expected}"
        super().__init__(f"{where}: {said}" if where else said, hint=hint)
        self.where = where


def unread(path: object, error: OSError, expected: str = "a file") -> CustodyError:
    """Of a file that a person named and that cannot be read: not there and no file are the person's, the rest is the
    disk's. Paths of `error` are not told."""
    if isinstance(error, IsADirectoryError):
        return MalformedError(str(path), got=Words("a folder"), expected=expected)
    kind = UsageError if isinstance(error, (FileNotFoundError, NotADirectoryError)) else StorageError
    return kind(f"{path}: {error.strerror or error}")


class UnsupportedError(UsageError):
    """A field, flag or format that custody knows it does not evaluate; never accepted and ignored."""

    code = "unsupported"
    http_status = 501

    def __init__(self, where: str, reason: str, *, hint: str | None = None) -> None:
        super().__init__(f"{where}: {reason}", hint=hint)
        self.where = where


class DeniedError(CustodyError):
    """A gate said no, or a threshold such as --fail-on was met."""

    code = "denied"
    exit_code = 3
    http_status = 403


class Check(enum.StrEnum):
    """What a verifier asks of a signed document about an image: code branches on this, the message is for people."""

    FORMAT = "format"
    """It is what its media type says, and custody reads all of it."""
    WEIGHT = "weight"
    """It takes no more memory than it may."""
    ROOT = "root"
    """There is a trusted root to check its certificate against."""
    KEY = "key"
    """There is a trusted key that could have made it."""
    CERTIFICATE = "certificate"
    """The signing certificate is one, was valid at the time, and an authority of the root issued it."""
    SIGNATURE = "signature"
    """The signer's key signed these bytes."""
    TIME = "time"
    """An authority of the root attests when, as far as that is needed, and every timestamp is right."""
    LOGGED = "logged"
    """There is a log entry."""
    LOG = "log"
    """Every log entry is of this signature, and a log of the root keeps it."""
    SCT = "sct"
    """The certificate was promised to a CT log of the root."""
    STATEMENT = "statement"
    """What was signed says something about images, in a form that custody reads."""
    SUBJECT = "subject"
    """It says it about this image."""
    IDENTITY = "identity"
    """The signer is the one that was expected."""


class VerificationError(CustodyError):
    """Evidence that is present and does not verify."""

    code = "unverifiable"
    exit_code = 4
    http_status = 422

    def __init__(self, message: str, *, hint: str | None = None, check: Check | None = None, absent: bool = False
                 ) -> None:
        super().__init__(message, hint=hint)
        self.check = check
        """Which check of a signature failed; None where none was made."""
        self.absent = absent
        """What the check is about is not there, rather than wrong."""


class MissingEvidenceError(VerificationError):
    """Evidence that was asked for and is not there."""

    code = "missing"
    http_status = 404


class NotJudgedError(VerificationError):
    """No rule spoke of what was given: that is neither yes nor no."""

    code = "not_judged"


class AuthenticationError(CustodyError):
    """The other side wants to know who is asking."""

    code = "unauthenticated"
    exit_code = 5
    http_status = 401


class ReplayedTokenError(AuthenticationError):
    """An identity token that counts once came again."""

    code = "token_replayed"


class NetworkError(CustodyError):
    """The other side did not answer, or its answer makes no sense."""

    code = "network"
    exit_code = 6
    http_status = 502


class ConnectionBrokenError(NetworkError):
    """Nobody listened, or the connection ended before the answer did: the same request may be sent again."""


class TimeoutExceededError(NetworkError):
    """--timeout is over, and the command is not done."""

    code = "timeout"
    http_status = 504


class OfflineError(NetworkError):
    """--offline was given and the answer is not on this machine."""

    code = "offline"
    http_status = 503


class NotFoundError(NetworkError):
    """The other side answered that there is no such thing."""

    code = "not_found"
    http_status = 404


class ConflictError(CustodyError):
    """What is stored already differs from what was sent."""

    code = "conflict"
    http_status = 409


class StorageError(CustodyError):
    """This machine's disk did not take or give the bytes."""

    code = "storage"


class StorageFullError(StorageError):
    """No room, quota or file size is left for what was to be kept (ENOSPC, EDQUOT, EFBIG)."""

    code = "storage_full"
    http_status = 507


class LanguageFailedError(CustodyError):
    """A program of a policy language failed while it was evaluated, or asked for more than it was given."""

    code = "language"


def of_language(error: LanguageError) -> CustodyError:
    """What custody calls an error of one of the policy languages, whose package knows nothing of custody's."""
    if isinstance(error, InvalidError):
        return MalformedError(error.where, got=error.got, expected=error.expected, hint=error.hint)
    if isinstance(error, NotEvaluatedError):
        return UnsupportedError(error.where, error.reason, hint=error.hint)
    kind = UsageError if isinstance(error, InputError) else LanguageFailedError
    return kind(error.message, hint=error.hint)


@contextmanager
def language_errors() -> Iterator[None]:
    """Errors of the policy languages leave this block as custody's."""
    try:
        yield
    except LanguageError as error:
        raise of_language(error) from error
