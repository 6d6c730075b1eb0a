"""A whole proxy makes way for its successor: another release, other addresses, another number of workers.

The successor asks at a Unix socket in the state folder, and is handed the listening descriptors (SCM_RIGHTS, unix(7)).
It starts its workers on them, beside those of its predecessor; connections come to either. When all of them serve it
says so; then its predecessor ends what it has under way, and ends. A successor that goes before it serves changes
nothing. So no connection is refused, and none waits.

What is said is one JSON object a line, with the descriptors of a line's sockets beside it::

    successor    {"takeover": 1, "pid": 7}
    predecessor  {"sockets": [{"address": "127.0.0.1:8000", "whose": "ours", "made": null}, ...], "more": false}
    successor    {"serves": [0, ...]}          which of the sockets it took
    predecessor  {"yours": true}               it has begun to leave

A predecessor answers ``{"refused": "why"}`` instead where it will not. Unknown keys are left alone, so that a release
can add some; what a release before cannot take has another number. Whoever asks is the same user, or root: by the
mode of the socket's file, and by what the kernel says of both ends.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from strangler_proxy.errors import ProxyError, TakeoverRefused
from strangler_proxy.listening import bind, turn_away, unix_listener
from strangler_proxy.places import Place, Whose

_LOG: Final = logging.getLogger("strangler_proxy")

SPOKEN: Final = 1
"""The number of this conversation."""
_NAME: Final = "takeover"
_MODE: Final = 0o600
# The kernel takes 253 at once (SCM_MAX_FD); 64 workers at several addresses have more.
_AT_ONCE: Final = 200
_ANSWER: Final = 5.0
# Workers serve after a second or two; where they cannot reach anything, after some more.
_PATIENCE: Final = 60.0
# sockaddr_un's sun_path, less the NUL that ends it: unix(7).
_LONGEST_PATH: Final = 107


class Talk:
    """One end of the conversation."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._rest = b""
        self.descriptors: list[int] = []  # that came and nobody has taken

    async def say(self, word: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
        """Send one word. Raises ``OSError``."""
        line = json.dumps(word).encode() + b"\n"
        sent = socket.send_fds(self._sock, [line], descriptors) if descriptors else 0
        await asyncio.get_running_loop().sock_sendall(self._sock, line[sent:])

    async def hear(self, patience: float) -> dict[str, Any]:
        """Return the next word, an empty one at the end. Raises ``TimeoutError``, ``OSError`` and ``ValueError``."""
        async with asyncio.timeout(patience):
            while b"\n" not in self._rest:
                await self._readable()
                data, descriptors, flags, _ = socket.recv_fds(self._sock, 65_536, _AT_ONCE, _CLOSE_ON_EXEC)
                self.descriptors += descriptors
                if flags & socket.MSG_CTRUNC:
                    raise OSError("there is no room for the descriptors that came")
                if not data:
                    return {}
                self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        word = json.loads(line)
        if not isinstance(word, dict):
            raise ValueError("what came is no JSON object")
        return word

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        came: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._sock, _tell, came)
        try:
            await came
        finally:
            loop.remove_reader(self._sock)

    def close(self) -> None:
        """End the conversation, with the descriptors that nobody has taken."""
        self._sock.close()
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors.clear()


def _tell(came: asyncio.Future[None]) -> None:
    if not came.done():
        came.set_result(None)


_CLOSE_ON_EXEC: Final = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


# --- the successor's side ---


class Predecessor:
    """The proxy that runs: its sockets, which are used beside it until it leaves."""

    def __init__(self, talk: Talk, places: Sequence[Place]) -> None:
        self.places = tuple(places)
        self._talk = talk

    async def leave(self, taken: Sequence[Place]) -> None:
        """Say that all workers serve, and return when it has begun to leave. Raises ``TakeoverRefused``."""
        serves = [number for number, place in enumerate(self.places) if place in taken]
        try:
            with suppress(OSError):  # it has died: nobody else serves
                await self._talk.say({"serves": serves})
                _expect(await _heard(self._talk, _ANSWER), "yours", unless_gone=True)
        except TakeoverRefused:
            self._talk.close()  # before this one drains: else a late word would get through, and both leave
            raise
        for place in self.places:
            place.own()
            if place not in taken:
                place.listener.close()  # it is turned away by the one that leaves
        self._talk.close()

    def forget(self) -> None:
        """Go without having served: it stays as it was."""
        self._talk.close()


