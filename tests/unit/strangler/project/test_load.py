"""What whole files become, and how a mistake is told when there are several."""

from __future__ import annotations

import os
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path

import pytest

from strangler.capability import BORN, Data, Stack, State
from strangler.project import CapabilityFiles, OnDelete, ProjectInvalid, Proxy, Referred, TableMapping, Team, load
from strangler.project.values import Tls, Tracing
from strangler.routing.cohort import Cohort, Source
from strangler.routing.protect import Protect, Reach
from strangler.routing.table import Capability, Kind, Route
from tests.fixtures.project_files import CAPABILITY, ENV, MAPPING, REFERENCE, STRANGLER, write

WHOLE = """\
service = "catalog"
[[route]]
path = "/api/catalog"
methods = ["GET", "POST"]
host = "Shop.Example"
header = "X-Api-Version:  2 "
kind = "reads"
[[cohort]]
name = "office"
cidr = "192.0.2.0/24"
[[cohort]]
name = "beta"
header = "X-Beta"
values = "1"
"""


def problems(path: Path, env: Mapping[str, str] = ENV) -> list[str]:
    with pytest.raises(ProjectInvalid) as invalid:
        load(path, env)
    assert str(invalid.value) == "\n".join(map(str, invalid.value.problems))
    return str(invalid.value).splitlines()


def test_valid_files_become_these_values(tmp_path: Path) -> None:
    project = load(write(tmp_path, {"migrations/catalog/capability.toml": WHOLE}), ENV)
    assert project.root == tmp_path
    assert (project.monolith.name, project.monolith.endpoints) == ("monolith", ("http://127.0.0.1:8001",))
    assert project.upstreams == {"monolith": ("http://127.0.0.1:8001",), "catalog": ("http://127.0.0.1:8101",)}
    assert project.proxy == Proxy(state=tmp_path / ".strangler")
    assert project.capabilities == {
        "catalog": CapabilityFiles(
            name="catalog",
            folder=tmp_path / "migrations/catalog",
            service="catalog",
            routes=(
                Route(
                    path="/api/catalog",
                    methods=frozenset({"GET", "POST"}),
                    host="shop.example",
                    header=("x-api-version", "2"),
                    kind=Kind.READS,
                ),
            ),
            cohorts=(
                Cohort(name="office", source=Source.CIDR, values=("192.0.2.0/24",)),
                Cohort(name="beta", source=Source.HEADER, key="x-beta", values=("1",)),
            ),
            tables=(
                TableMapping(
                    source="catalog_product",
                    target="product",
                    key={"id": "id"},
                    forward={"title": "name"},
                    reverse={"name": "title"},
                    acknowledged=("price",),
                    shared_files=("image",),
                ),
            ),
        )
    }
    control = project.control
    revealed = [each.reveal() for each in (project.monolith.database, control.database, control.redis, control.secret)]
    assert revealed == [
        ENV[name] for name in ("MONOLITH_DATABASE_URL", "STRANGLER_DATABASE_URL", "REDIS_URL", "STRANGLER_SECRET")
    ]


def test_nobody_is_asked_for_visitors_without_a_section(tmp_path: Path) -> None:
    assert load(write(tmp_path), ENV).identity is None


def test_a_section_says_how_visitors_are_asked_for(tmp_path: Path) -> None:
    asks = STRANGLER + '[identity]\nsecret = "$STRANGLER_SECRET"\n'
    usual = load(write(tmp_path, {"strangler.toml": asks}), ENV).identity
    assert usual is not None
    assert usual.secret.reveal() == ENV["STRANGLER_SECRET"]
    assert (usual.session_cookie, usual.path, usual.permissions) == ("sessionid", "/.strangler/identity/", ())
    other = asks + 'session_cookie = "sid"\npath = "/.strangler/who/"\npermissions = ["app.change_model"]\n'
    found = load(write(tmp_path, {"strangler.toml": other}), ENV).identity
    assert found is not None
    assert (found.session_cookie, found.path, found.permissions) == ("sid", "/.strangler/who/", ("app.change_model",))


