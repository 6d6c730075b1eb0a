"""How late a loop is."""

from __future__ import annotations

import asyncio
import time

from strangler_proxy.lag import Lag


def test_what_holds_the_loop_up_is_told() -> None:
    async def busy() -> float:
        lag = Lag()
        await asyncio.sleep(0.12)
        before = lag.longest
        time.sleep(0.6)  # noqa: ASYNC251 -- the very thing that must not happen to a loop
        await asyncio.sleep(0.02)
        lag.stop()
        assert before < 0.5
        return lag.longest

    assert 0.5 <= asyncio.run(busy()) < 10


def test_it_ends_when_it_is_stopped() -> None:
    async def run() -> set[asyncio.Task[object]]:
        lag = Lag()
        lag.stop()
        assert repr(lag) == "Lag(0.0000 s)"
        return {task for task in asyncio.all_tasks() if task is not asyncio.current_task()}

    assert asyncio.run(run()) == set()
