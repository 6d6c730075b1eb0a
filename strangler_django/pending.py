"""Migrations that are not applied yet, and what each of their operations does to tables.

Django's own models of the state before an operation are compared with those after it: what differs is what the
operation does to the database, whatever its class, many-to-many tables and columns that refer to others included.
Models that Django keeps out of this database are left out: proxies, swapped and unmanaged ones, and what a router sends
elsewhere. Of SQL and Python that is run nobody knows what it does, nor of operations that somebody wrote.
"""

from __future__ import annotations

from typing import Any, Dict, Iterable, Iterator, Tuple

import django
from django.apps import apps
from django.db import models, router
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.operations import RenameField, RenameModel, RunPython, RunSQL, SeparateDatabaseAndState
from django.db.migrations.state import ProjectState
from django.utils.functional import LazyObject, empty

FORMAT = 2
"""Of what ``listing`` returns; it rises when what is there means something else."""

Key = Tuple[str, ...]  # a model's app and name; of a many-to-many table also the field that it belongs to
Table = Dict[str, Any]
Change = Dict[str, Any]


def listing(connection: Any) -> dict[str, Any]:
    """Return the pending migrations of a database, in their order, as JSON has them. Nothing is written.

    Raises Django's own errors where the history is inconsistent or a migration cannot be loaded.
    """
    executor = MigrationExecutor(connection)
    executor.loader.check_consistent_history(connection)
    state = _applied(executor)
    look = _Look(connection)
    return {
        "strangler_migrations": FORMAT,
        "django": django.get_version(),
        "database": {"alias": connection.alias, "vendor": connection.vendor, "name": _name(connection)},
        "apps": _apps(look(state)),
        "files": files(apps.get_models(), connection),
        "migrations": [
            _migration(migration, state, look)
            for migration, _ in executor.migration_plan(executor.loader.graph.leaf_nodes())
        ],
    }


def files(found: Iterable[Any], connection: Any) -> list[dict[str, str]]:
    """Return the columns of models that name files, each with where these are kept; no stream carries them."""
    return [
        {"table": model._meta.db_table, "column": field.column, "storage": _kept(field.storage)}
        for model in found
        if model._meta.can_migrate(connection) and router.allow_migrate_model(connection.alias, model)
        for field in model._meta.local_concrete_fields
        if isinstance(field, models.FileField)
    ]


def _kept(storage: Any) -> str:
    """Return where a storage keeps its files, for a person: its kind and, where it says so, its folder or bucket."""
    while isinstance(storage, LazyObject):  # the default storage, until it is used
        if storage._wrapped is empty:
            storage._setup()  # type: ignore[attr-defined,unused-ignore]
        storage = storage._wrapped
    place = getattr(storage, "bucket_name", None) or getattr(storage, "location", None)
    return type(storage).__name__ + (f" in {place}" if place else "")


def _applied(executor: Any) -> Any:
    """Return the models as the applied migrations made them."""
    loader = executor.loader
    state = ProjectState(real_apps=loader.unmigrated_apps)
    applied = {loader.graph.nodes[key] for key in loader.applied_migrations if key in loader.graph.nodes}
    for migration, _ in executor.migration_plan(loader.graph.leaf_nodes(), clean_start=True):
        if migration in applied:
            migration.mutate_state(state, preserve=False)
    return state


def _name(connection: Any) -> str | None:
    if connection.vendor != "postgresql":
        return None
    with connection.cursor() as cursor:
        cursor.execute("select current_database()")
        return str(cursor.fetchone()[0])


