import asyncio

from strangler.service.health import Readiness


async def well() -> str | None:
    return None


async def broken() -> str | None:
    return "no answer from the disk"


async def stuck() -> str | None:
    await asyncio.Event().wait()
    return None


def test_ready_when_every_check_is_well() -> None:
    assert asyncio.run(Readiness(checks={"a": well, "b": well}).verdict()) == (True, {"a": "ok", "b": "ok"})


def test_one_check_that_fails_is_enough_and_is_named() -> None:
    verdict = asyncio.run(Readiness(checks={"a": well, "disk": broken}).verdict())
    assert verdict == (False, {"a": "ok", "disk": "no answer from the disk"})


def test_a_check_that_never_answers_counts_as_failed_at_the_deadline() -> None:
    verdict = asyncio.run(Readiness(checks={"a": stuck}, deadline_seconds=0.01).verdict())
    assert verdict == (False, {"a": "no answer within 0.01 s"})


def test_a_draining_process_is_not_ready_whatever_the_checks_say() -> None:
    ready, _ = asyncio.run(Readiness(checks={"a": well}, draining=True).verdict())
    assert not ready
