"""demo.toml: what it may say, and what is said of every mistake in it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from strangler.demo.script import Before, Database, Process, Role, Tour, read_script, read_setting
from strangler.project import Problem, ProjectInvalid

PORTS = "[ports]\nPROXY_PORT = 0\nADMIN_PORT = 900\nPOSTGRES_PORT = 432\nVALKEY_PORT = 379\n"
PROCESS = """
[[process]]
name = "shop"
folder = "shop"
command = ["$PYTHON", "serve.py", "$SHOP_PORT"]
address = "http://127.0.0.1:$SHOP_PORT"
ready = "http://127.0.0.1:$SHOP_PORT/ready"
"""
VARIABLES = {"PYTHON": "/bin/python", "SHOP_PORT": "8001", "SHOP_DATABASE_URL": "postgresql://shop"}


def problems_of(text: str, folder: Path) -> list[str]:
    path = folder / "demo.toml"
    path.write_text(text)
    problems: list[Problem] = []
    for read in (read_setting, partial(read_script, variables=VARIABLES)):
        try:
            read(path)
        except ProjectInvalid as exc:
            problems += exc.problems
    return [str(problem) for problem in problems]


def test_a_setting_has_ports_secrets_and_databases_with_their_roles(tmp_path: Path) -> None:
    path = tmp_path / "demo.toml"
    path.write_text(
        f"""secrets = ["KEY"]
redis = "BROKER_URL"
{PORTS}SHOP_PORT = 1
[[database]]
name = "shop"
owner = "shop"
variable = "SHOP_DATABASE_URL"
[[database.role]]
name = "reader"
variable = "READER_URL"
may = "read"
"""
    )
    setting = read_setting(path)
    reader = Role(name="reader", variable="READER_URL", may="read")
    assert setting.ports["SHOP_PORT"] == 1
    assert (setting.secrets, setting.redis) == (("KEY",), "BROKER_URL")
    assert setting.databases == (Database(name="shop", owner="shop", variable="SHOP_DATABASE_URL", roles=(reader,)),)
    assert setting.databases[0].variables == ("SHOP_DATABASE_URL", "READER_URL")


def test_a_script_has_its_variables_put_in(tmp_path: Path) -> None:
    path = tmp_path / "demo.toml"
    path.write_text(
        f"""{PORTS}{PROCESS}
access_log = "access.log"
access_line = '(?P<path>/\\S*) (?P<trace>[0-9a-f]{{32}})'
[process.environment]
DATABASE_URL = "$SHOP_DATABASE_URL"
[[process.before]]
says = "rows"
command = ["seed"]
once = true
progress = true
[[hint]]
command = "curl $SHOP_PORT"
shows = "a page"
[tour]
capability = "search"
cohort = "beta"
cohort_header = "X-Beta: 1"
paths = ["/search"]
"""
    )
    script = read_script(path, VARIABLES)
    (process,) = script.processes
    assert process == Process(
        name="shop",
        folder=tmp_path / "shop",
        command=("/bin/python", "serve.py", "8001"),
        before=(Before(says="rows", command=("seed",), once=True, progress=True),),
        environment={"DATABASE_URL": "postgresql://shop"},
        address="http://127.0.0.1:8001",
        ready="http://127.0.0.1:8001/ready",
        access_log=tmp_path / "access.log",
        access_line=process.access_line,
    )
    assert script.hints == (("curl 8001", "a page"),)
    assert script.tour == Tour(
        capability="search", cohort="beta", cohort_header=("X-Beta", "1"), paths=("/search",), others=()
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "demo.toml: [ports] PROXY_PORT: found nothing; wanted an offset from the base port, from 0 to 999"),
        (PORTS + "SHOP_PORT = 900", "demo.toml: [ports]: found offset 900 twice; wanted one for each"),
        (PORTS + "SHOP_PORT = 8001", "SHOP_PORT: found 8001; wanted an offset from the base port, from 0 to 999"),
        (
            PORTS + '[[database]]\nname = "a"\nowner = "a"\nvariable = "A"\n[[database.role]]\nname = "r"\n'
            'variable = "R"\nmay = "all"',
            """[[role]] 1 may: found 'all'; wanted "read", "write" or "sync\"""",
        ),
        (PORTS + PROCESS + "comand = 1", "found unknown key 'comand'; wanted 'command' perhaps"),
        (PORTS + PROCESS.replace("$PYTHON", "$PYTHEN"), "found $PYTHEN, and PYTHEN is not set"),
        (
            PORTS + PROCESS + 'access_log = "a"\naccess_line = "(?P<path>"',
            "wanted a regular expression with the groups path and trace (32 hex digits)",
        ),
        (
            PORTS + PROCESS + 'access_log = "a"\naccess_line = "(?P<path>.*)"',
            "found '(?P<path>.*)'; wanted a regular expression with the groups path and trace (32 hex digits)",
        ),
        (
            PORTS + PROCESS + '[[process.before]]\nsays = "rows"\ncommand = ["seed"]\nonce = "yes"',
            "once: found 'yes'; wanted true or false",
        ),
        (PORTS + "[tour]\n", "[tour] capability: found nothing; wanted the capability that moves"),
        (
            PORTS + '[tour]\ncapability = "a"\ncohort = "b"\ncohort_header = "X-Beta"\npaths = ["/"]',
            """[tour] cohort_header: found 'X-Beta'; wanted a header""",
        ),
        ("port = 8000\n" + PORTS, "demo.toml: found unknown key 'port'; wanted 'ports' perhaps"),
    ],
)
def test_every_mistake_is_named(text: str, told: str, tmp_path: Path) -> None:
    assert any(told in problem for problem in problems_of(text, tmp_path))


def test_the_examples_own_file_is_right() -> None:
    root = Path(__file__).parents[4]
    setting = read_setting(root / "demo.toml")
    names = [*setting.ports, *setting.secrets, setting.redis, "PYTHON", "STRANGLER", "LOCAL"]
    variables = dict.fromkeys((*names, *(v for each in setting.databases for v in each.variables)), "1")
    script = read_script(root / "demo.toml", variables)
    assert [process.name for process in script.processes] == [
        "monolith",
        "reactions",
        "catalog",
        "reviews",
        "wishlist",
        "recommendations",
    ]
    assert len(script.hints) == 4
    assert script.tour is not None
