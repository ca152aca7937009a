"""Resources of the API: the entities of the requirements with their fields, states and operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from msgspec import Struct

from tasks.models import FieldHint, FunctionalRequirement
from tasks.reading import language, lexicon

Method = Literal["get", "post", "patch", "delete"]
Shape = Literal["list", "create", "read", "update", "delete", "action", "export"]
RESERVED_FIELDS: Final = frozenset(("id", "status", "created_at", "updated_at"))


class Operation(Struct, frozen=True):
    """One operation of the API. `verb` is set for actions only, such as `assign` in `POST /faults/{faultId}/assign`."""

    id: str
    shape: Shape
    method: Method
    path: str
    summary: str
    requirements: tuple[str, ...]
    verb: str = ""


class Resource(Struct, frozen=True):
    """What the API is about: `entity` in words, `collection` its segment of the path, `schema` its name as a type."""

    entity: str
    collection: str
    schema: str
    parameter: str
    fields: tuple[FieldHint, ...]
    statuses: tuple[str, ...]
    operations: tuple[Operation, ...]


def make_resources(requirements: Sequence[FunctionalRequirement]) -> tuple[Resource, ...]:
    """A resource per entity, in the order of the requirements; names are made distinct."""
    made: list[Resource] = []
    taken: set[str] = set()
    wanted = [one for one in requirements if one.priority != "wont"] or list(requirements)
    for entity in dict.fromkeys(one.entity for one in wanted):
        own = [one for one in wanted if one.entity == entity]
        name = language.slug(language.plural(entity), fallback="items")
        while name in taken:
            name = f"{name}-{len(taken) + 1}"
        taken.add(name)
        made.append(_resource(entity, name, own, distinct=name != language.slug(language.plural(entity))))
    return tuple(made)


def _resource(entity: str, collection: str, own: Sequence[FunctionalRequirement], distinct: bool) -> Resource:
    base = collection.replace("-", " ") if distinct else entity
    schema = language.camel(base, "Item")
    fields = {field.name: field for one in own for field in one.fields if field.name not in RESERVED_FIELDS}
    hint = FieldHint(name="name", kind="string", words="name")
    parameter = f"{schema[0].lower()}{schema[1:]}Id"
    operations = tuple(_operations(entity, collection, schema, parameter, own))
    done = dict.fromkeys(language.past(one.verb).replace(" ", "_").replace("-", "_") for one in operations if one.verb)
    return Resource(
        entity=entity,
        collection=collection,
        schema=schema,
        parameter=parameter,
        fields=tuple(fields.values()) or (hint,),
        statuses=tuple(dict.fromkeys(("new", *done))),
        operations=operations,
    )


def _operations(
    entity: str, collection: str, schema: str, parameter: str, own: Sequence[FunctionalRequirement]
) -> list[Operation]:
    """What every resource has (list, create, read), and what its requirements add."""

    def of(*actions: str) -> tuple[str, ...]:
        return tuple(one.id for one in own if one.action in actions)

    one_path, things, many = (
        f"/{collection}/{{{parameter}}}",
        language.plural(entity),
        language.camel(collection, "Items"),
    )
    reading = of("read", "manage")
    made = [
        Operation(f"list{many}", "list", "get", f"/{collection}", f"List {things}", reading or of("export", "notify")),
        Operation(
            f"create{schema}",
            "create",
            "post",
            f"/{collection}",
            f"Create {language.article(entity)} {entity}",
            of("create", "manage"),
        ),
        Operation(f"get{schema}", "read", "get", one_path, f"Get {language.article(entity)} {entity}", reading),
    ]
    exports = of("export")
    if exports:
        path = f"/{collection}/export"
        made.append(Operation(f"export{many}", "export", "get", path, f"Export {things} as CSV", exports))
    return [*made, *_changes(entity, schema, one_path, own), *_actions(entity, schema, one_path, own)]


def _changes(entity: str, schema: str, path: str, own: Sequence[FunctionalRequirement]) -> list[Operation]:
    """Changing fields and deleting, if a requirement asks for it."""
    thing = f"{language.article(entity)} {entity}"
    managed = tuple(one.id for one in own if one.action == "manage")
    updates = tuple(one.id for one in own if one.action == "change" and one.verb in lexicon.UPDATE_VERBS) + managed
    removes = tuple(one.id for one in own if _deletes(one)) + managed
    made = []
    if updates:
        made.append(Operation(f"update{schema}", "update", "patch", path, f"Change some fields of {thing}", updates))
    if removes:
        made.append(Operation(f"delete{schema}", "delete", "delete", path, f"Delete {thing}", removes))
    return made


def _deletes(one: FunctionalRequirement) -> bool:
    return one.action == "remove" and one.verb in ("delete", "remove", "erase")


def _actions(entity: str, schema: str, path: str, own: Sequence[FunctionalRequirement]) -> list[Operation]:
    verbs: dict[str, list[str]] = {}
    for one in own:
        acts = one.action in ("change", "notify") or (one.action == "remove" and not _deletes(one))
        if acts and one.verb not in lexicon.UPDATE_VERBS:
            verb = "notify" if one.action == "notify" and one.verb in ("get", "receive", "use") else one.verb
            verbs.setdefault(verb, []).append(one.id)
    return [
        Operation(
            id=f"{language.camel(verb)[0].lower()}{language.camel(verb)[1:]}{schema}",
            shape="action",
            method="post",
            path=f"{path}/{language.slug(verb)}",
            summary=_summary(verb, entity, own, ids),
            requirements=tuple(ids),
            verb=verb,
        )
        for verb, ids in verbs.items()
    ]


def _summary(verb: str, entity: str, own: Sequence[FunctionalRequirement], ids: Sequence[str]) -> str:
    thing = f"{language.article(entity)} {entity}"
    told = any(one.action == "notify" for one in own if one.id in ids)
    return f"Send the message about {thing} ({verb})" if told else f"{verb.capitalize()} {thing}"