def test_a_stack_is_reached_and_a_capability_protected_as_the_files_say(tmp_path: Path) -> None:
    said = """\
connections = 10
pending = 0
requests = 12
health = "/health/ready?deep=1"
health_interval = 2
health_timeout = 0.5
connect_timeout = 1
first_byte_timeout = 2.5
total_timeout = 30
resolve = 0
"""
    files = {
        "strangler.toml": STRANGLER + said,
        "migrations/catalog/capability.toml": CAPABILITY + "[protect]\nbulkhead = 5\nfallback = true\ntimeout = 2\n",
    }
    project = load(write(tmp_path, files), ENV)
    reach = Reach(
        connections=10,
        pending=0,
        requests=12,
        health="/health/ready?deep=1",
        health_interval=2.0,
        health_timeout=0.5,
        connect_timeout=1.0,
        first_byte_timeout=2.5,
        total_timeout=30.0,
        resolve=0.0,
    )
    protect = Protect(bulkhead=5, fallback=True, timeout=2.0)
    assert project.reach == {"monolith": Reach(), "catalog": reach}
    assert project.capabilities["catalog"].protect == protect
    table = project.bootstrap_table()
    assert (table.reach, table.capabilities[0].protect) == ({"catalog": reach}, protect)


def test_what_the_files_do_not_say_is_as_usual(tmp_path: Path) -> None:
    table = load(write(tmp_path), ENV).bootstrap_table()
    assert (table.reach, table.capabilities[0].protect) == ({}, Protect())


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ('"unix:/run/shop.sock", "tls:shop:8443", "0.0.0.0:8000", "[::1]:80"', "http://127.0.0.1:8000"),
        ('"unix:/run/shop.sock", "tls:shop:8443"', "https://shop:8443"),
        ('"unix:/run/shop.sock"', ""),
    ],
)
def test_where_the_proxy_is_asked_from_its_own_machine(listen: str, url: str, tmp_path: Path) -> None:
    top = STRANGLER.replace('"127.0.0.1:8000"', listen)
    if "tls:" in listen:
        top += '[proxy.tls]\ncertificate = "a"\nkey = "b"\n'
    assert load(write(tmp_path, {"strangler.toml": top}), ENV).proxy.url == url


def test_how_clients_are_let_in(tmp_path: Path) -> None:
    top = (
        STRANGLER.replace('["127.0.0.1:8000"]', '["[::]:8000", "tls:[::]:8443", "unix:/run/shop.sock"]')
        + """
[proxy.tls]
certificate = "tls/shop.pem"
key = "/etc/shop.key"
ca = "tls/authority.pem"
"""
    )
    top = top.replace("[proxy]", '[proxy]\nproxy_protocol = ["192.0.2.0/24", "::1/128"]\nsocket_mode = 0o600')
    proxy = load(write(tmp_path, {"strangler.toml": top}), ENV).proxy
    assert proxy == Proxy(
        state=tmp_path / ".strangler",
        listen=("[::]:8000", "tls:[::]:8443", "unix:/run/shop.sock"),
        proxy_protocol=(ip_network("192.0.2.0/24"), ip_network("::1/128")),
        socket_mode=0o600,
        tls=Tls(certificate=tmp_path / "tls/shop.pem", key=Path("/etc/shop.key"), ca=tmp_path / "tls/authority.pem"),
    )


def test_all_problems_of_all_files_are_said_at_once(tmp_path: Path) -> None:
    files = {
        "strangler.toml": 'env_file = "demo.env"\n'
        + STRANGLER.replace("127.0.0.1:8001", "$NOWHERE").replace("[proxy]", "[proxy]\nworkers = 0\ncolour = 1"),
        "demo.env": "what?\n",
        "migrations/catalog/capability.toml": CAPABILITY.replace('"catalog"', '"shelf"') + "[[route]]\n",
        "migrations/catalog/mapping.toml": MAPPING.replace("target", "tarjet"),
        "migrations/reviews/capability.toml": 'service = "catalog"\nroutes = []\n',
    }
    assert problems(write(tmp_path, files)) == [
        "strangler.toml: env_file: found line 1 of demo.env, which is no NAME=value; wanted NAME=value",
        "strangler.toml: [monolith] endpoints: found http://$NOWHERE, and NOWHERE is not set; "
        'wanted addresses such as ["http://127.0.0.1:8001"], ["https://shop.internal"] or ["unix:/run/shop.sock"]',
        "strangler.toml: [proxy] workers: found 0; wanted a whole number from 1 to 64",
        "strangler.toml: [proxy]: found unknown key 'colour'; "
        "wanted one of access_log, admin, limits, listen, proxy_protocol, rates, server_timing, shed, socket_mode, "
        "state, timeouts, tls, tracing, trusted, workers",
        "migrations/catalog/mapping.toml: [[table]] 1: found unknown key 'tarjet'; wanted 'target' perhaps",
        "migrations/catalog/capability.toml: service: found 'shelf' (there: catalog); "
        "wanted the name of a [service.NAME] in strangler.toml",
        "migrations/catalog/capability.toml: [[route]] 3 path: found nothing; "
        'wanted a path such as "/api/catalog" or "/{lang}/products"',
        "migrations/reviews/capability.toml: [[route]]: found nothing; wanted at least one route",
        "migrations/reviews/capability.toml: found unknown key 'routes'; wanted 'route' perhaps",
    ]


