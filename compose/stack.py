"""Start and stop what compose.yaml says, on whichever engine there is.

    python compose/stack.py see|up|down [COMPOSE-FILE ...]

Docker Compose starts a container when those that it depends on are healthy. podman runs health checks by timers of
systemd, and podman-compose does not wait for what its podman cannot tell (before 4.6), so there the containers are
started in steps here, and asked for their health in between: the files stay as they are.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import yaml

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parent
SECRETS: Final = HERE / "secrets"
# A first start copies images' contents, makes databases and fills them; later ones take a third of it.
PATIENCE_S: Final = 120.0
LOOK_S: Final = 0.3
_RESTARTS: Final = 5
STREAMED: Final = ("catalog", "reviews")

Services = Mapping[str, Mapping[str, Any]]


class StackFailed(Exception):
    """A container did not come up. The message has its name and the end of its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What runs containers: ``program`` is docker or podman, ``compose`` the command that reads compose files."""

    program: str
    compose: tuple[str, ...]
    project: str

    @classmethod
    def found(cls, project: str = "strangler") -> Engine:
        """Return Docker with its Compose, else podman with podman-compose. Raises ``StackFailed``."""
        if shutil.which("docker") and _runs(("docker", "info")) and _runs(("docker", "compose", "version")):
            return cls(program="docker", compose=("docker", "compose"), project=project)
        beside = shutil.which(
            "podman-compose", path=f"{ROOT / '.venv-compose' / 'bin'}{os.pathsep}{os.environ['PATH']}"
        )
        if shutil.which("podman") and beside:
            return cls(program="podman", compose=(beside,), project=project)
        raise StackFailed("there is neither Docker with Compose v2 nor podman with podman-compose")

    def call(self, *words: str, check: bool = True, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run the engine's program."""
        return _call((self.program, *words), check=check, **more)

    def up(self, files: Sequence[Path], services: Sequence[str], *words: str) -> None:
        """Have compose start ``services``, all without any; ``words`` are more of its options."""
        named = [part for file in files for part in ("--file", str(file))]
        _call((*self.compose, "--project-name", self.project, *named, "up", "--detach", *words, *services))

    def containers(self, service: str = "") -> list[str]:
        """Return the ids of a service's containers, also of those that have ended; of all services without a name."""
        label = "com.docker.compose"
        asked = ["--filter", f"label={label}.project={self.project}"]
        asked += ["--filter", f"label={label}.service={service}"] if service else []
        return self.call("ps", "--all", "--quiet", "--no-trunc", *asked).stdout.split()

    def inspect(self, container: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.call("inspect", container).stdout)[0]
        return found

    def run(self, service: str, *words: str, check: bool = True, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run a command in a service's first container."""
        return self.call("exec", self.containers(service)[0], *words, check=check, **more)

    def is_healthy(self, container: str) -> bool:
        """Ask a container for its health now; one without a check is healthy while it runs."""
        state = self.inspect(container)
        if state["RestartCount"] > _RESTARTS:
            raise StackFailed(f"it ends each time that it is started; {self.last_words(container)}")
        if not state["State"]["Running"]:
            return False
        asked = (state["Config"].get("Healthcheck") or {}).get("Test") or ["NONE"]
        if asked[0] == "NONE":
            return True
        if self.program == "docker":
            return str(state["State"]["Health"]["Status"]) == "healthy"
        return self.call("healthcheck", "run", container, check=False).returncode == 0

    def is_done(self, container: str) -> bool:
        """Return whether a container that runs once has done its work. Raises ``StackFailed`` when it failed."""
        state = self.inspect(container)["State"]
        if state["Status"] not in ("exited", "stopped"):
            return False
        if state["ExitCode"] != 0:
            raise StackFailed(f"exit code {state['ExitCode']}; {self.last_words(container)}")
        return True

    def last_words(self, container: str) -> str:
        said = self.call("logs", "--tail", "15", container, check=False)
        return f"the end of its log:\n{said.stdout}{said.stderr}"


def _runs(words: Sequence[str]) -> bool:
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def _call(words: Sequence[str], *, check: bool = True, **more: Any) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT, **more)
    if check and done.returncode != 0:
        raise StackFailed(f"{' '.join(words)}: exit code {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return done


# --- what stands in the files ---


def services_of(files: Sequence[Path]) -> Services:
    """Return the services of compose files, where a later file adds to an earlier one."""
    found: dict[str, Mapping[str, Any]] = {}
    for file in files:
        for name, service in yaml.safe_load(file.read_text(encoding="utf-8")).get("services", {}).items():
            found[name] = {**found.get(name, {}), **service}
    return {name: service for name, service in found.items() if not service.get("profiles")}


def steps(services: Services) -> Iterator[list[str]]:
    """Yield which services may start together: those that depend only on services of earlier steps."""
    placed: set[str] = set()
    while placed < services.keys():
        step = [
            name
            for name, service in services.items()
            if name not in placed and placed.issuperset(service.get("depends_on", ()))
        ]
        if not step:
            raise StackFailed(f"these wait for each other: {', '.join(sorted(services.keys() - placed))}")
        placed.update(step)
        yield step


def runs_once(service: Mapping[str, Any]) -> bool:
    return service.get("restart") == "no"


# --- secrets ---


def make_secrets(folder: Path) -> None:
    """Make the files that compose.yaml names under ``secrets``, with random contents; what is there stays.

    What is made of others is made anew where they have changed. The folder is for its owner alone; in it, files may be
    read by whoever they are mounted for, who is not root.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    for name in _KEYS:
        _keep(folder, name, secrets.token_urlsafe(32))
    for name, (role, base, server) in _DATABASES.items():
        word = (folder / f"{role}_password").read_text(encoding="utf-8")
        _write(folder, name, f"postgresql://{role}:{word}@{server}:5432/{base}")
    for name, server in (("valkey", "valkey"), ("shop_valkey", "shop-valkey")):
        word = secrets.token_urlsafe(32)
        # A cache and queues of what is asked for again: nothing is kept over a restart.
        _keep(folder, f"{name}_conf", f'requirepass {word}\nsave ""\nmaxmemory 192mb\ndir /tmp\n')
        word = _said(folder / f"{name}_conf")
        bases = {"redis_url": 0} if name == "valkey" else {"shop_cache_url": 0, "shop_broker_url": 1}
        for file, number in bases.items():
            _write(folder, file, f"redis://:{word}@{server}:6379/{number}")
    word = (folder / "reviews_broker_password").read_text(encoding="utf-8")
    _write(folder, "shop_valkey_users", f"user reviews on >{word} {_QUEUES_ALONE}\n")
    _write(folder, "reviews_broker_url", f"redis://reviews:{word}@shop-valkey:6379/1")
    _write(folder, "callers", "monolith=" + (folder / "service_secret").read_text(encoding="utf-8"))


# Keys under the prefix that both sides' Celery gives them, and the channels by which workers are asked.
_QUEUES_ALONE: Final = "resetkeys ~shop:celery:* resetchannels &* +@all -@admin -@dangerous +info"
_ROLES: Final = {
    "shop": ("shop", "shop-database", "shop_database_url"),
    "shop_sync": ("shop", "shop-database", "monolith_database_url"),
    "catalog": ("catalog", "services-database", "catalog_owner_database_url"),
    "catalog_sync": ("catalog", "services-database", "catalog_database_url"),
    "reviews": ("reviews", "services-database", "reviews_owner_database_url"),
    "reviews_sync": ("reviews", "services-database", "reviews_database_url"),
    "wishlist": ("wishlist", "services-database", "wishlist_database_url"),
    "strangler": ("strangler", "control-database", "strangler_database_url"),
}
_DATABASES: Final = {file: (role, base, server) for role, (base, server, file) in _ROLES.items()}
_KEYS: Final = (
    *(f"{server}_admin_password" for server in ("shop", "services", "control")),
    *(f"{role}_password" for role in _ROLES),
    *("django_secret_key", "reviews_secret_key", "identity_secret", "messages_key", "service_secret"),
    *("reviews_broker_password", "strangler_secret"),
)


def _keep(folder: Path, name: str, contents: str) -> None:
    if not (folder / name).exists():
        _write(folder, name, contents)


def _write(folder: Path, name: str, contents: str) -> None:
    file = folder / name
    if file.exists() and file.read_text(encoding="utf-8") == contents:
        return
    file.unlink(missing_ok=True)  # nobody may write to it
    file.write_text(contents, encoding="utf-8")
    file.chmod(0o444)


def _said(conf: Path) -> str:
    return conf.read_text(encoding="utf-8").split("\n")[0].removeprefix("requirepass ")


# --- what would be in the way ---


def see(engine: Engine) -> None:
    """Look for what keeps the stack from starting, before anything is built or started. Raises ``StackFailed``."""
    see_port(engine)
    see_volumes(engine, SECRETS)


def see_port(engine: Engine) -> None:
    """Look whether the shop's port can be had. Raises ``StackFailed``."""
    said = os.environ.get("STRANGLER_PORT") or "8000"
    if not said.isdecimal() or not 0 < int(said) < 65536:
        raise StackFailed(f"STRANGLER_PORT is {said!r}; a number from 1 to 65535 is wanted")
    if said in (_port_of(engine.inspect(each)) for each in engine.containers("proxy")):
        return
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", int(said)))
        except OSError as exc:
            raise StackFailed(
                f"the shop's address 127.0.0.1:{said} cannot be had ({exc.strerror}): end what listens there, or name"
                " another port, as in STRANGLER_PORT=8010 make compose-up"
            ) from exc


def _port_of(proxy: Mapping[str, Any]) -> str:
    """Return the port of this machine that a proxy has, empty where it does not run."""
    bound = proxy["HostConfig"]["PortBindings"] or {}
    return str(bound["8000/tcp"][0]["HostPort"]) if proxy["State"]["Running"] and "8000/tcp" in bound else ""


def see_volumes(engine: Engine, folder: Path) -> None:
    """Look whether the databases that are there belong together, and to these secrets. Raises ``StackFailed``."""
    anew = "have all data made anew, with make compose-down ARGS=--volumes"
    wanted = {f"{engine.project}_{server}": server for _, server, _ in _ROLES.values()}
    there = sorted(wanted.keys() & set(_of_project(engine, "volume")))
    if there and (gone := sorted(wanted.keys() - set(there))):
        raise StackFailed(
            f"of volumes that belong together there is {', '.join(there)} and not {', '.join(gone)}: what one database"
            f" says of the others is not so any more. Bring it back, or {anew}"
        )
    for role, (_, server, _) in _ROLES.items():
        if there and not (folder / f"{role}_password").exists():
            raise StackFailed(
                f"the volume {engine.project}_{server} holds a database that was made with the password of"
                f" compose/{folder.name}/{role}_password, and there is no such file: bring it back, or {anew}"
            )


# --- up and down ---


def up(engine: Engine, files: Sequence[Path]) -> None:
    """Start everything and return when all of it is healthy. Raises ``StackFailed``."""
    see(engine)
    make_secrets(SECRETS)
    services = services_of(files)
    remove_outdated(engine, services)
    if engine.program == "docker":
        engine.up(files, [])
        wait(engine, services, list(services))
    else:
        for step in steps(services):
            engine.up(files, step, "--no-deps")
            wait(engine, services, step)
    begin_streams(engine)


def wait(engine: Engine, services: Services, names: Sequence[str], seconds: float = PATIENCE_S) -> None:
    """Return when ``names`` are healthy, or done where they run once. Raises ``StackFailed``."""
    deadline = time.monotonic() + seconds
    for name in names:
        began = time.monotonic()
        ready = engine.is_done if runs_once(services[name]) else engine.is_healthy
        while not (found := engine.containers(name)) or not all(map(ready, found)):
            if time.monotonic() > deadline:
                why = engine.last_words(found[0]) if found else "there is no container of it"
                raise StackFailed(f"{name} is not ready after {seconds:.0f} s; {why}")
            time.sleep(LOOK_S)
        print(f"✓ {name} ({time.monotonic() - began:.1f} s)", flush=True)


def remove_outdated(engine: Engine, services: Services) -> None:
    """Remove containers that would be started again as they were: of an image that was built anew, or of a secret.

    Docker Compose sees to images itself. No engine sees that a file has other contents.
    """
    more = () if engine.program == "docker" else ("--depend",)  # podman keeps what others wait for
    for container in engine.containers():
        found = engine.call("inspect", container, check=False)
        if found.returncode != 0:  # gone with one that it waited for
            continue
        made = json.loads(found.stdout)[0]
        if has_older_secrets(made, services, SECRETS) or (engine.program != "docker" and has_older_image(engine, made)):
            engine.call("rm", "--force", *more, container)


def has_older_image(engine: Engine, made: Mapping[str, Any]) -> bool:
    named = engine.call("image", "inspect", "--format", "{{.Id}}", made["ImageName"], check=False).stdout.strip()
    return named.removeprefix("sha256:") != str(made["Image"]).removeprefix("sha256:")


def has_older_secrets(made: Mapping[str, Any], services: Services, folder: Path) -> bool:
    service = services.get(made["Config"]["Labels"]["com.docker.compose.service"], {})
    when = datetime.fromisoformat(made["Created"]).timestamp()
    return any((folder / name).stat().st_mtime > when for name in service.get("secrets", ()))


def begin_streams(engine: Engine) -> None:
    """Have the services hold the monolith's rows, as the demo does; what streams already is left alone."""
    said = json.loads(engine.run("sync", "strangler", "sync", "status", "--json").stdout)
    begun = {each["capability"] for each in said if each["forward"]["begun"]}
    for capability in STREAMED:
        if capability not in begun:
            engine.run("sync", "strangler", "sync", "start", capability, "--reason", "the stack's first start")
            engine.run("sync", "strangler", "sync", "backfill", capability, "--reason", "the stack's first start")
            print(f"✓ {capability}: rows copied to its service, and compared", flush=True)


def down(engine: Engine, *, volumes: bool) -> None:
    """Take away the project's containers and networks, and with ``volumes`` its data."""
    found = engine.containers()
    if found:
        engine.call("stop", "--time", "20", *found)
        print("stopped")
    else:
        print("nothing of it is there to be stopped")
    # Of the volumes that goes with a container only the unnamed one.
    for kind, more in (("container", ["--force", "--volumes"]), ("pod", ["--force"]), ("network", []), ("volume", [])):
        if (kind == "pod" and engine.program == "docker") or (kind == "volume" and not volumes):
            continue
        if names := _of_project(engine, kind):
            engine.call(kind, "rm", *more, *names)
    if volumes:
        print("its data is gone")
    elif left := _of_project(engine, "volume"):
        print(f"its data stays in {len(left)} volumes")


def _of_project(engine: Engine, kind: str) -> list[str]:
    if kind == "container":
        return engine.containers()
    if kind == "pod":
        return engine.call("pod", "ls", "--quiet", "--filter", f"name=^pod_{engine.project}$").stdout.split()
    label = "com.docker.compose.project" if engine.program == "docker" else "io.podman.compose.project"
    return engine.call(kind, "ls", "--quiet", "--filter", f"label={label}={engine.project}").stdout.split()


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=["see", "up", "down"])
    parser.add_argument("files", nargs="*", type=Path, default=[HERE / "compose.yaml"])
    parser.add_argument("--volumes", action="store_true", help="with down: its data, too")
    asked = parser.parse_args(arguments)
    try:
        engine = Engine.found()
        if asked.verb == "see":
            see(engine)
        elif asked.verb == "down":
            down(engine, volumes=asked.volumes)
        else:
            up(engine, asked.files)
            print(f"The shop is at http://127.0.0.1:{os.environ.get('STRANGLER_PORT', '8000')}/en/")
    except StackFailed as exc:
        print(f"✗ {exc}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
