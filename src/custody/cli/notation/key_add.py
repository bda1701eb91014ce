"""`custody notation key add`: a plugin's key gets a name here."""

from __future__ import annotations

from typing import Any

import click

from custody.cli.notation.options import Command, Narrator, directory, logging_options, pairs
from custody.errors import UsageError
from custody.kit.visible import visible
from custody.sign.notary.plugin import open_plugin
from custody.sign.notary.signingkeys import SigningKey, load_signing_keys, save_signing_keys
from custody.wiring import programs


@click.command("add", cls=Command)
@click.argument("name", metavar="NAME")
@click.option("--plugin", required=True, metavar="NAME", help="The plugin that has the key.")
@click.option("--id", "identifier", metavar="ID", help="Which of its keys.")
@click.option("--plugin-config", multiple=True, metavar="{key}={value}",
              help="Passed to the plugin as it is, whenever this key signs; repeatable.")
@click.option("--default", is_flag=True, help="Sign with it where no key is named.")
@logging_options
def command(name: str, plugin: str, identifier: str | None, plugin_config: tuple[str, ...], default: bool,
            **options: Any) -> None:
    """Add a plugin's key to the list of signing keys."""
    if not identifier:
        raise UsageError("--id: got none, expected which key of the plugin it is")
    config = pairs(plugin_config, "--plugin-config")
    opened = open_plugin(directory(), plugin, programs())
    narrator = Narrator(options["debug"], options["verbose"])
    narrator.debug(f"plugin {plugin}: {opened.path}")
    keys = load_signing_keys(directory()).with_key(SigningKey(name, id=identifier, plugin=plugin,
                                                              plugin_config=config), default=default)
    save_signing_keys(directory(), keys)
    narrator.info(f"wrote {directory().signing_keys}")
    print(f"{visible(name)}: marked as default" if default else visible(name))
