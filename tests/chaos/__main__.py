"""``python -m tests.chaos COMMAND``: what dies, goes wrong or is planted, and what came of it."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Final

from tests.chaos import faults, kills, streams
from tests.chaos.cutover import planted, running
from tests.chaos.cutover.crowd import Load
from tests.chaos.family import kills as killed


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _cutover(options: argparse.Namespace) -> int:
    plan = running.Plan(
        transitions=options.transitions,
        kills=options.kills,
        seed=options.seed,
        load=Load(clients=options.clients, seed=options.seed),
    )
    report = running.chaos(plan, _tell)
    running.write(report)
    print(json.dumps(report.to_json(), indent=2))
    return int(bool(report.wrong))


def _planted(options: argparse.Namespace) -> int:
    """Print what became of each fault; 1 where one was not found."""
    print("| taken out or put in | found | after | |\n|---|---|---:|---|")
    missed = 0
    for name in options.faults or planted.FAULTS:
        fault, report = planted.FAULTS[name], running.chaos(planted.plan(name, options.seed))
        found = [f"{kind}: {len(report.found[kind])}" for kind in report.wrong]
        is_found = bool(set(report.wrong) & set(fault.shows))
        missed += not is_found
        print(
            f"| {fault.what} (`{name}`) | {', '.join(found) or '–'} | {report.attempts} moves, {report.seconds:.0f} s |"
            f" {'' if is_found else '**not found**'} |",
            flush=True,
        )
    return int(missed > 0)


def _streams(options: argparse.Namespace) -> int:
    print(streams.HEADER)
    for result in streams.matrix(options.times):
        print(result.row, flush=True)
    return 0


def _faults(options: argparse.Namespace) -> int:
    print(faults.HEADER)
    for fault in faults.faults():
        print(fault.row, flush=True)
    return 0


def _parts(options: argparse.Namespace) -> int:
    print(kills.HEADER)
    for kill in killed():
        print(kill.row, flush=True)
    return 0


_COMMANDS: Final[Mapping[str, tuple[Callable[[argparse.Namespace], int], str]]] = {
    "cutover": (_cutover, "move the owner under the whole load, with parts that die; writes build/chaos.json"),
    "planted": (_planted, "plant faults, each of which that must find"),
    "parts": (_parts, "kill one part of a demo after the other under traffic"),
    "streams": (_streams, "kill what keeps two databases equal"),
    "faults": (_faults, "have stacks and clients do wrong, and count what that did to others"),
}


def _parsed(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    of = {}
    for name, (act, what) in _COMMANDS.items():
        of[name] = commands.add_parser(name, help=what, description=what)
        of[name].set_defaults(act=act)
    of["cutover"].add_argument("--transitions", type=int, default=20, help="moves that end, done or aborted (20)")
    of["cutover"].add_argument("--kills", type=int, default=0, help="go on until so many parts were killed (0)")
    of["cutover"].add_argument("--clients", type=int, default=32, help="clients of the proxy (32)")
    for name in ("cutover", "planted"):
        of[name].add_argument("--seed", type=int, default=1, help="by which troubles are drawn (1)")
    of["planted"].add_argument("faults", nargs="*", metavar="FAULT", help=f"some of {', '.join(planted.FAULTS)}")
    of["streams"].add_argument("times", type=int, nargs="?", default=20, help="how often each part is killed (20)")
    return parser.parse_args(words)


if __name__ == "__main__":
    chosen = _parsed(sys.argv[1:])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what it started is ended then, as after Ctrl-C
    sys.exit(chosen.act(chosen))
