"""A command of a capability, in front of a real fence; ``GUESTBOOK_PYTHON`` as in ``test_fence.py``."""

from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.fixtures.fenced import FENCED, Bed, Told
from tests.fixtures.guestbook import FOLDER, PYTHON, environment

JOB = """
create table job (id varchar(255) primary key, name varchar(255) not null, done_at timestamptz not null, result text)
"""
OLD = "insert into job values ('old', 'restock', now() - interval '31 days'), ('new', 'restock', now())"
Asked = tuple[int, str, str]


@pytest.fixture
def jobs(bare_bed: Bed) -> Bed:
    """A database whose fence is around the records, too, and is not raised."""
    user = conninfo_to_dict(bare_bed.application_url)["user"]
    bare_bed.owner(JOB, f'grant select, insert, update, delete on job to "{user}"')
    found = replace(bare_bed, fence=replace(bare_bed.fence, tables=(*FENCED, "job")))
    found.begin()
    return found


def begun(jobs: Bed, *words: str) -> subprocess.Popen[str]:
    env = {**environment(jobs.application_url, "guestbook.fenced.settings"), "GUESTBOOK_BACKGROUND": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [PYTHON, "-m", "django", *words], cwd=FOLDER, env=env, text=True, stdin=pipe, stdout=pipe, stderr=pipe
    )


def ended(process: subprocess.Popen[str]) -> Asked:
    out, err = process.communicate("\n", timeout=60)
    return process.returncode, out, err


def test_a_command_runs_where_its_data_are_owned(jobs: Bed) -> None:
    assert ended(begun(jobs, "restock"))[0] == 0
    assert jobs.owner("select title from book where id = 7") == [("7 anew",)]


def test_a_command_on_the_other_side_says_where_to_run_it_and_does_nothing(jobs: Bed) -> None:
    jobs.up()
    code, out, err = ended(begun(jobs, "restock", "--asking"))
    assert (code, out) == (69, "")
    assert err == (
        "CommandError: restock was not run: it belongs to shop-books, whose data are the service's (epoch 7)."
        " Run it at the service. While the owner moves, that takes some seconds.\n"
    )


def test_a_command_that_meets_the_fence_half_way_asks_to_be_run_again(jobs: Bed) -> None:
    process = begun(jobs, "restock", "--asking")
    assert process.stdout is not None
    assert process.stdout.readline() == "half-way\n"
    jobs.up()
    code, _, err = ended(process)
    assert code == 75
    assert "restock met a fence half-way: shop-books is the service's since, or is to be. The transaction" in err
    assert jobs.owner("select * from other") == []


def test_what_has_taken_effect_long_ago_is_forgotten_by_the_owner(jobs: Bed) -> None:
    jobs.owner(OLD)
    jobs.up()
    assert "shop-books: its data are the service's" in ended(begun(jobs, "strangler_forget_tasks"))[1]
    jobs.down()
    code, _, err = ended(begun(jobs, "strangler_forget_tasks", "--days", "0"))
    assert (code, "--days is 0; 1 or more is wanted" in err) == (1, True)
    assert ended(begun(jobs, "strangler_forget_tasks"))[:2] == (0, "shop-books: 1 tasks forgotten\n")
    assert jobs.owner("select id from job") == [("new",)]


def test_a_fence_that_observes_is_told_whose_tasks_are_forgotten(jobs: Bed, told: Told) -> None:
    jobs.owner(OLD)
    jobs.observe()
    assert ended(begun(jobs, "strangler_forget_tasks"))[0] == 0
    names = {str(each["statement"]).partition(" */ ")[0] for each in told()}
    assert names == {"/* strangler command=strangler_forget_tasks.shop-books"}
