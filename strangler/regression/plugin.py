"""A pytest plugin for a team's tests of two stacks: it asks them, compares, and shows what differs.

    @pytest.mark.capability("orders")
    def test_a_list_is_the_same(both_stacks):
        both_stacks.agree(Case(target="/api/orders/?page=2"))

It is installed with the toolkit and does nothing where no test asks for its fixtures.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import pytest

from strangler.regression.addresses import MONOLITH, PROXY, SERVICE, Addresses, StackAddresses, Unknown
from strangler.regression.coverage import Asked, Coverage, judge
from strangler.regression.pair import BothStacks, Disagreement
from strangler.regression.record import ATTRIBUTE, Record
from strangler.regression.show import Shown
from strangler.regression.stack import Credentials, Stack, Unreachable, nobody
from strangler.regression.surface import Surface
from strangler.regression.telling import Telling

_BOTH: Final = "both"
_RECORD: Final = pytest.StashKey[Record]()

Judge = Callable[..., Coverage]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("strangler")
    group.addoption(
        "--stack",
        choices=[MONOLITH, SERVICE, _BOTH],
        default=_BOTH,
        help="which stack to ask; tests of the other, and those that compare, are skipped",
    )
    group.addoption("--strangler-project", metavar="FILE", help="the project's file (default: strangler.toml)")
    group.addoption("--regression-report", metavar="FILE", help="write what was compared as a page of HTML")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "capability(name): the capability whose service a test asks")
    if not hasattr(config, "workerinput"):  # pytest-xdist's workers have no terminal
        named = config.getoption("--regression-report")
        if named and find_spec("jinja2") is None:
            raise pytest.UsageError("--regression-report is written with Jinja; install strangler[regression]")
        config.pluginmanager.register(Telling(config, Path(named) if named else None), "strangler-telling")


@pytest.fixture(scope="session")
def stack_addresses(pytestconfig: pytest.Config) -> Addresses:
    """Where the stacks answer, as the project says. Override it where tests start the stacks themselves."""
    from strangler.project import ProjectInvalid

    named = pytestconfig.getoption("--strangler-project")
    try:
        return StackAddresses.of_project(Path(named) if named else pytestconfig.rootpath / "strangler.toml")
    except ProjectInvalid as exc:
        wrong = str(exc)
    pytest.fail(f"{wrong}\nName the project with --strangler-project, or override stack_addresses.", pytrace=False)


@pytest.fixture(scope="session")
def credentials() -> Credentials:
    """How a stack is told who asks. Override it where cases say ``as_user``."""
    return nobody


class _Opened:
    """The stacks that were asked for so far, each opened once; one that was not there is not tried again."""

    def __init__(self) -> None:
        self._stacks: dict[tuple[str, str, str, Credentials], Stack | Unreachable] = {}
        self.exits = ExitStack()

    def connected(self, address: str, name: str, public_name: str, credentials: Credentials) -> Stack | Unreachable:
        key = (address, name, public_name, credentials)
        if key not in self._stacks:
            stack = Stack(address, name=name, public_name=public_name, credentials=credentials)
            self._stacks[key] = self._tried(stack)
        return self._stacks[key]

    def _tried(self, stack: Stack) -> Stack | Unreachable:
        self.exits.callback(stack.close)
        try:
            stack.connect()
        except Unreachable as exc:
            return exc
        return stack


@pytest.fixture(scope="session")
def _opened() -> Iterator[_Opened]:
    opened = _Opened()
    with opened.exits:
        yield opened


class _Stacks:
    """The stacks as one test may ask them: a folder's conftest may put others in their place."""

    def __init__(self, addresses: Addresses, credentials: Credentials, opened: _Opened) -> None:
        self._addresses = addresses
        self._credentials = credentials
        self._opened = opened

    def open(self, name: str, capability: str | None = None) -> Stack:
        found = self._found(name, capability)
        if isinstance(found, Stack):
            return found
        pytest.fail(str(found), pytrace=False)

    def _found(self, name: str, capability: str | None) -> Stack | Unreachable | Unknown:
        try:
            address = self._addresses.of(name, capability)
        except Unknown as exc:
            return exc
        return self._opened.connected(address, name, self._addresses.public_name, self._credentials)


@pytest.fixture
def _stacks(stack_addresses: Addresses, credentials: Credentials, _opened: _Opened) -> _Stacks:
    return _Stacks(stack_addresses, credentials, _opened)


@pytest.fixture
def monolith(request: pytest.FixtureRequest, _stacks: _Stacks) -> Stack:
    """The monolith, asked directly."""
    _wanted(request, MONOLITH)
    return _stacks.open(MONOLITH)


@pytest.fixture
def service(request: pytest.FixtureRequest, _stacks: _Stacks) -> Stack:
    """The service of the test's capability, asked directly."""
    _wanted(request, SERVICE)
    return _stacks.open(SERVICE, capability_of(request.node))


@pytest.fixture
def proxy(request: pytest.FixtureRequest, _stacks: _Stacks) -> Stack:
    """The proxy, which decides who answers."""
    _record(request.node)
    return _stacks.open(PROXY)


@pytest.fixture(params=[MONOLITH, SERVICE])
def stack(request: pytest.FixtureRequest, _stacks: _Stacks) -> Stack:
    """Each of the two stacks: the test runs once for each that ``--stack`` asks for."""
    _wanted(request, request.param)
    return _stacks.open(request.param, capability_of(request.node))


@pytest.fixture
def both_stacks(request: pytest.FixtureRequest, _stacks: _Stacks, compared: Record) -> BothStacks:
    """Both stacks, for the same question."""
    _wanted(request, _BOTH)
    service = _stacks.open(SERVICE, capability_of(request.node))
    return BothStacks(one=_stacks.open(MONOLITH), other=service, note=compared.note)


def _wanted(request: pytest.FixtureRequest, stack: str) -> None:
    _record(request.node)
    asked = request.config.getoption("--stack")
    if asked not in (stack, _BOTH):
        pytest.skip(f"it asks {'both stacks' if stack == _BOTH else f'the {stack}'}, and --stack is {asked}")


def capability_of(node: pytest.Item) -> str | None:
    """Return the capability that a test is marked with."""
    mark = node.get_closest_marker("capability")
    return str(mark.args[0]) if mark else None


@pytest.fixture
def compared(request: pytest.FixtureRequest) -> Record:
    """What this test has compared; a fixture of your own that makes a ``Pair`` gives it ``note=compared.note``."""
    return _record(request.node)


def _record(node: pytest.Item) -> Record:
    return node.stash.setdefault(_RECORD, Record(capability=capability_of(node)))


@pytest.fixture
def coverage(compared: Record) -> Judge:
    """Judge what cases touch of a surface, ``coverage(surface, asked, unseen)``, and have it printed at the end."""

    def judged(surface: Surface, asked: Iterable[Asked], unseen: Mapping[str, str] | None = None) -> Coverage:
        compared.coverage = judge(surface, asked, unseen)
        return compared.coverage

    return judged


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    raised = call.excinfo.value if call.excinfo is not None else None
    if isinstance(raised, Disagreement):
        _record(item).shown = Shown.of(raised.comparison)
    if isinstance(raised, Unreachable):
        report.longrepr = str(raised)
    told = call.when == "call" or (call.when == "setup" and not report.passed)
    if told and _RECORD in item.stash:
        record = item.stash[_RECORD]
        item.user_properties.extend(record.properties)
        setattr(report, ATTRIBUTE, record.to_json())
    return report
