"""The schema as tables of the documentation: ``docs/kinds.md`` and ``docs/queries.md`` hold what these functions return."""

from __future__ import annotations

from modeldb_core.model.schema import ANY, KINDS, WHOLE_STORE, FieldDeclaration

_TYPES = {"texts": "list of texts", "series": "series", "map": "map"}


def kinds_table() -> str:
    """Return a row of Markdown for each field of each kind that every entity does not have."""
    rows = ["| kind | field | holds | |", "|---|---|---|---|"]
    anyone = next(iter(KINDS.values()))
    rows += [_row("every kind", each) for each in anyone.fields.values() if each.name in anyone.common - {"name"}]
    for declaration in KINDS.values():
        for each in declaration.fields.values():
            if each.name not in declaration.common or each.unique_within is not None:
                rows.append(_row(declaration.words, each))
    return "\n".join(rows)


def columns_table() -> str:
    """Return a row of Markdown for each kind: the columns and maps that a filter can name, beyond those of every kind."""
    rows = ["| of | text | others | maps with keys |", "|---|---|---|---|"]
    for declaration in KINDS.values():
        own = {name: held for name, held in declaration.columns.items() if name not in declaration.common}
        texts = [
            f"`{name}`{' (its name)' if name in declaration.container_names else ''}"
            for name, held in own.items()
            if held == "text"
        ]
        others = [f"`{name}` ({held})" for name, held in own.items() if held != "text"]
        maps = [f"`{name}`" for name in declaration.sections if name not in declaration.common]
        words = declaration.path.replace("-", " ")
        rows.append(f"| {words} | {', '.join(texts)} | {', '.join(others)} | {', '.join(maps)} |")
    return "\n".join(rows)


def _row(kind: str, declared: FieldDeclaration) -> str:
    notes = [declared.description] if declared.description else []
    if declared.container:
        notes.append("it is part of that")
    if declared.unique_within is not None:
        scope = "the store" if declared.unique_within == WHOLE_STORE else f"one `{declared.unique_within}`"
        notes.append(f"unique within {scope}")
    if declared.entries:
        notes.append(f"names {' and '.join(sorted(set(declared.entries.values()))).replace('_', ' ')}")
    if declared.lineage:
        notes.append("what it was made from" if declared.lineage == "input" else "what was made of it")
    if declared.secret:
        notes.append("not shown")
    if declared.searchable:
        notes.append("searched by its keys" if declared.type == "map" else "searched")
    holds = _TYPES.get(declared.type, declared.type)
    if declared.refers_to:
        named = "entity of any kind" if declared.refers_to == ANY else declared.refers_to.replace("_", " ")
        holds = f"identifier of {'an' if named[0] in 'aeiou' else 'a'} {named}"
        holds = f"identifiers of {named}s" if declared.type == "texts" else holds
    return f"| {kind} | `{declared.name}` | {holds} | {'; '.join(notes)} |"
