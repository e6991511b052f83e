"""A plugin as somebody wrote it for version 1 of the hooks, frozen: every hook of then, some with fewer arguments."""

from __future__ import annotations

from modeldb_core import hookimpl
from modeldb_core.stores import Backend

CALLS = []


@hookimpl
def modeldb_register_backends():
    return [
        Backend("acme", "metadata", "acme_old_store:AcmeStore", "acme-driver", "of long ago"),
        Backend("acme", "artifacts", "acme_old_store:AcmeArtifacts"),
    ]


@hookimpl
def modeldb_register_autologgers():
    return {"acme": lambda **options: CALLS.append(("autolog", options))}


@hookimpl
def modeldb_configure(settings):
    CALLS.append(("configure", settings.url, dict(settings.plugins.get("acme", {}))))


@hookimpl
def modeldb_run_context():
    return {"context": {"acme": "here"}, "environment": {"acme": "1.0"}}


@hookimpl
def modeldb_run_started(run):
    run.set_attributes({"acme": "started"})
    CALLS.append(("started", run.name))


@hookimpl
def modeldb_run_finished(status):
    CALLS.append(("finished", status))


@hookimpl
def modeldb_describe_object(obj):
    return {"type": "Widget", "size": obj.size} if type(obj).__name__ == "Widget" else None


@hookimpl
def modeldb_dump_model(path, model):
    if type(model).__name__ != "Widget":
        return None
    (path / "widget.txt").write_text(str(model.size))
    return {"format": "acme"}


@hookimpl
def modeldb_load_model(model_format, path):
    return int((path / "widget.txt").read_text()) if model_format == "acme" else None


@hookimpl
def modeldb_register_blueprints(app):
    app.add_url_rule("/acme", "acme", lambda: "acme")


@hookimpl
def modeldb_register_commands(group):
    import click

    @group.command("acme")
    def acme():
        click.echo("acme says hello")