def test_a_problem_stays_on_its_line_and_moves_no_cursor(tmp_path: Path) -> None:
    top = STRANGLER.replace("[service.catalog]", '[service."a\\n\\u001b[2J"]\ncolour = 1\n[service.catalog]')
    told = problems(write(tmp_path, {"strangler.toml": top}))
    assert len(told) == 3
    assert told[2].startswith(r"strangler.toml: [service.a\n\x1b[2J]: found unknown key 'colour'; ")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "strangler.toml"
    wanted = "the installation's file; name it with --project, or write it (docs/reference/configuration.md)"
    assert problems(path) == [f"{path}: found no such file; wanted {wanted}"]


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert problems(tmp_path) == [f"{tmp_path.name}: found is a directory; wanted a readable TOML file"]


def test_folders_are_meant_beside_the_file_wherever_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top = 'env_file = "local/demo.env"\ncapabilities = "moves"\n' + STRANGLER.replace(
        "[proxy]", '[proxy]\nstate = "var/state"\naccess_log = "var/access.jsonl"'
    )
    write(tmp_path / "shop", {"strangler.toml": top, "local/demo.env": "REDIS_URL=redis://beside"})
    (tmp_path / "shop/migrations").rename(tmp_path / "shop/moves")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    project = load(Path("../shop/strangler.toml"), {**ENV, "REDIS_URL": ""})
    assert project.root == tmp_path / "shop"
    assert project.proxy.state == tmp_path / "shop/var/state"
    assert project.proxy.access_log == str(tmp_path / "shop/var/access.jsonl")
    assert project.capabilities["catalog"].folder == tmp_path / "shop/moves/catalog"
    assert project.control.redis.reveal() == "redis://beside"


def test_an_access_log_may_be_standard_output(tmp_path: Path) -> None:
    top = STRANGLER.replace("[proxy]", '[proxy]\naccess_log = "-"')
    assert load(write(tmp_path, {"strangler.toml": top}), ENV).proxy.access_log == "-"


def test_a_folder_outside_is_named_in_full(tmp_path: Path) -> None:
    write(tmp_path / "moves", {"bad/capability.toml": ""})
    top = f'capabilities = "{tmp_path / "moves"}"\n{STRANGLER}'
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/strangler.toml").write_text(top)
    file = tmp_path / "moves/bad/capability.toml"
    assert problems(tmp_path / "shop/strangler.toml") == [
        f"{file}: service: found nothing; wanted the name of a [service.NAME] in strangler.toml",
        f"{file}: [[route]]: found nothing; wanted at least one route",
    ]


def test_without_a_folder_of_capabilities_nothing_moves_yet(tmp_path: Path) -> None:
    (tmp_path / "strangler.toml").write_text(STRANGLER)
    project = load(tmp_path / "strangler.toml", ENV)
    assert project.capabilities == {}
    assert project.bootstrap_table().capabilities == ()


def test_with_nothing_ever_decided_every_capability_is_at_its_owner(tmp_path: Path) -> None:
    files = {"migrations/search/capability.toml": 'service = "catalog"\n[[route]]\npath = "/search"\n'}
    project = load(write(tmp_path, files), ENV)
    table = project.bootstrap_table()
    assert (table.version, dict(table.upstreams)) == (0, project.upstreams)
    assert [(each.name, each.state) for each in table.capabilities] == [
        ("catalog", State(data=Data.ABSENT)),
        ("search", State(data=Data.NONE)),
    ]
    assert table.capabilities[1] == Capability(
        name="search", service="catalog", routes=(Route(path="/search"),), state=State(data=Data.NONE)
    )


