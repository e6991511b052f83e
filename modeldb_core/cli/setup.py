"""``modeldb plugins`` and ``modeldb config``."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from modeldb_core.cli.output import echo
from modeldb_core.cli.session import examples
from modeldb_core.cli.tables import print_json, print_table
from modeldb_core.errors import ModelDBWarning
from modeldb_core.plugins import list_plugins, load_settings, project_options

if TYPE_CHECKING:
    from modeldb_core.plugins import PluginInfo


@click.command(epilog=examples("modeldb plugins", "modeldb plugins --json"))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plugins(*, as_json: bool) -> None:
    """List the installed plugins: where they come from, whether they are loaded, and what they provide."""
    found = list_plugins(load_settings())
    if as_json:
        print_json(
            [
                {
                    "name": info.name,
                    "distribution": info.distribution,
                    "version": info.version,
                    "state": info.state,
                    "error": info.error,
                    "hooks": list(info.hooks),
                    "backends": [
                        {"scheme": backend.scheme, "kind": backend.kind, "description": backend.description}
                        for backend in info.backends
                    ],
                }
                for info in found
            ]
        )
        return
    rows = [[info.name, f"{info.distribution} {info.version}".strip(), info.state, _provides(info)] for info in found]
    print_table(["plugin", "from", "state", "provides"], rows, folded="provides")
    for info in found:
        if info.error:
            echo(f"{info.name}: {info.error}", err=True)


def _provides(info: PluginInfo) -> str:
    parts = [f"{backend.scheme}:// ({backend.kind})" for backend in info.backends]
    parts += [hook.removeprefix("modeldb_") for hook in info.hooks if hook != "modeldb_register_backends"]
    return ", ".join(parts)


@click.command(epilog=examples("modeldb config", "MODELDB_SERVER_PORT=8080 modeldb config --json"))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def config(*, as_json: bool) -> None:
    """Show the settings and where each comes from: a variable, a file or the default. Secrets are hidden.

    Files may say things that are not obeyed, such as a project's file that opens the server to the network: these are
    listed too, with the reason.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ModelDBWarning)  # what it would say is listed below
        settings = load_settings()
    kept, refused = project_options(settings)
    refusals = [*settings.refusals, *refused]
    stores = {
        scheme: {**settings.stores.get(scheme, {}), **kept.get(scheme, {})} for scheme in (*settings.stores, *kept)
    }
    rows = list(replace(settings, stores=stores).describe())
    if as_json:
        not_obeyed = [{"file": one.file, "key": one.key, "reason": one.reason} for one in refusals]
        listed = [{"key": key, "value": value, "origin": origin, "help": text} for key, value, origin, text in rows]
        print_json({"settings": listed, "not_obeyed": not_obeyed})
        return
    print_table(["setting", "value", "from", "what it is"], rows, folded="what it is")
    if refusals:
        click.echo()
        listed_refusals = [(one.key or "(the whole file)", one.file, one.reason) for one in refusals]
        print_table(["not obeyed", "in", "why"], listed_refusals, folded="why")
