"""Tables as PostgreSQL's catalogue describes them, for a draft of their move: nothing but the catalogue is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

import psycopg
from psycopg.rows import namedtuple_row

from strangler.sync.catalogue import identifier
from strangler.sync.draft import Column, Described, Feed, ForeignKey, Needs, Rule, Table, Trigger, Type
from strangler.sync.errors import MappingInvalid

_RELATIONS: Final = """
select c.oid::bigint, n.nspname as schema, c.relname as name, c.relkind::text as kind, c.relpersistence::text as kept,
       c.relreplident::text as identity, c.relrowsecurity as secured, c.relispartition as is_partition,
       array(select inhparent::regclass::text from pg_inherits where inhrelid = c.oid order by inhseqno) as parents,
       array(select inhrelid::regclass::text from pg_inherits where inhparent = c.oid order by 1) as children,
       has_schema_privilege(n.oid, 'usage') and has_any_column_privilege(c.oid, 'select') as readable
from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.oid = any(%(tables)s)
"""
_SEQUENCE: Final = """
select s.seqrelid::regclass::text as sequence,
       format_type(s.seqtypid, null) as sequence_type,
       case when (s.seqstart, s.seqincrement, s.seqmin, s.seqcache, s.seqcycle, s.seqmax) = (1, 1, 1, 1, false,
         case s.seqtypid::regtype::text when 'smallint' then 32767 when 'integer' then 2147483647
              else 9223372036854775807 end) then '' else
       format('start with %%s increment by %%s minvalue %%s maxvalue %%s cache %%s%%s',
              s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache,
              case when s.seqcycle then ' cycle' else '' end) end as options,
       exists (select from pg_depend o where o.classid = 'pg_class'::regclass and o.objid = s.seqrelid
               and o.refobjid = a.attrelid and o.refobjsubid = a.attnum and o.deptype in ('a', 'i')) as own
from pg_sequence s where s.seqrelid in (
    select objid from pg_depend where classid = 'pg_class'::regclass and refclassid = 'pg_class'::regclass
        and refobjid = a.attrelid and refobjsubid = a.attnum and deptype = 'i'
    union
    select refobjid from pg_depend where classid = 'pg_attrdef'::regclass and objid = d.oid
        and refclassid = 'pg_class'::regclass) limit 1
"""
# Stored apart is what has no short bound: of the types with a length, only the long ones.
_COLUMNS: Final = f"""
select a.attrelid::bigint as relation, a.attname as name, format_type(a.atttypid, a.atttypmod) as type,
       a.atttypid::bigint as type_id, a.attnotnull as not_null, pg_get_expr(d.adbin, d.adrelid, true) as expression,
       a.attgenerated::text as generated, a.attidentity::text as identity, d.oid::bigint as expression_id,
       case when a.attcollation <> t.typcollation then
           (select format('%%I.%%I', cn.nspname, co.collname) from pg_collation co
            join pg_namespace cn on cn.oid = co.collnamespace where co.oid = a.attcollation) end as collation,
       a.attstorage in ('x', 'e') and (a.atttypmod = -1 or a.atttypmod > 2000) as wide,
       s.sequence, s.sequence_type, s.options, s.own
from pg_attribute a join pg_type t on t.oid = a.atttypid
left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
left join lateral ({_SEQUENCE}) s on true
where a.attrelid = any(%(tables)s) and a.attnum > 0 and not a.attisdropped order by a.attrelid, a.attnum
"""  # noqa: S608  # of constants
_NAMES: Final = """array(select attname::text from unnest({}) with ordinality as k(n, i)
      join pg_attribute on attrelid = {} and attnum = n order by i)"""
# Kind n, NOT NULL, exists since 18 and says what the columns say.
_RULES: Final = f"""
select conrelid::bigint as relation, contypid::bigint as type, conname as name, contype::text as kind,
       pg_get_constraintdef(c.oid, true) as definition, {_NAMES.format("conkey", "conrelid")} as columns,
       convalidated as validated, array[c.oid::bigint, conindid::bigint] as ids, true as valid_key
from pg_constraint c
where (conrelid = any(%(tables)s) or contypid = any(%(types)s)) and contype in ('p', 'u', 'c', 'x')
union all
select i.indrelid, 0, relname, 'i', pg_get_indexdef(i.indexrelid, 0, true),
       array(select distinct attname::text from pg_depend
             join pg_attribute on attrelid = refobjid and attnum = refobjsubid and attnum > 0
             where classid = 'pg_class'::regclass and objid = i.indexrelid and refobjid = i.indrelid),
       true, array[i.indexrelid::bigint],
       i.indisunique and i.indpred is null and i.indexprs is null and i.indnatts = i.indnkeyatts
