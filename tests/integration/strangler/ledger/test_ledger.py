from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import psycopg
import pytest

from strangler.capability import (
    BORN,
    AbortMove,
    Clear,
    Command,
    CompleteAbort,
    CompleteMove,
    CompleteSync,
    Kill,
    Phase,
    Refused,
    SetReads,
    Stack,
    Stage,
    StartMove,
    StartSync,
    SwitchOwner,
    TakeSnapshot,
)
from strangler.check import check
from strangler.ledger import Change, Conflict, Drift, Ledger, NotInstalled, Unknown, Unreachable
from strangler.project import CapabilityFiles, Project, Secret
from strangler.routing.keys import Keys
from strangler.routing.protect import Protect, Reach
from strangler.routing.table import Route, RoutingTable, unseal
from tests.fixtures.ledger import SECRET


def change(command: Command, *, epoch: int | None = None, name: str = "search") -> Change:
    return Change(capability=name, command=command, who="ann", reason="trying", epoch=epoch)


@pytest.fixture
def ledger(ledger_project: Project) -> Iterator[Ledger]:
    with Ledger.open(ledger_project) as opened:
        opened.enrol(ledger_project, who="ann", reason="first")
        yield opened


def test_a_transition_is_in_the_state_the_history_and_the_table(ledger: Ledger) -> None:
    publication = ledger.apply(change(SetReads(share=2_500)))
    table = unseal(publication.sealed, Keys.derive(SECRET).table)
    newest = ledger.newest()
    [entry] = ledger.history("search", limit=1)
    assert ledger.state("search").share == 2_500
    assert (entry.command, entry.who, entry.reason, entry.version) == ("set", "ann", "trying", publication.version)
    assert entry.before == publication.before
    assert entry.after == publication.after == ledger.state("search")
    assert {each.name: each.state for each in table.capabilities} == ledger.states()
    assert newest is not None
    assert newest.sealed == publication.sealed


def test_each_transition_raises_epoch_and_version_by_one(ledger: Ledger) -> None:
    steps: list[Command] = [SetReads(share=1), Kill(reason="smoke"), Clear(), SetReads(share=10_000)]
    publications = [ledger.apply(change(step)) for step in steps]
    versions = [publication.version for publication in publications]
    assert versions == list(range(versions[0], versions[0] + 4))
    assert [each.after.epoch for each in publications if each.after] == [1, 2, 3, 4]


def test_a_refused_step_changes_nothing(ledger: Ledger) -> None:
    newest = ledger.newest()
    with pytest.raises(Refused, match="run the backfill first"):
        ledger.apply(change(SetReads(share=1), name="catalog"))
    assert ledger.newest() == newest
    assert [entry.command for entry in ledger.history()] == ["enrol", "enrol"]


def test_a_decision_on_an_older_epoch_is_a_conflict_that_names_who_was_quicker(ledger: Ledger) -> None:
    ledger.apply(replace(change(SetReads(share=1)), who="bea", epoch=0))
    with pytest.raises(Conflict, match="from epoch 0 to 1 meanwhile: bea did 'set'"):
        ledger.apply(change(SetReads(share=2), epoch=0))
    assert ledger.state("search").share == 1


