"""Two containers of one name in one place: the later one is renamed, and the renaming is recorded.

Identifiers of containers follow from their names, so two writers who both create "churn" make one "churn". A clash needs
a container that was renamed, or one whose identifier was made otherwise; it shows when streams come together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeldb_core.log.changes import UPDATE
from modeldb_core.model.schema import KINDS
from modeldb_core.movement.deletion import pages
from modeldb_core.queries import Query

if TYPE_CHECKING:
    from modeldb_core.model.entities import Entity
    from modeldb_core.movement.recorder import Recorder


def separate_names(recorder: Recorder) -> list[tuple[Entity, str]]:
    """Rename containers that share their name with an older one in the same place.

    The first free name is taken: "churn (2)", "churn (3)". Whoever does it twice, or in two stores, renames the same ones.
    Memory holds the names of all containers.

    Returns:
        What was renamed, as it was, with the new name.
    """
    renamed: list[tuple[Entity, str]] = []
    for kind, declaration in KINDS.items():
        scope = next((each.unique_within for each in declaration.unique if each.name == "name"), None)
        if scope is None:
            continue
        places: dict[tuple[object, str], list[Entity]] = {}
        for entity in pages(
            recorder.store, Query(kind, order_by="created_at, entity_id", fields=(scope,) if scope else ())
        ):
            places.setdefault((entity.document.get(scope), entity.name), []).append(entity)
        for (parent, name), (_, *later) in list(places.items()):
            for entity in later if name else ():
                number = 2
                while (parent, new := f"{name} ({number})") in places:
                    number += 1
                places[parent, new] = [entity]
                renamed.append((entity, new))
    recorder.record([(UPDATE, entity.KIND, entity.entity_id, {"set": {"name": name}}) for entity, name in renamed])
    return renamed