from pg_index i join pg_class on pg_class.oid = i.indexrelid
where i.indrelid = any(%(tables)s) and i.indisvalid
  and not exists (select from pg_constraint where conindid = i.indexrelid and contype in ('p', 'u', 'x'))
order by 1, 3
"""  # noqa: S608  # of constants
# The parts of a partitioned table have copies of its foreign keys: only the one that was declared counts.
_FOREIGN_KEYS: Final = f"""
select c.conname as name, c.conrelid::bigint as source_id, sn.nspname as source_schema, s.relname as source_name,
       c.confrelid::bigint as target_id, tn.nspname as target_schema, t.relname as target_name,
       {_NAMES.format("c.conkey", "c.conrelid")} as columns,
       {_NAMES.format("c.confkey", "c.confrelid")} as target_columns,
       pg_get_constraintdef(c.oid, true) as definition, c.confdeltype::text as on_delete, c.convalidated as validated,
       not exists (select from pg_attribute where attrelid = c.conrelid and attnum = any(c.conkey) and attnotnull)
         as nullable,
       array(select attname::text from pg_attribute where attrelid = c.confrelid and attnum > 0 and not attisdropped
             order by attnum) as other_columns
from pg_constraint c join pg_class s on s.oid = c.conrelid join pg_namespace sn on sn.oid = s.relnamespace
join pg_class t on t.oid = c.confrelid join pg_namespace tn on tn.oid = t.relnamespace
where c.contype = 'f' and c.conparentid = 0 and (c.conrelid = any(%(tables)s) or c.confrelid = any(%(tables)s))
order by 3, 4, 1
"""  # noqa: S608  # of constants
_TRIGGERS: Final = """
select tgrelid::bigint as relation, tgname as name, tgfoid::regprocedure::text as function
from pg_trigger where tgrelid = any(%(tables)s) and not tgisinternal
  and tgfoid not in (select oid from pg_proc where pronamespace = to_regnamespace('strangler_sync')) order by 2
"""
_TYPES: Final = """
with recursive needed (oid, depth) as (
    select atttypid, 0 from pg_attribute where attrelid = any(%(tables)s) and attnum > 0 and not attisdropped
    union
    select case t.typtype when 'd' then t.typbasetype else t.typelem end, depth + 1
    from needed join pg_type t using (oid) where t.typtype = 'd' or t.typcategory = 'A' and t.typelem <> 0
)
select t.oid::bigint, n.nspname as schema, t.typname as name, t.typtype::text as kind, t.typcategory::text as category,
       t.typbasetype::bigint as base_id, t.typelem::bigint as element_id, format_type(t.oid, null) as shown,
       format_type(t.typbasetype, t.typtypmod) as base, t.typnotnull as not_null, t.typdefault as expression,
       array(select enumlabel::text from pg_enum where enumtypid = t.oid order by enumsortorder) as labels,
       (select array[e.extname::text, en.nspname::text] from pg_depend x
        join pg_extension e on e.oid = x.refobjid join pg_namespace en on en.oid = e.extnamespace
        where x.classid = 'pg_type'::regclass and x.objid = t.oid and x.deptype = 'e') as extension
from (select oid, max(depth) as depth from needed group by oid) as d join pg_type t using (oid)
join pg_namespace n on n.oid = t.typnamespace order by d.depth desc, n.nspname, t.typname
"""
# What is PostgreSQL's own is pinned, and stands in no dependency.
_NEEDS: Final = """
select d.objid::bigint as id,
       array_agg(distinct array[e.extname::text, en.nspname::text])
         filter (where e.oid is not null) as extensions,
       array_agg(distinct d.refobjid::regprocedure::text)
         filter (where e.oid is null and d.refclassid = 'pg_proc'::regclass) as functions
from pg_depend d
left join pg_depend x on x.classid = d.refclassid and x.objid = d.refobjid and x.deptype = 'e'
left join pg_extension e on e.oid = x.refobjid left join pg_namespace en on en.oid = e.extnamespace
where d.objid = any(%(objects)s)
  and d.classid in ('pg_attrdef'::regclass, 'pg_constraint'::regclass, 'pg_class'::regclass, 'pg_type'::regclass)
  and d.refclassid in ('pg_proc'::regclass, 'pg_opclass'::regclass, 'pg_operator'::regclass, 'pg_opfamily'::regclass)