def test_the_network_of_a_balancer_is_a_network(tmp_path: Path) -> None:
    top = STRANGLER.replace("[proxy]", '[proxy]\ntrusted = ["10.0.0.0/8", "2001:db8::/32", "192.0.2.7"]')
    trusted = load(write(tmp_path, {"strangler.toml": top}), ENV).proxy.trusted
    assert trusted == tuple(map(ip_network, ("10.0.0.0/8", "2001:db8::/32", "192.0.2.7/32")))


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://127.0.0.1:1",
        "http://[::1]:8001",
        "http://[::1]",
        "http://shop",
        "http://shop.example:65535/",
        "https://shop",
        "unix:/run/shop.sock",
    ],
)
def test_an_endpoint_is_a_host_and_perhaps_a_port_or_a_socket(endpoint: str, tmp_path: Path) -> None:
    top = STRANGLER.replace("http://127.0.0.1:8001", endpoint)
    assert load(write(tmp_path, {"strangler.toml": top}), ENV).monolith.endpoints == (endpoint,)


@pytest.mark.parametrize(
    ("endpoint", "reason"),
    [
        ("127.0.0.1:8001", "it begins with none of http://, https:// and unix:"),
        ("http://", "there is no host"),
        ("http://:8001", "there is no host"),
        ("http://shop:", "its port is no number"),
        ("http://shop:0", "nobody can be reached at port 0"),
        ("http://shop:65536", "its port is beyond 65535"),
        ("http://shop:8001:8002", "an IPv6 address stands in brackets"),
        ("http://shop?x", "it has more than a host and a port"),
        ("http://shop#x", "it has more than a host and a port"),
        ("http://me@shop", "it has a user"),
        ("http://shop shop", "its host is no name"),
        ("http://shop:٨", "its port is no number"),
        ("ftp://shop", "it begins with none of http://, https:// and unix:"),
        ("http://[::1", "an IPv6 address stands in brackets"),
        ("unix:shop.sock", "a Unix socket's path begins with /"),
    ],
)
def test_anything_else_is_no_endpoint(endpoint: str, reason: str, tmp_path: Path) -> None:
    top = STRANGLER.replace("http://127.0.0.1:8001", endpoint)
    (problem,) = problems(write(tmp_path, {"strangler.toml": top}))
    shown = "http://***@shop" if "@" in endpoint else endpoint
    wanted = 'addresses such as ["http://127.0.0.1:8001"], ["https://shop.internal"] or ["unix:/run/shop.sock"]'
    assert problem == f"strangler.toml: [monolith] endpoints: found {shown!r} ({reason}); wanted {wanted}"


def test_routes_of_two_capabilities_may_nest_and_differ_by_conditions(tmp_path: Path) -> None:
    reviews = """\
service = "catalog"
[[route]]
path = "/api/catalog/reviews"
[[route]]
path = "/api/catalog"
methods = ["POST"]
[[route]]
path = "/api/{name}"
[[route]]
path = "/{lang}/products"
host = "b2b.shop.example"
"""
    project = load(write(tmp_path, {"migrations/reviews/capability.toml": reviews}), ENV)
    assert sorted(project.capabilities) == ["catalog", "reviews"]


def test_what_was_born_in_its_service_is_owned_by_it(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        {"migrations/wishes/capability.toml": 'service = "catalog"\nborn = "service"\n[[route]]\npath = "/wishes"\n'},
    )
    state = load(path, ENV).bootstrap_table().capabilities[1].state
    assert state == BORN
    assert (state.owner, state.share, state.reads_leave_owner) == (Stack.SERVICE, 10_000, False)


def test_several_capabilities_may_refer_to_a_table_that_one_has(tmp_path: Path) -> None:
    mapping = MAPPING.replace("catalog_product", "reviews_review").replace('"product"', '"review"')
    path = write(
        tmp_path,
        {
            "migrations/reviews/capability.toml": 'service = "catalog"\n[[route]]\npath = "/reviews"\n',
            "migrations/reviews/mapping.toml": mapping + REFERENCE,
        },
    )
    reference, review = load(path, ENV).capabilities["reviews"].tables
    assert (reference.reference, reference.source, reference.forward) == (True, "catalog_product", {"name": "name"})
    assert (review.reference, review.source) == (False, "reviews_review")


