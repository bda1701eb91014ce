"""What a folder that crossed an air gap brings along for verifying. Light: most images are in a registry."""

from __future__ import annotations

from collections.abc import Sequence

import click

from custody.formats.reference import LAYOUT, is_layout

airgap_key_option = click.option(
    "--airgap-key", metavar="FILE", help="Of oci:DIR: its signed manifest must be by this public key (see save "
    "--airgap), and every file in it; the trusted root in it counts then.")


def carried_root(images: Sequence[str], key: str | None, trusted_root: str | None) -> str | None:
    """The trusted root to verify with: the one that was given, else that of the folder whose manifest `key` signed.

    Raises UsageError for anything but images of one folder, VerificationError for a folder that is not as signed.
    """
    layouts = [image.removeprefix(LAYOUT) for image in images if is_layout(image)]
    if key is None and not layouts:
        return trusted_root
    from custody.cli.airgap import root_of

    return root_of(layouts, key, trusted_root, mixed=len(layouts) < len(images))