group by d.objid
"""
_NEAR: Final = """
select case when n.nspname = 'public' then c.relname::text else n.nspname || '.' || c.relname end as name
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and n.nspname not like 'pg\\_%%' and n.nspname <> 'information_schema' order by 1
"""
_NO_TABLES: Final = {
    "v": "a view: name the tables that it is made of",
    "m": "a materialised view: name the tables that it is made of",
    "f": "a foreign table: its rows are in another database, and move from there",
    "S": "a sequence: it moves with its table",
    "i": "an index: it moves with its table",
    "I": "an index: it moves with its table",
    "c": "a composite type",
}
_ON_DELETE: Final = {"a": "no action", "r": "restrict", "c": "cascade", "n": "set null", "d": "set default"}


def describe(connection: psycopg.Connection, names: Sequence[str]) -> Described:
    """Return what the catalogue says of the tables. Raises ``MappingInvalid`` with every name that is no table."""
    ids = _resolve(connection, names)
    with connection.transaction():
        # Names in public go without their schema, all others with it: the drafts are read under the usual search path.
        connection.execute("set local search_path = public")
        return _described(connection, names, ids)


def _resolve(connection: psycopg.Connection, names: Sequence[str]) -> list[int]:
    problems, ids = [], []
    for name in names:
        oid = _oid(connection, name)
        if oid is None:
            known = [each for (each,) in connection.execute(_NEAR.replace("%%", "%"))]
            near = get_close_matches(name.removeprefix("public."), known, n=3)
            schema = name.rpartition(".")[0]
            if name in known and schema:
                problems.append(
                    f"this role may not look into the schema of {name}; grant usage on schema {schema} to it"
                )
                continue
            hint = f"perhaps {' or '.join(near)}" if near else f"there are {len(known)} tables, none of a like name"
            problems.append(f"the monolith has no table {name}; {hint}")
        else:
            ids.append(oid)
    if problems:
        raise MappingInvalid(problems)
    return ids


def _oid(connection: psycopg.Connection, name: str) -> int | None:
    try:
        row = connection.execute(
            "select to_regclass(%s)::oid::bigint", [identifier(name).as_string(connection)]
        ).fetchone()
    except psycopg.Error:  # a schema that this role may not look into, a name that cannot be one
        return None
    return row[0] if row else None


@dataclass(frozen=True, slots=True)
class _Answers:
    """The catalogue's rows, by query."""

    relations: list[Any]
    columns: list[Any]
    rules: list[Any]
    foreign_keys: list[Any]
    triggers: list[Any]
    types: list[Any]
    needs: Mapping[int, Needs]

    def needed(self, *objects: int | None) -> Needs:
        found = [self.needs[each] for each in objects if each is not None and each in self.needs]
        return Needs(
            extensions=tuple(sorted({name for each in found for name in each.extensions})),
            functions=tuple(sorted({name for each in found for name in each.functions})),
        )


def _described(connection: psycopg.Connection, names: Sequence[str], ids: list[int]) -> Described:
    answers = _ask(connection, ids)
    _refuse_others(answers, dict(zip(ids, names, strict=True)))
    by_id = {each.oid: each for each in answers.relations}
    tables = tuple(_table(by_id[oid], answers) for oid in dict.fromkeys(ids))
    keywords = connection.execute("select word from pg_get_keywords() where catcode <> 'U'")
    extensions = {tuple(each.extension) for each in answers.types if each.extension is not None}
    for needs in answers.needs.values():
        extensions |= {*needs.extensions}
    return Described(
        tables=tables,
        types=tuple(_type(each, answers) for each in answers.types if _is_made(each)),
        extensions=tuple(sorted(extensions)),
        keywords=frozenset(word for (word,) in keywords),
    )


def _ask(connection: psycopg.Connection, ids: list[int]) -> _Answers:
    cursor = connection.cursor(row_factory=namedtuple_row)

    def rows(query: str, **more: list[int]) -> list[Any]:
        return cursor.execute(query.encode(), {"tables": ids, **more}).fetchall()

    columns, types = rows(_COLUMNS), rows(_TYPES)
    rules = rows(_RULES, types=[each.oid for each in types])
    objects = [each.expression_id for each in columns if each.expression_id] + [
        oid for each in rules for oid in each.ids
    ]
    objects += [each.oid for each in types if _is_made(each)]
    needs = {
        each.id: Needs(extensions=tuple(map(tuple, each.extensions or ())), functions=tuple(each.functions or ()))
        for each in rows(_NEEDS, objects=objects)
    }
    return _Answers(
        relations=rows(_RELATIONS),
        columns=columns,
        rules=rules,
        foreign_keys=rows(_FOREIGN_KEYS),
        triggers=rows(_TRIGGERS),
        types=types,
        needs=needs,
    )