def test_two_services_may_each_have_a_table_of_one_name(tmp_path: Path) -> None:
    files = {
        "strangler.toml": STRANGLER + '[service.reviews]\nendpoints = ["http://127.0.0.1:8102"]\n',
        "migrations/reviews/capability.toml": 'service = "reviews"\n[[route]]\npath = "/api/reviews"\n',
        "migrations/reviews/mapping.toml": MAPPING.replace("catalog_product", "reviews_product"),
    }
    assert len(load(write(tmp_path, files), ENV).capabilities) == 2


def test_the_environment_of_the_process_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENV.items():
        monkeypatch.setenv(name, value)
    assert load(write(tmp_path)).control.redis.reveal() == os.environ["REDIS_URL"]


@pytest.mark.parametrize(
    ("text", "endpoint", "sample"),
    [
        ('endpoint = "http://127.0.0.1:4318"', "http://127.0.0.1:4318/v1/traces", 0.01),
        ('endpoint = "https://collector.test/"\nsample = 1', "https://collector.test/v1/traces", 1.0),
        ('endpoint = "http://$HOST/otlp"\nsample = 0.0', "http://collector.test/otlp", 0.0),
    ],
)
def test_a_collector_has_the_usual_path_unless_it_says_one(
    text: str, endpoint: str, sample: float, tmp_path: Path
) -> None:
    files = {"strangler.toml": f"{STRANGLER}\n[proxy.tracing]\n{text}\n"}
    project = load(write(tmp_path, files), {**ENV, "HOST": "collector.test"})
    assert project.proxy.tracing == Tracing(endpoint=endpoint, sample=sample)
    assert not project.proxy.server_timing


def test_what_refers_to_a_table_is_loaded_with_it(tmp_path: Path) -> None:
    entry = """[[{0}.referred_by]]
table = '{1}'
columns = {2}
stack = "{3}"
on_delete = "{4}"
"""
    text = (
        REFERENCE
        + entry.format("reference", "wish", '"product_id"', "service", "cascade")
        + MAPPING
        + entry.format("table", 'stock."order line"', '["product_id", "Shop"]', "monolith", "set null")
        + entry.format("table", "reviews_review", '["product_id"]', "monolith", "restrict")
    )
    loaded = load(write(tmp_path, {"migrations/catalog/mapping.toml": text}), ENV)
    assert [each.referred_by for each in loaded.capabilities["catalog"].tables] == [
        (Referred(by="wish", columns=("product_id",), stack=Stack.SERVICE, on_delete=OnDelete.CASCADE),),
        (
            Referred(
                by='stock."order line"',
                columns=("product_id", "Shop"),
                stack=Stack.MONOLITH,
                on_delete=OnDelete.SET_NULL,
            ),
            Referred(by="reviews_review", columns=("product_id",), stack=Stack.MONOLITH, on_delete=OnDelete.RESTRICT),
        ),
    ]


def test_a_capability_says_what_runs_for_it_beside_its_routes(tmp_path: Path) -> None:
    reviews = """service = "catalog"
tasks = ["reviews.*", "catalog.recount"]
commands = "import_reviews"
[[route]]
path = "/api/reviews"
"""
    files = {
        "migrations/catalog/capability.toml": """tasks = ["catalog.tasks.*", "import_reviews"]
applications = ["price-feed"]
"""
        + CAPABILITY,
        "migrations/reviews/capability.toml": reviews,
    }
    loaded = load(write(tmp_path, files), ENV).capabilities
    assert [(each.tasks, each.commands, each.applications) for each in loaded.values()] == [
        (("catalog.tasks.*", "import_reviews"), (), ("price-feed",)),
        (("reviews.*", "catalog.recount"), ("import_reviews",), ()),
    ]


@pytest.mark.parametrize(
    "contact", ["shop@example.com", "https://example.com/on-call", "tel:+49-30-1234", "+49 30 1234", "#storefront", ""]
)
def test_a_capability_says_who_looks_after_it(tmp_path: Path, contact: str) -> None:
    said = f'team = "Storefront"\ncontact = "{contact}"\n'
    files = {"migrations/catalog/capability.toml": said + CAPABILITY}
    team = load(write(tmp_path, files), ENV).capabilities["catalog"].team
    assert team == Team(name="Storefront", contact=contact)
    assert str(team) == (f"Storefront, {contact}" if contact else "Storefront")