def _apps(tables: dict[Key, Table]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, table in tables.items():
        found.setdefault(key[0], []).append(table["table"])
    return {app: sorted(names) for app, names in sorted(found.items())}


def _migration(migration: Any, state: Any, look: _Look) -> dict[str, Any]:
    app = migration.app_label
    operations = [_operation(each, app, state, look) for each in migration.operations]
    return {"app": app, "name": migration.name, "operations": operations}


def _operation(operation: Any, app: str, state: Any, look: _Look) -> dict[str, Any]:
    """Return what an operation does, and do it to ``state``."""
    told = {"class": type(operation).__name__, "describe": str(operation.describe()), "unknown": False, "changes": []}
    if isinstance(operation, SeparateDatabaseAndState):
        database = state.clone()
        told["database_operations"] = [_operation(each, app, database, look) for each in operation.database_operations]
        operation.state_forwards(app, state)
        return told
    before = look(state)
    operation.state_forwards(app, state)
    if look.allows(app, operation):
        told["unknown"] = _is_unknown(operation)
        if not isinstance(operation, (RunSQL, RunPython)):  # what they say of the state they do not do to the database
            told["changes"] = list(_differences(before, look(state), _Renamed(operation, app)))
    return told


def _is_unknown(operation: Any) -> bool:
    if isinstance(operation, RunSQL):
        return bool(operation.sql)
    if isinstance(operation, RunPython):
        return operation.code is not RunPython.noop
    return not type(operation).database_forwards.__module__.startswith("django.")


# --- the tables of a state ---


class _Look:
    """Looks at a state's tables, each of its classes once: an operation makes few of them anew."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._seen: dict[Any, Table | None] = {}

    def __call__(self, state: Any) -> dict[Key, Table]:
        found = ((key, self._table(model)) for each in state.apps.get_models() for key, model in _with_between(each))
        return {key: table for key, table in found if table is not None}

    def allows(self, app: str, operation: Any) -> bool:
        """Return whether a router lets an operation be done here that is bound to no model."""
        hints = getattr(operation, "hints", {})
        return bool(router.allow_migrate(self._connection.alias, app, **hints))

    def _table(self, model: Any) -> Table | None:
        if model not in self._seen:
            here = model._meta.can_migrate(self._connection)
            here = here and router.allow_migrate_model(self._connection.alias, model)
            self._seen[model] = _table(model, self._connection) if here else None
        return self._seen[model]


def _with_between(model: Any) -> Iterator[tuple[Key, Any]]:
    """Yield a model, and those of its many-to-many tables that nobody has made a model for."""
    options = model._meta
    yield (options.app_label, options.model_name), model
    for field in options.local_many_to_many:
        if field.remote_field.through._meta.auto_created:
            yield (options.app_label, options.model_name, field.name), field.remote_field.through


def _table(model: Any, connection: Any) -> Table:
    options = model._meta
    columns = {}
    for number, field in enumerate(options.local_concrete_fields):
        column = _column(field, connection)
        if column is not None:
            # The two fields of a many-to-many table are called as the models are, which may be renamed.
            columns[str(number) if options.auto_created else field.name] = column
    return {"table": options.db_table, "columns": columns, "rules": dict(_rules(options))}


def _column(field: Any, connection: Any) -> dict[str, Any] | None:
    parameters = field.db_parameters(connection=connection)
    if parameters["type"] is None or field.column is None:
        return None
    refers = field.remote_field is not None and getattr(field, "db_constraint", False)
    return {
        "name": field.column,
        "type": parameters["type"],
        "collation": parameters.get("collation"),
        "check": parameters.get("check"),
        "null": field.null,
        "filled": _is_filled(field),
        "key": field.primary_key,
        "unique": field.unique,
        "index": bool(field.db_index),
        "references": field.target_field.model._meta.db_table if refers else None,
    }


def _is_filled(field: Any) -> bool:
    """Return whether the database itself has a value for a row that is written without."""
    given = getattr(field, "db_default", models.NOT_PROVIDED) is not models.NOT_PROVIDED
    return given or isinstance(field, models.AutoField) or getattr(field, "generated", False)


def _rules(options: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    for index in options.indexes:
        yield index.name, {"kind": "index", "columns": _names(options, getattr(index, "fields", ()))}
    for each in options.constraints:
        kind = type(each).__name__
        yield each.name, {"kind": kind, "columns": _names(options, getattr(each, "fields", ()))}
    for kind, together in (
        ("UniqueConstraint", options.unique_together),
        ("index", getattr(options, "index_together", ())),
    ):
        for names in together:
            columns = _names(options, names)
            yield "{} of {}".format(kind, ", ".join(columns)), {"kind": kind, "columns": columns}


def _names(options: Any, fields: Any) -> list[str]:
    return [options.get_field(each.lstrip("-")).column for each in fields]


# --- what differs between two states ---


class _Renamed:
    """What an operation calls models and fields that were there."""

    def __init__(self, operation: Any, app: str) -> None:
        self._app, self._model, self._field = app, ("", ""), ("", "", "")
        if isinstance(operation, RenameModel):
            self._model = (operation.old_name.lower(), operation.new_name.lower())
        if isinstance(operation, RenameField):
            self._field = (operation.model_name.lower(), operation.old_name, operation.new_name)

    def key(self, key: Key) -> Key:
        old, new = self._model
        if key[:2] == (self._app, old):
            return (self._app, new, *key[2:])
        model, before, after = self._field
        return (*key[:2], after) if key == (self._app, model, before) else key

    def field(self, key: Key, name: str) -> str:
        model, before, after = self._field
        return after if (key, name) == ((self._app, model), before) else name


def _differences(before: dict[Key, Table], after: dict[Key, Table], renamed: _Renamed) -> Iterator[Change]:
    were = {renamed.key(key): (key, table) for key, table in before.items()}
    for key, (old, table) in were.items():
        now = after.get(key)
        if now is None:
            yield {"table": table["table"], "change": "table dropped"}
            continue
        if now["table"] != table["table"]:
            yield {"table": table["table"], "change": "table renamed", "to": now["table"]}
        columns = {renamed.field(old, name): column for name, column in table["columns"].items()}
        yield from _columns_changed(table["table"], columns, now["columns"])
        yield from _rules_changed(table["table"], table["rules"], now["rules"])
    for key, table in after.items():
        if key not in were:
            refers = sorted({each["references"] for each in table["columns"].values() if each["references"]})
            yield {"table": table["table"], "change": "table added", "references": refers}


def _columns_changed(table: str, before: Table, after: Table) -> Iterator[Change]:
    for name, old in before.items():
        new = after.get(name)
        if new is None:
            yield {"table": table, "change": "column dropped", "column": old["name"], "before": old}
            continue
        if new["name"] != old["name"]:
            yield {"table": table, "change": "column renamed", "column": old["name"], "to": new["name"]}
        if {**new, "name": old["name"]} != old:
            yield {"table": table, "change": "column altered", "column": old["name"], "before": old, "after": new}
    for name, new in after.items():
        if name not in before:
            yield {"table": table, "change": "column added", "column": new["name"], "after": new}


def _rules_changed(table: str, before: Table, after: Table) -> Iterator[Change]:
    for change, some, others in (("rule dropped", before, after), ("rule added", after, before)):
        for name, rule in some.items():
            if others.get(name) != rule:
                yield {"table": table, "change": change, "rule": name, **rule}


def lines(found: dict[str, Any]) -> list[str]:
    """Return a listing for people, a line an operation."""
    return [
        "{}.{}: {}{}".format(migration["app"], migration["name"], operation["describe"], _briefly(operation))
        for migration in found["migrations"]
        for operation in migration["operations"]
    ] or ["nothing is pending"]


def _briefly(operation: dict[str, Any]) -> str:
    told = ["{} {}".format(each["change"], each["table"]) for each in _all(operation)]
    return " ({})".format(", ".join(told)) if told else ""


def _all(operation: dict[str, Any]) -> Iterator[Change]:
    if operation["unknown"]:
        yield {"change": "unknown, may touch", "table": "any table"}
    yield from operation["changes"]
    for inner in operation.get("database_operations", ()):
        yield from _all(inner)