def _refuse_others(answers: _Answers, names: Mapping[int, str]) -> None:
    problems = []
    for each in answers.relations:
        if each.kind not in ("r", "p"):
            problems.append(f"{names[each.oid]} is no table but {_NO_TABLES.get(each.kind, 'something else')}")
        elif each.is_partition:
            problems.append(
                f"{names[each.oid]} is a partition of {each.parents[0]}; name that one, all parts move with it"
            )
    if problems:
        raise MappingInvalid(problems)


def _table(relation: Any, answers: _Answers) -> Table:
    types = {each.oid: each for each in answers.types}
    columns = tuple(_column(each, answers, types) for each in answers.columns if each.relation == relation.oid)
    rules = [each for each in answers.rules if each.relation == relation.oid]
    key, primary = _key(columns, rules)
    return Table(
        schema=relation.schema,
        name=relation.name,
        columns=columns,
        key=key,
        key_is_primary=primary,
        rules=tuple(_rule(each, answers) for each in sorted(rules, key=lambda rule: "puxci".index(rule.kind))),
        outgoing=tuple(_foreign_key(each) for each in answers.foreign_keys if each.source_id == relation.oid),
        incoming=tuple(_foreign_key(each) for each in answers.foreign_keys if each.target_id == relation.oid),
        triggers=tuple(
            Trigger(name=each.name, function=each.function)
            for each in answers.triggers
            if each.relation == relation.oid
        ),
        parents=tuple(relation.parents),
        children=tuple(relation.children),
        partitioned=relation.kind == "p",
        unlogged=relation.kept == "u",
        row_security=relation.secured,
        replica_identity=relation.identity,
        readable=relation.readable,
    )


def _key(columns: Sequence[Column], rules: Sequence[Any]) -> tuple[tuple[str, ...], bool]:
    """Return the key's columns, and whether they are the primary key: else of the shortest unique one that is there."""
    sure = {column.name for column in columns if column.not_null and column.drafted and not column.generated}
    primary = next((each for each in rules if each.kind == "p" and sure >= {*each.columns}), None)
    if primary is not None:
        return tuple(primary.columns), True
    unique = [tuple(each.columns) for each in rules if each.kind in "ui" and each.valid_key and sure >= {*each.columns}]
    return min(filter(None, unique), key=len, default=()), False


def _column(each: Any, answers: _Answers, types: Mapping[int, Any]) -> Column:
    feed = (
        Feed(name=each.sequence, type=each.sequence_type, options=each.options, own=each.own) if each.sequence else None
    )
    return Column(
        name=each.name,
        type=each.type,
        not_null=each.not_null,
        collation=each.collation,
        default=each.expression,
        generated=each.generated,
        identity=each.identity,
        sequence=feed,
        wide=each.wide,
        unknown=_unknown(each.type_id, types),
        extensions=tuple(part.extension[0] for part in _made_of(each.type_id, types) if part.extension),
        needs=answers.needed(each.expression_id),
    )


def _is_made(each: Any) -> bool:
    """Return whether the draft itself makes a type: an enum or a domain of the monolith's."""
    return (
        each.kind in ("e", "d") and each.extension is None and each.schema not in ("pg_catalog", "information_schema")
    )


def _unknown(oid: int, types: Mapping[int, Any]) -> str | None:
    for each in _made_of(oid, types):
        own = each.schema in ("pg_catalog", "information_schema") or each.extension is not None or _is_made(each)
        if not own and not (each.category == "A" and each.element_id):
            return str(each.shown)
    return None


def _made_of(oid: int, types: Mapping[int, Any]) -> Iterator[Any]:
    while oid in types:
        yield types[oid]
        oid = types[oid].base_id or types[oid].element_id


def _type(each: Any, answers: _Answers) -> Type:
    checks = tuple(_rule(rule, answers) for rule in answers.rules if rule.type == each.oid)
    return Type(
        schema=each.schema,
        name=each.name,
        labels=tuple(each.labels),
        base=each.base if each.kind == "d" else None,
        not_null=each.not_null,
        default=each.expression,
        checks=checks,
        needs=answers.needed(each.oid),
    )


def _rule(each: Any, answers: _Answers) -> Rule:
    return Rule(
        name=each.name,
        kind=each.kind,
        definition=each.definition,
        columns=tuple(each.columns),
        validated=each.validated,
        needs=answers.needed(*each.ids),
    )


def _foreign_key(each: Any) -> ForeignKey:
    return ForeignKey(
        name=each.name,
        source=(each.source_schema, each.source_name),
        columns=tuple(each.columns),
        target=(each.target_schema, each.target_name),
        target_columns=tuple(each.target_columns),
        definition=each.definition,
        on_delete=_ON_DELETE[each.on_delete],
        nullable=each.nullable,
        validated=each.validated,
        other_columns=tuple(each.other_columns),
    )
