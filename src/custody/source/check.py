"""The source gate: who signed every commit of a branch, and whether its lock files lock.

It proves that a holder of an allowed key made each commit, and that the inputs are named by hash. It does not prove
that anybody else read the change, nor when it was made: a commit's time is what its committer wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from custody.errors import CustodyError, VerificationError
from custody.formats import sshsig
from custody.formats.gitobject import Commit, File
from custody.formats.lockfile import NOT_CHECKED, Lock, is_requirements, parse_requirements
from custody.formats.workflow import Workflow, is_workflow, parse_workflow
from custody.ports.repository import Repository
from custody.source.inputs import Expectations, Inputs, inspect
from custody.source.locked import READERS
from custody.source.signers import AllowedSigner


@dataclass(frozen=True, slots=True)
class CommitResult:
    """`signer` is the line of the allowed signers that vouches; `reason` says why none does."""

    commit: str
    summary: str
    signer: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class SourceReport:
    branch: str
    head: str
    commits: tuple[CommitResult, ...] | None
    """None where nobody was named who may sign: who made them was not asked."""
    locks: tuple[Lock, ...]
    not_checked: tuple[str, ...]
    """Lock files that custody does not read yet, by path."""
    inputs: Inputs
    """What the lock files, manifests and build files take in, and what is wrong with it."""
    workflows: tuple[Workflow, ...] = ()
    """GitHub workflows and actions, with what they run that is not pinned to a commit."""

    @property
    def failures(self) -> list[str]:
        unsigned = [f"commit {commit.commit[:12]} ({commit.summary}): {commit.reason}"
                    for commit in self.commits or () if commit.reason]
        return unsigned + [f"{lock.path}:{problem.line}: {problem.reason}"
                           for lock in self.locks for problem in lock.problems] + [
                               str(concern) for concern in self.inputs.concerns if concern.level == "error"]

    @property
    def warnings(self) -> list[str]:
        """Suspicions, and what is not pinned."""
        return [str(concern) for concern in self.inputs.concerns if concern.level == "warning"]

    @property
    def unpinned(self) -> list[str]:
        """Actions whose tags can be moved (CVE-2026-33634)."""
        return [f"{workflow.path}:{use.line}: uses {use.reason}" for workflow in self.workflows
                for use in workflow.problems]


def check_source(repository: Repository, branch: str, signers: tuple[AllowedSigner, ...] | None,
                 since: frozenset[str] = frozenset(), *, base: str | None = None,
                 expected: Expectations | None = None, now: datetime | None = None) -> SourceReport:
    """Verify every commit from the branch's head back, merges' other parents included, and read its lock files,
    manifests, build files and workflows; `base` is the revision that they are compared with. Without `signers` only
    what the head has is read.
    """
    head = repository.resolve(branch)
    commits = None if signers is None else tuple(
        _judge(commit, signers) for commit in repository.history(head, since))
    locks, not_checked, workflows = [], [], []
    files = repository.files(repository.commit(head))
    before = None if base is None else repository.files(repository.commit(repository.resolve(base)))
    inputs = inspect(
        _readers(repository, files), None if before is None else _readers(repository, before),
        {file.path: file.id for file in files}, {file.path: file.id for file in before or ()},
        expected or Expectations(), now or datetime.now(UTC))
    for file in files:
        name = file.path.rpartition("/")[2]
        if is_requirements(file.path):
            locks.append(parse_requirements(repository.blob(file.id), file.path))
        elif name in NOT_CHECKED and name not in READERS:
            not_checked.append(file.path)
        elif is_workflow(file.path):
            workflows.append(parse_workflow(repository.blob(file.id), file.path))
    return SourceReport(branch, head, commits, tuple(locks), tuple(not_checked), inputs, tuple(workflows))


def _readers(repository: Repository, files: Iterable[File]) -> dict[str, Callable[[], bytes]]:
    return {file.path: partial(repository.blob, file.id) for file in files}


def verify_commit(commit: Commit, signers: tuple[AllowedSigner, ...]) -> AllowedSigner:
    """The allowed signer who signed this commit. Raises VerificationError with the reason."""
    # 1. There is a signature, and it is SSH's.
    if commit.signature is None:
        raise VerificationError("not signed")
    if not commit.signature.startswith("-----BEGIN SSH SIGNATURE-----"):
        kind = commit.signature.partition("\n")[0].strip("- ")
        raise VerificationError(f"signed with {kind.removeprefix('BEGIN ')!r}, expected an SSH signature",
                                hint="git config gpg.format ssh")
    signature = sshsig.parse_armor(commit.signature, f"commit {commit.id[:12]}: gpgsig")
    # 2. It fits the commit without its signature header, for the namespace `git`.
    signature.verify(commit.payload, "git")
    # 3. The key is an allowed one. git prints `Good "git" signature` for any key at all: only the list counts.
    allowed = [signer for signer in signers if signer.key == signature.public_key and signer.allows("git")]
    if not allowed:
        raise VerificationError(f"signed by {sshsig.fingerprint(signature.public_key)}, "
                                "which is not among the allowed signers")
    # 4. It is the committer's key: an allowed colleague's key does not make somebody else's commit.
    of_committer = [signer for signer in allowed if signer.is_for(commit.committer)]
    if not of_committer:
        raise VerificationError(f"the committer says {commit.committer}, the key belongs to "
                                f"{','.join(allowed[0].principals)}")
    # 5. The key counted at the time that the commit gives.
    try:
        moment = datetime.fromtimestamp(commit.time, UTC)
    except (OverflowError, ValueError, OSError):
        raise VerificationError(f"committer time {commit.time} is no time") from None
    for signer in of_committer:
        if (signer.valid_after is None or signer.valid_after <= moment) and (
                signer.valid_before is None or moment < signer.valid_before):
            return signer
    raise VerificationError(f"the key of {','.join(of_committer[0].principals)} was not valid at {moment:%Y-%m-%d}")


def _judge(commit: Commit, signers: tuple[AllowedSigner, ...]) -> CommitResult:
    try:
        signer = verify_commit(commit, signers)
    except CustodyError as error:
        return CommitResult(commit.id, commit.summary, None, error.message)
    return CommitResult(commit.id, commit.summary, str(signer), None)
