"""The source gate: who signed every commit of a branch, and whether its lock files lock.

It proves that a holder of an allowed key or identity made each commit, and that the inputs are named by hash. It does
not prove that anybody else read the change, nor when it was made: a commit's time is what its committer wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from custody.errors import CustodyError, VerificationError
from custody.formats.gitobject import Commit, File, Tag
from custody.formats.lockfile import NOT_CHECKED, Lock, is_requirements, parse_requirements
from custody.formats.workflow import Workflow, is_workflow, parse_workflow
from custody.ports.repository import Repository
from custody.source.inputs import Expectations, Inputs, inspect
from custody.source.locked import READERS
from custody.source.signatures import Believed


@dataclass(frozen=True, slots=True)
class CommitResult:
    """`signer` is the line of the allowed signers or the identity that vouches; `reason` says why none does."""

    commit: str
    summary: str
    signer: str | None
    reason: str | None
    hint: str | None = None
    """What to do about the reason, where there is something."""


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
    tags: tuple[CommitResult, ...] = ()
    """The annotated tag that `branch` names, with any that it names itself."""

    @property
    def failures(self) -> list[str]:
        unsigned = [f"commit {commit.commit[:12]} ({commit.summary}): {commit.reason}"
                    for commit in self.commits or () if commit.reason]
        unsigned += [f"tag {tag.summary}: {tag.reason}" for tag in self.tags if tag.reason]
        return unsigned + [f"{lock.path}:{problem.line}: {problem.reason}"
                           for lock in self.locks for problem in lock.problems] + [
                               str(concern) for concern in self.inputs.concerns if concern.level == "error"]

    @property
    def hint(self) -> str | None:
        """Of the first commit or tag that does not count and has one: what to do about it."""
        return next((signed.hint for signed in (*(self.commits or ()), *self.tags) if signed.hint), None)

    @property
    def warnings(self) -> list[str]:
        """Suspicions, and what is not pinned."""
        return [str(concern) for concern in self.inputs.concerns if concern.level == "warning"]

    @property
    def unpinned(self) -> list[str]:
        """Actions whose tags can be moved (CVE-2026-33634)."""
        return [f"{workflow.path}:{use.line}: uses {use.reason}" for workflow in self.workflows
                for use in workflow.problems]


def check_source(repository: Repository, branch: str, believed: Believed | None,
                 since: frozenset[str] = frozenset(), *, base: str | None = None,
                 expected: Expectations | None = None, now: datetime | None = None) -> SourceReport:
    """Verify every commit from the branch's head back, merges' other parents included, and the annotated tag where
    `branch` names one; read its lock files, manifests, build files and workflows; `base` is the revision that they are
    compared with. Where nobody is `believed` only what the head has is read.
    """
    head = repository.resolve(branch)
    commits: tuple[CommitResult, ...] | None = None
    tags: tuple[Tag, ...] = ()
    if believed is not None:
        commits = tuple(_judge(commit, believed) for commit in repository.history(head, since))
        tags = repository.tags(branch)
    # A tag that another tag names has no name but its own; so has one that was asked for by its id.
    named = [branch.removeprefix("refs/tags/"), *(tag.name for tag in tags[1:])]
    if tags and tags[0].id == branch:
        named[0] = tags[0].name
    judged = tuple(_judge_tag(tag, name, believed) for tag, name in zip(tags, named, strict=False) if believed)
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
    return SourceReport(branch, head, commits, tuple(locks), tuple(not_checked), inputs, tuple(workflows), judged)


def _readers(repository: Repository, files: Iterable[File]) -> dict[str, Callable[[], bytes]]:
    return {file.path: partial(repository.blob, file.id) for file in files}


def _judge(commit: Commit, believed: Believed) -> CommitResult:
    try:
        signer = believed.vouching(commit)
    except CustodyError as error:
        return CommitResult(commit.id, commit.summary, None, error.message, error.hint)
    return CommitResult(commit.id, commit.summary, signer, None)


def _judge_tag(tag: Tag, name: str, believed: Believed) -> CommitResult:
    """`name`: what the tag is called where it was found, which nobody signed."""
    try:
        signer = believed.vouching(tag)
        if tag.name != name:
            raise VerificationError(f"it says that it is {tag.name!r}, and stands as {name!r}")
    except CustodyError as error:
        return CommitResult(tag.id, tag.name, None, error.message, error.hint)
    return CommitResult(tag.id, tag.name, signer, None)
