"""Rates that all workers of all proxies count together, through Valkey.

Nobody waits for it. A worker decides at once by what it knows, and tells Valkey a few milliseconds later what its
clients have spent; the answer is what each has spent everywhere, and the worker goes on by that. What was let through
meanwhile is not forgotten but owed: with W workers a client gets at most W bursts before all of them know, and in the
long run its rate and no more.

While Valkey is away every worker's own count stands. Keys are hashes: an address in Valkey would be somebody's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from enum import StrEnum
from hashlib import blake2b, sha256
from time import monotonic_ns
from typing import Any, Final, cast

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from strangler_proxy.rates import Meter
from strangler_proxy.telemetry import Tally

_LOG: Final = logging.getLogger("strangler_proxy")

_GATHER: Final = 0.005  # a call for each request would cost Valkey, and the worker, more than the request
_PATIENCE: Final = 0.5
_AGAIN: Final = 0.5
_BATCH: Final = 512  # keys a call: Valkey serves nobody else meanwhile, some 1 ms
_PREFIX: Final = "strangler:rate:"

# When each client's allowance is whole again, in microseconds of Valkey's own clock, which no two machines share.
# Lua's numbers hold that exactly, and print it so only when told to.
_SPEND: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local ahead = {}
for each, key in ipairs(KEYS) do
  local whole = math.max(tonumber(redis.call('GET', key) or 0), now) + tonumber(ARGV[each])
  redis.call('SET', key, string.format('%.0f', whole), 'PX', math.ceil((whole - now) / 1000))
  ahead[each] = string.format('%.0f', whole - now)
end
return ahead
"""


class Outcome(StrEnum):
    """What became of a word to Valkey."""

    TOLD = "told"
    FAILED = "failed"


class SharedRates:
    """Tells Valkey what the clients of ``meters`` spend in this worker, and them what is spent elsewhere."""

    def __init__(self, meters: Sequence[Meter], url: str, secret: str, tally: Tally) -> None:
        self._meters = {meter.name: meter for meter in meters}
        self._url = url
        self._key = sha256(b"rates" + secret.encode()).digest()
        self._tally = tally
        self._spent = asyncio.Event()
        self._away = False
        for meter in meters:
            meter.share(self._spent.set)
        self._task = asyncio.create_task(self._follow())

    def __repr__(self) -> str:
        return f"<SharedRates {', '.join(self._meters)}{', alone' * self._away}>"

    def close(self) -> None:
        self._task.cancel()

    async def _follow(self) -> None:
        while True:
            client = redis.asyncio.Redis.from_url(
                self._url,
                socket_connect_timeout=_PATIENCE,
                socket_timeout=_PATIENCE,
                retry=Retry(NoBackoff(), 0),
            )
            try:
                await self._tell_all(client)
            except (RedisError, OSError, TimeoutError) as exc:
                self._failed(exc)
            finally:
                with suppress(RedisError, OSError):
                    await client.aclose()
            await asyncio.sleep(_AGAIN)

    async def _tell_all(self, client: redis.asyncio.Redis) -> None:
        spend = client.register_script(_SPEND)
        while True:
            await self._spent.wait()
            await asyncio.sleep(_GATHER)
            self._spent.clear()
            spent = [(meter, *each) for meter in self._meters.values() for each in meter.take()]
            for first in range(0, len(spent), _BATCH):
                await self._tell(spend, spent[first : first + _BATCH])

    async def _tell(self, spend: Any, spent: list[tuple[Meter, str, int]]) -> None:
        keys = [self._key_of(meter, client) for meter, client, _ in spent]
        costs = [-(-count * meter.policy.interval // 1000) for meter, _, count in spent]
        ahead = cast("list[bytes]", await spend(keys, costs))
        now = monotonic_ns()
        for (meter, client, _), micros in zip(spent, ahead, strict=True):
            meter.learn(client, now + int(micros) * 1000)
        self._tally.shared_rate(Outcome.TOLD)
        if self._away:
            self._away = False
            _LOG.warning("Valkey is back: what clients may ask is counted together again")

    def _key_of(self, meter: Meter, client: str) -> str:
        return f"{_PREFIX}{meter.name}:{blake2b(client.encode(), digest_size=16, key=self._key).hexdigest()}"

    def _failed(self, exc: Exception) -> None:
        self._tally.shared_rate(Outcome.FAILED)
        if not self._away:
            self._away = True
            _LOG.warning("Valkey cannot be reached, each worker counts for itself what clients may ask: %s", exc)