async def find(folder: Path) -> Predecessor | None:
    """Return the proxy that runs with this state folder; None when there is none. Raises ``TakeoverRefused``."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _Short(folder) as name:
            sock.connect(name)
    except (FileNotFoundError, ConnectionRefusedError):
        sock.close()
        return None
    except OSError as exc:
        sock.close()
        raise TakeoverRefused(f"{folder / _NAME} cannot be asked: {exc.strerror or exc}") from exc
    talk = Talk(sock)
    try:
        _check_peer(sock)
        await talk.say({"takeover": SPOKEN, "pid": os.getpid()})
        return Predecessor(talk, await _sockets(talk))
    except (ProxyError, OSError) as exc:
        talk.close()
        raise exc if isinstance(exc, ProxyError) else TakeoverRefused(f"the running proxy is gone: {exc}") from exc


async def _sockets(talk: Talk) -> list[Place]:
    found: list[Place] = []
    more = True
    while more:
        word = _expect(await _heard(talk, _ANSWER), "sockets")
        try:
            found += [_place(raw, talk.descriptors.pop(0)) for raw in word["sockets"]]
            more = bool(word.get("more"))
        except (IndexError, KeyError, TypeError, ValueError) as exc:
            raise TakeoverRefused(f"what the running proxy handed over cannot be used: {exc!r}") from exc
    return found


def _place(raw: dict[str, Any], descriptor: int) -> Place:
    whose = Whose(raw.get("whose", "ours"))
    made = raw.get("made")
    listener = socket.socket(fileno=descriptor) if made is None else unix_listener(descriptor, tuple(made))
    listener.setblocking(False)
    place = Place(str(raw["address"]), listener, whose)
    place.share()
    return place


async def _heard(talk: Talk, patience: float) -> dict[str, Any]:
    try:
        return await talk.hear(patience)
    except (TimeoutError, ValueError) as exc:
        raise TakeoverRefused(f"the running proxy gave no answer that can be read: {exc!r}") from exc


def _expect(word: dict[str, Any], key: str, *, unless_gone: bool = False) -> dict[str, Any]:
    if "refused" in word:
        raise TakeoverRefused(f"the running proxy goes on: {word['refused']}")
    if key not in word and not (unless_gone and not word):
        raise TakeoverRefused(f"the running proxy did not say {key!r} when it should have")
    return word


# --- the predecessor's side ---


class Threshold:
    """Where a successor knocks. ``leave`` is called with its process's number, when it serves.

    Raises ``ProxyError`` when there can be none.
    """

    def __init__(self, folder: Path, places: Callable[[], Sequence[Place]], leave: Callable[[int], None]) -> None:
        self._places = places
        self._leave = leave
        self._folder = folder
        self._short = _Short(folder)
        self._listener = self._listen()
        self._task = asyncio.create_task(self._serve())

    def _listen(self) -> socket.socket:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            return bind(f"unix:{self._short.__enter__()}", 1, _MODE)[0]
        except OSError as exc:
            raise ProxyError(f"{self._folder / _NAME}: {exc.strerror or exc}") from exc

    async def close(self) -> None:
        """Hear nobody any more."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._remove()

    def _remove(self) -> None:
        if self._listener.fileno() >= 0:
            turn_away(self._listener)
            self._listener.close()
            self._short.__exit__()

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        left = False
        while not left:
            try:
                if self._listener.fileno() < 0:
                    self._listener = self._listen()
                sock, _ = await loop.sock_accept(self._listener)
            except (ProxyError, OSError) as exc:  # no descriptor
                _LOG.error("what wants to take over cannot be heard: %s", exc)
                await asyncio.sleep(_ANSWER)
                continue
            talk = Talk(sock)
            try:
                _check_peer(sock)
                left = await self._meet(talk)
            except (ProxyError, OSError, ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as exc:
                _LOG.error("this proxy goes on, since what wanted to take over failed: %s", str(exc) or repr(exc))
            finally:
                talk.close()

    async def _meet(self, talk: Talk) -> bool:
        """Hand the sockets over, and return whether this proxy leaves."""
        hello = await talk.hear(_ANSWER)
        if hello.get("takeover") != SPOKEN:
            await talk.say({"refused": f"it understands the takeover {SPOKEN}, and no other"})
            raise TakeoverRefused(f"it began by {str(hello)[:100]}")
        successor = hello["pid"]
        if type(successor) is not int:
            raise TakeoverRefused(f"its process is {str(successor)[:100]!r}, no number")
        places = list(self._places())
        for place in places:
            place.share()
        try:
            taken = await self._handed_over(talk, places)
            await self._give_way(talk)
        except BaseException:
            for place in places:
                place.own()
            raise
        for number, place in enumerate(places):
            if number not in taken:
                place.own()
        self._leave(successor)
        return True

    async def _give_way(self, talk: Talk) -> None:
        """Say that this proxy leaves; who cannot be told does not serve. Raises ``OSError``."""
        self._remove()  # the successor makes one of its own
        try:
            await talk.say({"yours": True})
        except OSError:
            self._listener = self._listen()
            raise

    async def _handed_over(self, talk: Talk, places: list[Place]) -> set[int]:
        for first in range(0, max(len(places), 1), _AT_ONCE):
            some = places[first : first + _AT_ONCE]
            told = {"sockets": [_told(place) for place in some], "more": first + _AT_ONCE < len(places)}
            await talk.say(told, [place.listener.fileno() for place in some])
        try:
            word = await talk.hear(_PATIENCE)
        except TimeoutError:
            await talk.say({"refused": f"the workers did not serve within {_PATIENCE:.0f} s"})
            raise TakeoverRefused(f"its workers did not serve within {_PATIENCE:.0f} s") from None
        if "serves" not in word:
            raise TakeoverRefused("it ended before its workers served")
        return {int(number) for number in word["serves"]}


def _told(place: Place) -> dict[str, Any]:
    whose = "system" if place.whose is Whose.SYSTEM else "ours"
    return {"address": place.address, "whose": whose, "made": getattr(place.listener, "made", None)}


# --- both ---


def _check_peer(sock: socket.socket) -> None:
    """Raise ``TakeoverRefused`` when a process of another user is at the other end."""
    if not hasattr(socket, "SO_PEERCRED"):
        return  # the socket's file is for its owner alone
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, user, _ = struct.unpack("3i", raw)
    if user not in (os.geteuid(), 0):
        raise TakeoverRefused(f"it is a process of another user ({user})")


class _Short:
    """A name of the socket that fits into an address, however long the folder's is."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor: int | None = None

    def __enter__(self) -> str:
        whole = str(self._folder.absolute() / _NAME)
        if len(os.fsencode(whole)) <= _LONGEST_PATH:
            return whole
        self._descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        return f"/proc/self/fd/{self._descriptor}/{_NAME}"

    def __exit__(self, *_: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
