"""Folders that crossed an air gap: whose their signed manifest must be, and the trusted root in them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from custody.cli.bars import progress
from custody.cli.kept_keys import trusted_key
from custody.cli.trust_options import warn
from custody.errors import UsageError
from custody.kit.amount import amount
from custody.kit.clock import system_clock
from custody.kit.visible import visible
from custody.services import airgap
from custody.services.stored import split_layout
from custody.services.verify import Terms
from custody.sign.identity import not_by_key
from custody.sign.verify import Trust


def by_key(key: str) -> Terms:
    """A key's word for a folder counts without a log: beyond the gap there is nobody to know a log by."""
    return Terms(Trust(None, (trusted_key(key),), require_log=False), not_by_key)


def opened(folder: Path, terms: Terms) -> airgap.Freight:
    """The folder, verified whole; says so. Raises MissingEvidenceError, VerificationError."""
    total = sum(path.lstat().st_size for path in folder.rglob("*"))
    with progress(f"Hashing {folder}", total) as advance:
        freight = airgap.inspect(folder, terms, system_clock(), advance)
    print(visible(f"{folder}: {amount(freight.files, 'file')}, all as {freight.signer} signed them at "
                  f"{freight.created}, for {freight.image}"), file=sys.stderr)
    return freight


def root_of(layouts: Sequence[str], key: str | None, trusted_root: str | None, *, mixed: bool) -> str | None:
    """As `carried.carried_root`: of images DIR[:TAG|@DIGEST], which may be `mixed` with some of registries."""
    folders = list(dict.fromkeys(split_layout(layout)[0] for layout in layouts))
    if key is None:
        for folder in folders:
            if airgap.is_airgap(folder):
                warn(f"{folder}: its signed manifest was not looked at (--airgap-key FILE)")
        return trusted_root
    if len(folders) != 1 or mixed:
        raise UsageError("--airgap-key: got images of more than one place, expected oci:DIR of one folder")
    opened(folders[0], by_key(key))
    root = folders[0] / airgap.ROOT
    return trusted_root or (str(root) if root.is_file() else None)
