"""What `notation sign` and `notation blob sign` share: which key signs, and how."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from custody.cli.notation.options import Narrator, directory, duration, pairs
from custody.errors import UsageError
from custody.formats.notary import FORMATS
from custody.kit import regular
from custody.kit.amount import amount
from custody.ports.http import Http
from custody.sign.notary.sign import EnvelopeMaker, Key, Signed, Terms
from custody.sign.notary.signingkeys import load_configuration, load_signing_keys, open_local_key

_F = TypeVar("_F", bound=Callable[..., Any])
_MAX_ROOT = 1 << 16


def signing_options(command: _F) -> _F:
    """The options that `signer` and `terms` read."""
    for option in (
            click.option("-m", "--user-metadata", multiple=True, metavar="{key}={value}",
                         help="Sign this with the artifact's digest; repeatable."),
            click.option("--timestamp-root-cert", metavar="FILE",
                         help="The root certificate that the timestamp authority is believed by, PEM or DER."),
            click.option("--timestamp-url", metavar="URL", help="An RFC 3161 timestamp authority that witnesses the "
                         "signature, so that it counts when its certificates have expired."),
            click.option("--plugin-config", multiple=True, metavar="{key}={value}",
                         help="Passed to the plugin as it is; repeatable."),
            click.option("-e", "--expiry", metavar="DURATION", help="After which the artifact is best not used: 12h, "
                         "30m, 3h20m. Default: none."),
            click.option("--plugin", metavar="NAME", help="Sign with a key of this plugin that is not in the list, "
                         "together with --id."),
            click.option("--id", "identifier", metavar="ID", help="Which key of --plugin."),
            click.option("--signature-format", type=click.Choice(list(FORMATS)), metavar="jws|cose",
                         help="The envelope. Default: signatureFormat of config.json, else jws."),
            click.option("-k", "--key", metavar="NAME", help="A key of the list. Default: the list's default key.")):
        command = option(command)
    return command


def signer(options: Mapping[str, Any], narrator: Narrator) -> Key | EnvelopeMaker:
    """Whoever signs. Raises UsageError for options that exclude each other, and what the key's files or plugin do."""
    from custody.sign.notary.plugin import open_plugin
    from custody.sign.notary.pluginkeys import plugin_signer
    from custody.wiring import programs

    name, plugin, identifier = options["key"], options["plugin"], options["identifier"]
    if name and (plugin or identifier):
        raise UsageError(f"--key and --{'plugin' if plugin else 'id'}: give one; a key of the list has its own")
    if bool(plugin) != bool(identifier):
        raise UsageError(f"--{'plugin' if plugin else 'id'}: got no --{'id' if plugin else 'plugin'}, expected both")
    config = pairs(options["plugin_config"], "--plugin-config")
    if plugin:
        narrator.info(f"signing with the key {identifier} of plugin {plugin}")
        return plugin_signer(open_plugin(directory(), plugin, programs()), identifier, config)
    return listed_signer(name, config, narrator)


def listed_signer(name: str | None, config: Mapping[str, str], narrator: Narrator) -> Key | EnvelopeMaker:
    """Whoever signs by a key of the list, or by its default one; `config` is for its plugin. Raises as `signer`."""
    from custody.sign.notary.plugin import open_plugin
    from custody.sign.notary.pluginkeys import plugin_signer
    from custody.wiring import programs

    key = load_signing_keys(directory()).key(name)
    if not key.plugin:
        if config:
            raise UsageError(f"--plugin-config: the signing key {key.name} is a file of this machine, expected one of "
                             "a plugin")
        narrator.info(f"signing with the key {key.name}, {key.key_path}")
        return open_local_key(key)
    narrator.info(f"signing with the key {key.name}, {key.id} of plugin {key.plugin}")
    return plugin_signer(open_plugin(directory(), key.plugin, programs()), key.id, {**key.plugin_config, **config})


def terms(http: Http, options: Mapping[str, Any]) -> Terms:
    """How to sign. Raises UsageError, MalformedError."""
    url, root = options["timestamp_url"], options["timestamp_root_cert"]
    if bool(url) != bool(root):
        raise UsageError(f"--timestamp-{'url' if url else 'root-cert'}: got no --timestamp-"
                         f"{'root-cert' if url else 'url'}, expected both")
    stamp = None
    if url:
        from custody.kit.clock import system_clock
        from custody.sign.notary.crl import ListCache
        from custody.sign.notary.revocation import OnlineRevocations
        from custody.sign.notary.timestamping import authority_root, stamper

        data = regular.read(Path(root), _MAX_ROOT, "--timestamp-root-cert")
        revocations = OnlineRevocations(http, system_clock, ListCache(directory().revocation_lists))
        stamp = stamper(http, url, authority_root(data, f"--timestamp-root-cert {root}"), revocations)
    expiry = duration(options["expiry"], "--expiry") if options["expiry"] is not None else None
    form = options["signature_format"] or load_configuration(directory()).signature_format
    return Terms(FORMATS[form], expiry, pairs(options["user_metadata"], "--user-metadata"), stamp)


def summary(signed: Signed) -> str:
    """What was made, for people."""
    stamped = "with a timestamp" if signed.envelope.timestamp else "without a timestamp"
    return (f"{signed.media_type}, {signed.envelope.algorithm}, {amount(len(signed.envelope.chain), 'certificate')}, "
            f"{stamped}")