def test_of_many_who_toggle_at_once_from_one_epoch_exactly_one_wins(ledger: Ledger, ledger_project: Project) -> None:
    barrier, won, lost = threading.Barrier(8), [], []

    def toggle(share: int) -> None:
        with Ledger.open(ledger_project) as mine:
            barrier.wait(10)
            try:
                won.append(mine.apply(change(SetReads(share=share), epoch=0)))
            except Conflict as exc:
                lost.append(exc)

    threads = [threading.Thread(target=toggle, args=[share]) for share in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert (len(won), len(lost)) == (1, 7)
    assert ledger.state("search") == won[0].after
    assert len(ledger.history("search")) == 2


def test_two_capabilities_toggled_at_once_both_stand_in_the_newest_table(
    ledger: Ledger, ledger_project: Project
) -> None:
    ledger.apply(change(TakeSnapshot(at=datetime.now(UTC)), name="catalog"))
    commands: dict[str, SetReads] = {"search": SetReads(share=11), "catalog": SetReads(share=22, allow_stale=True)}

    def toggle(name: str) -> None:
        with Ledger.open(ledger_project) as mine:
            mine.apply(change(commands[name], name=name))

    threads = [threading.Thread(target=toggle, args=[name]) for name in commands]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    newest = ledger.newest()
    assert newest is not None
    table = unseal(newest.sealed, Keys.derive(SECRET).table)
    assert {each.name: each.state.share for each in table.capabilities} == {"search": 11, "catalog": 22}


def test_the_history_cannot_be_rewritten(ledger: Ledger) -> None:
    statements = (
        "delete from strangler.history",
        "update strangler.history set who = 'eve'",
        "truncate strangler.history",
    )
    for statement in statements:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
            ledger.connection.execute(statement)


def test_enrolling_the_same_files_again_changes_nothing(ledger: Ledger, ledger_project: Project) -> None:
    newest = ledger.newest()
    assert ledger.enrol(ledger_project, who="ann", reason="again") is None
    assert ledger.newest() == newest


def test_files_that_differ_from_what_is_published_must_be_published_first(
    ledger: Ledger, ledger_project: Project
) -> None:
    files = ledger_project.capabilities["search"]
    changed = replace(files, routes=(Route(path="/find"),))
    with pytest.raises(Drift):
        ledger.apply(change(SetReads(share=1)), changed)
    project = replace(ledger_project, capabilities={**ledger_project.capabilities, "search": changed})
    publication = ledger.enrol(project, who="ann", reason="moved")
    assert publication is not None
    assert ledger.apply(change(SetReads(share=1)), changed).version == publication.version + 1


def test_enrolling_under_another_secret_seals_anew(ledger: Ledger, ledger_project: Project) -> None:
    following = Secret(value="the one that follows, and it has thirty-two bytes too")
    control = replace(ledger_project.control, secret=following, second_secret=ledger_project.control.secret)
    project = replace(ledger_project, control=control)
    before = published(ledger)
    assert told(project) == f"routing table {before.version} is sealed with second_secret; run: strangler publish"
    unrelated = replace(project, control=replace(control, second_secret=None))
    assert str(told(unrelated)).startswith(f"routing table {before.version} is sealed with another secret")
    with Ledger.open(project) as after:
        publication = after.enrol(project, who="ann", reason="another secret")
        assert publication is not None
        sealed = unseal(publication.sealed, Keys.derive(following.reveal()).table)
        assert (sealed.version, sealed.capabilities) == (before.version + 1, before.capabilities)
        assert after.enrol(project, who="ann", reason="again") is None
    assert told(project) is None
    assert told(unrelated) is None


def told(project: Project) -> str | None:
    (finding,) = (each for each in check(project) if each.subject == "ledger")
    return finding.wrong


def reached(project: Project, reach: Reach) -> Project:
    return replace(project, monolith=replace(project.monolith, reach=reach))


def published(ledger: Ledger) -> RoutingTable:
    newest = ledger.newest()
    assert newest is not None
    return unseal(newest.sealed, Keys.derive(SECRET).table)


def test_how_a_stack_is_reached_is_published_with_every_table(ledger: Ledger, ledger_project: Project) -> None:
    reach = Reach(connections=5, total_timeout=1.5, resolve=0.001)
    project = reached(ledger_project, reach)
    assert ledger.enrol(project, who="ann", reason="fewer") is not None
    assert ledger.enrol(project, who="ann", reason="again") is None
    ledger.apply(change(SetReads(share=1)))
    assert published(ledger).reach == {"monolith": reach}
    assert ledger.enrol(ledger_project, who="ann", reason="as before") is not None
    assert published(ledger).reach == {}


def test_how_a_capability_is_protected_is_published(ledger: Ledger, ledger_project: Project) -> None:
    protect = Protect(bulkhead=5, fallback=True, timeout=0.5)
    search = replace(ledger_project.capabilities["search"], protect=protect)
    project = replace(ledger_project, capabilities={**ledger_project.capabilities, "search": search})
    with pytest.raises(Drift):
        ledger.apply(change(SetReads(share=1)), search)
    assert ledger.enrol(project, who="ann", reason="protect it") is not None
    assert ledger.enrol(project, who="ann", reason="again") is None
    ledger.apply(change(SetReads(share=1)), search)
    assert {each.name: each.protect for each in published(ledger).capabilities} == {
        "search": protect,
        "catalog": Protect(),
    }


def test_a_ledger_that_the_release_before_installed_can_kill_at_once(ledger: Ledger) -> None:
    ledger.apply(change(SetReads(share=1)))
    ledger.connection.execute("alter table strangler.publication drop column reach")
    ledger.apply(change(Kill(reason="smoke")))
    assert [each.state.killed for each in published(ledger).capabilities] == [None, "smoke"]


def test_a_stack_that_the_release_before_took_out_is_reached_in_no_way(ledger: Ledger, ledger_project: Project) -> None:
    ledger.enrol(reached(ledger_project, Reach(pending=1)), who="ann", reason="fewer")
    ledger.connection.execute('update strangler.publication set reach = reach || \'{"gone": {"pending": 2}}\'')
    ledger.apply(change(Kill(reason="smoke")))
    assert published(ledger).reach == {"monolith": Reach(pending=1)}


def test_a_capability_with_readers_on_its_service_cannot_vanish_from_the_files(
    ledger: Ledger, ledger_project: Project
) -> None:
    ledger.apply(change(SetReads(share=1)))
    without = replace(ledger_project, capabilities={"catalog": ledger_project.capabilities["catalog"]})
    with pytest.raises(Refused, match="still has readers"):
        ledger.enrol(without, who="ann", reason="gone")
    ledger.apply(change(SetReads(share=0)))
    assert ledger.enrol(without, who="ann", reason="gone") is not None
    assert ledger.states().keys() == {"catalog"}
    with pytest.raises(Unknown):
        ledger.state("search")


def test_what_its_service_owns_vanishes_only_when_that_is_said(ledger: Ledger, ledger_project: Project) -> None:
    wishes = replace(
        ledger_project.capabilities["search"], name="wishes", routes=(Route(path="/w"),), born=Stack.SERVICE
    )
    project = replace(ledger_project, capabilities={**ledger_project.capabilities, "wishes": wishes})
    ledger.enrol(project, who="ann", reason="born")
    assert ledger.state("wishes") == BORN
    with pytest.raises(Refused, match="its service owns the data and answers every read"):
        ledger.apply(replace(change(SetReads(share=0)), capability="wishes"))
    with pytest.raises(Refused, match="--drop wishes"):
        ledger.enrol(ledger_project, who="ann", reason="gone")
    assert ledger.enrol(ledger_project, who="ann", reason="gone", drop=["wishes"]) is not None
    assert "wishes" not in ledger.states()


def test_nothing_is_born_in_its_service_afterwards(ledger: Ledger, ledger_project: Project) -> None:
    search = replace(ledger_project.capabilities["search"], born=Stack.SERVICE)
    project = replace(ledger_project, capabilities={**ledger_project.capabilities, "search": search})
    with pytest.raises(Refused, match="take born out"):
        ledger.enrol(project, who="ann", reason="changed")


def test_a_cohort_in_force_cannot_vanish_from_the_files(ledger: Ledger, ledger_project: Project) -> None:
    ledger.apply(change(SetReads(cohorts={"beta": Stack.SERVICE})))
    bare = replace(ledger_project.capabilities["search"], cohorts=())
    with pytest.raises(Refused, match="cohort beta of search is in force"):
        ledger.enrol(
            replace(ledger_project, capabilities={**ledger_project.capabilities, "search": bare}), who="a", reason="b"
        )


def test_tables_that_are_added_take_the_copy_away(ledger: Ledger, ledger_project: Project) -> None:
    with_tables = replace(ledger_project.capabilities["search"], tables=ledger_project.capabilities["catalog"].tables)
    project = replace(ledger_project, capabilities={**ledger_project.capabilities, "search": with_tables})
    ledger.enrol(project, who="ann", reason="it has tables after all")
    with pytest.raises(Refused, match="backfill"):
        ledger.apply(change(SetReads(share=1)))


def test_a_restored_ledger_publishes_above_what_workers_have_seen(ledger: Ledger, ledger_project: Project) -> None:
    publication = ledger.enrol(ledger_project, who="ann", reason="restored", above=900)
    assert publication is not None
    assert publication.version == 901


def test_a_database_without_a_ledger_is_told_what_would_make_one(ledger_project: Project) -> None:
    with Ledger.open(ledger_project) as bare, pytest.raises(NotInstalled, match="run: strangler publish"):
        bare.states()


def test_kill_latches_and_the_stage_follows(ledger: Ledger) -> None:
    ledger.apply(change(SetReads(share=5_000, cohorts={"beta": Stack.SERVICE})))
    assert ledger.state("search").stage is Stage.CANARY
    ledger.apply(change(Kill(reason="smoke")))
    state = ledger.state("search")
    assert (state.stage, state.share, dict(state.cohorts), state.killed) == (Stage.MONOLITH, 0, {}, "smoke")
    with pytest.raises(Refused, match="it is killed \\(smoke\\)"):
        ledger.apply(change(SetReads(share=1)))


def test_writes_are_held_from_the_beginning_of_a_move_to_its_end(ledger: Ledger) -> None:
    def holds(command: Command) -> tuple[int | None, Stack]:
        publication = ledger.apply(change(command, name="catalog"))
        table = unseal(publication.sealed, Keys.derive(SECRET).table)
        [found] = [each for each in table.capabilities if each.name == "catalog"]
        assert [each.hold for each in table.capabilities if each.name != "catalog"] == [None]
        return (found.hold.id if found.hold else None, found.state.owner)

    moves: list[Command] = [SwitchOwner(epoch=3), CompleteMove(epoch=3), StartMove(), AbortMove(epoch=6)]
    steps: list[Command] = [StartSync(), CompleteSync(), StartMove(), *moves, CompleteAbort(epoch=7)]
    assert [holds(step) for step in steps] == [
        (None, Stack.MONOLITH),
        (None, Stack.MONOLITH),
        (3, Stack.MONOLITH),
        (3, Stack.SERVICE),
        (None, Stack.SERVICE),
        (6, Stack.SERVICE),
        (7, Stack.SERVICE),
        (None, Stack.SERVICE),
    ]
    names = [entry.command for entry in ledger.history("catalog", limit=6)]
    assert names == ["move-aborted", "move-abort", "move-start", "move-complete", "move-switch", "move-start"]


def test_of_two_who_would_end_a_move_in_their_own_way_exactly_one_does(ledger: Ledger, ledger_project: Project) -> None:
    for command in (StartSync(), CompleteSync(), StartMove()):
        ledger.apply(change(command, name="catalog"))
    barrier, won, lost = threading.Barrier(2), [], []

    def end(command: Command) -> None:
        with Ledger.open(ledger_project) as mine:
            barrier.wait(10)
            try:
                won.append(mine.apply(change(command, name="catalog")))
            except Refused as exc:
                lost.append(str(exc))

    threads = [threading.Thread(target=end, args=[each(epoch=3)]) for each in (SwitchOwner, AbortMove)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 1)
    assert lost[0].startswith("this wants the move of epoch 3 to be prepared, and the last one is of epoch")


def test_files_do_not_change_while_the_owner_moves(ledger: Ledger, ledger_project: Project) -> None:
    for command in (StartSync(), CompleteSync(), StartMove()):
        ledger.apply(change(command, name="catalog"))
    catalog = replace(ledger_project.capabilities["catalog"], routes=(Route(path="/elsewhere"),))
    project = replace(ledger_project, capabilities={**ledger_project.capabilities, "catalog": catalog})
    with pytest.raises(Refused, match="the owner of catalog is being moved; publish its files when that has ended"):
        ledger.enrol(project, who="ann", reason="hasty")
    ledger.apply(change(AbortMove(epoch=3), name="catalog"))
    publication = ledger.apply(change(CompleteAbort(epoch=4), name="catalog"))
    assert publication.after is not None
    assert publication.after.move is not None
    assert publication.after.move.phase is Phase.ABORTED
    assert ledger.enrol(project, who="ann", reason="patient") is not None


def test_old_tables_are_let_go(ledger: Ledger) -> None:
    for share in range(1, 104):
        ledger.apply(change(SetReads(share=share)))
    row = ledger.connection.execute("select count(*), max(version) from strangler.routing_table").fetchone()
    assert row is not None
    assert row[0] == 100


def test_the_definition_in_the_ledger_is_the_files(ledger: Ledger, ledger_project: Project) -> None:
    files: CapabilityFiles = ledger_project.capabilities["search"]
    assert ledger.definitions()["search"]["routes"][0]["path"] == files.routes[0].path


def test_a_connection_that_is_lost_in_the_middle_of_a_change_leaves_it_open_and_says_so(
    ledger: Ledger, ledger_project: Project
) -> None:
    with psycopg.connect(ledger_project.control.database.reveal(), autocommit=True) as other:
        other.execute("select pg_terminate_backend(%s)", [ledger.connection.info.backend_pid])
    with pytest.raises(Unreachable, match="whether the change was made is not known: see strangler history"):
        ledger.apply(change(SetReads(share=1)))
    with Ledger.open(ledger_project) as again:
        assert again.state("search").share == 0
