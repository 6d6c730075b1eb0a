"""Work of a service takes effect once, in front of a real fence."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from strangler.capability import Stack
from strangler.service import Chassis
from strangler.service.database import Database
from strangler.service.errors import NotOwner
from strangler.service.once import once
from strangler.service.problem import SHAPES
from tests.fixtures.fenced import FENCED, Bed

JOB = """
create table job (id varchar(255) primary key, name varchar(255) not null, done_at timestamptz not null, result text)
"""
WRITTEN = "update book set body = coalesce(body, '') || 'x' where id = 1"


@pytest.fixture
def jobs(bare_bed: Bed) -> Bed:
    user = conninfo_to_dict(bare_bed.application_url)["user"]
    bare_bed.owner(JOB, f'grant select, insert, update on job to "{user}"')
    found = replace(bare_bed, fence=replace(bare_bed.fence, tables=(*FENCED, "job"), stack=Stack.SERVICE))
    found.begin()
    return found


def work(jobs: Bed, key: str, meanwhile: Callable[[], object] = list) -> bool:
    return asyncio.run(worked(jobs, key, meanwhile))


async def worked(jobs: Bed, key: str, meanwhile: Callable[[], object] = list) -> bool:
    async with await psycopg.AsyncConnection.connect(jobs.application_url, autocommit=True) as connection:
        async with once(connection, "job", key, "extend") as new:
            await asyncio.to_thread(meanwhile)
            if new:
                await connection.execute(WRITTEN)
        return new


def times(jobs: Bed) -> int:
    [(body,)] = jobs.owner("select coalesce(body, '') from book where id = 1")
    return len(body)


def test_what_is_delivered_twice_takes_effect_once(jobs: Bed) -> None:
    assert [work(jobs, "a"), work(jobs, "a"), work(jobs, "b")] == [True, False, True]
    assert times(jobs) == 2


def test_two_deliveries_at_once_run_one_after_the_other(jobs: Bed) -> None:
    async def both() -> list[bool]:
        tasks: list[Coroutine[Any, Any, bool]] = [worked(jobs, "a") for _ in range(4)]
        return await asyncio.gather(*tasks)

    assert sorted(asyncio.run(both())) == [False, False, False, True]
    assert times(jobs) == 1


def test_where_the_data_are_owned_elsewhere_nothing_begins(jobs: Bed) -> None:
    jobs.up(owner=Stack.MONOLITH)
    begun: list[bool] = []
    with pytest.raises(NotOwner, match="the monolith owns shop-books: nothing was written") as refused:
        work(jobs, "a", lambda: begun.append(True))
    assert (refused.value.owner, begun) == ("monolith", [])


def test_what_the_fence_meets_half_way_is_taken_back(jobs: Bed) -> None:
    with pytest.raises(NotOwner):
        work(jobs, "a", jobs.up)
    jobs.down()
    assert times(jobs) == 0
    assert work(jobs, "a")


def test_work_that_another_side_has_done_meanwhile_is_taken_back(jobs: Bed) -> None:
    work(jobs, "a", lambda: jobs.owner("insert into job values ('a', 'extend', now(), null)"))
    assert times(jobs) == 0


def test_an_error_of_the_work_s_own_is_its_own(jobs: Bed) -> None:
    def fail() -> None:
        raise ValueError("of its own")

    with pytest.raises(ValueError, match="of its own"):
        work(jobs, "a", fail)
    assert work(jobs, "a")


def test_a_request_that_writes_where_a_fence_stands_is_answered_503_with_the_capability(jobs: Bed) -> None:
    async def asked() -> httpx.Response:
        database = Database(jobs.application_url, application="jobs")

        async def write(request: Request) -> Response:
            async with database.connection() as connection:
                await connection.execute(WRITTEN)
            return Response("written")

        await database.open()
        app = Chassis(Starlette(routes=[Route("/", write)], exception_handlers=dict(SHAPES)), name="jobs", openapi={})
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://jobs") as client:
            answer = await client.get("/")
        await database.close()
        return answer

    assert asyncio.run(asked()).text == "written"
    jobs.up(owner=Stack.MONOLITH)
    refused = asyncio.run(asked())
    assert (refused.status_code, refused.headers["Retry-After"], refused.json()["capability"]) == (
        503,
        "2",
        "shop-books",
    )
    assert times(jobs) == 1
