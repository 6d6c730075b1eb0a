"""Broken project files: each gives one message, compared whole."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from strangler.project import ProjectInvalid, load
from tests.fixtures.project_files import CAPABILITY, ENV, MAPPING, PASSWORD, REFERENCE, STRANGLER, write

TOP, CATALOG, TABLES = "strangler.toml", "migrations/catalog/capability.toml", "migrations/catalog/mapping.toml"
REVIEWS, REVIEW_TABLES = "migrations/reviews/capability.toml", "migrations/reviews/mapping.toml"
ROUTE, COHORT = "[[route]]", "[[cohort]]"
Files = Mapping[str, str | bytes]


def top(old: str, new: str) -> Files:
    assert old in STRANGLER
    return {TOP: STRANGLER.replace(old, new)}


def capability(old: str, new: str) -> Files:
    assert old in CAPABILITY
    return {CATALOG: CAPABILITY.replace(old, new)}


def cohort(text: str) -> Files:
    return {CATALOG: CAPABILITY[: CAPABILITY.index("[[cohort]]")] + "[[cohort]]\n" + text}


def monolith(text: str) -> Files:
    return top("[control]", f"{text}\n[control]")


def protect(text: str) -> Files:
    return {CATALOG: CAPABILITY + f"[protect]\n{text}\n"}


def route(text: str) -> Files:
    return capability('path = "/api/catalog"', text)


def tracing(text: str) -> Files:
    return top("[service.catalog]", f"[proxy.tracing]\n{text}\n[service.catalog]")


def rate(text: str) -> Files:
    return top("[service.catalog]", f"[proxy.rates.login]\n{text}\n[service.catalog]")


def mapping(old: str, new: str) -> Files:
    assert old in MAPPING
    return {TABLES: MAPPING.replace(old, new)}


def reviews(path: str = "/api/reviews", table: str | None = None) -> Files:
    files = {REVIEWS: f'service = "catalog"\n[[route]]\npath = "{path}"\n'}
    if table is not None:
        files[REVIEW_TABLES] = MAPPING.replace('"catalog_product"', f'"{table}"').replace('"product"', '"review"')
    return files


REVIEWING = 'service = "catalog"\n[[route]]\npath = "/api/reviews"\n'
REFERRED = """
[[table.referred_by]]
table = "notes_note"
columns = ["product_id"]
stack = "monolith"
on_delete = "set null"
"""


REACTION = """
[[table.reaction]]
name = "shelf"
stack = "monolith"
columns = ["is_active"]
"""


def reacting(old: str, new: str) -> Files:
    assert old in REACTION
    return {TABLES: MAPPING + REACTION.replace(old, new, 1)}


OF_SHELF = f"{TABLES}: [[table]] 1 [[reaction]] 1"
SIBLING = MAPPING.replace('"product"', '"product_text"').partition("[table.reverse]")[0]


def referred(old: str, new: str) -> Files:
    assert old in REFERRED
    return {TABLES: MAPPING + REFERRED.replace(old, new, 1)}


OF_NOTES = f"{TABLES}: [[table]] 1 [[referred_by]] 1"
ADDRESSES = 'addresses such as ["http://127.0.0.1:8001"], ["https://shop.internal"] or ["unix:/run/shop.sock"]'
LISTEN = 'an address such as "127.0.0.1:8000", "[::]:8000", "tls:[::]:8443" or "unix:/run/shop.sock"'
PEM = "the path of a PEM file"
ADMIN = 'an address such as "127.0.0.1:8900" or "[::1]:8900"'
POSTGRES = 'a variable holding a postgresql:// URL, as in "$NAME"; left out for any other database: routing only'
SECRET = 'a variable holding at least 32 random bytes, as in "$NAME"'
COLLECTOR = 'a collector\'s address such as "http://127.0.0.1:4318/v1/traces"'
NETWORKS = 'networks such as ["10.0.0.0/8"]'
A_PATH = 'a path such as "/api/catalog" or "/{lang}/products"'
NAME = "lower-case letters, digits, - and _, starting with a letter"
HOST = 'a host name such as "shop.example.com", without port'
HEADER = 'a header as in "X-Api-Version: 2"'
A_TABLE = 'table\'s name such as "catalog_product" or "public.catalog_product"'
KEY = 'the key\'s columns, as in { id = "id" } (target = source)'
A_SERVICE = "the name of a [service.NAME] in strangler.toml"
ONE_OWNER = "a table in one capability only: write ownership cannot be shared"
APART = "a route for one capability only, or conditions that tell them apart"
VARIABLE = 'a variable, as in "$NAME"'
A_COUNT = "a whole number from 1 to 1000000"
SECONDS = "seconds from 0.001 to 86400"
A_COMMAND = 'the words of a command such as ["python", "manage.py"]'
NAMES = "up to 100 letters, digits and _ . : / -, and * at the end where it is a beginning"
TEAM = 'a team\'s name of at most 100 characters, such as "Storefront"'
CONTACT = 'where the team is reached: an address of mail, a URL, a number or a "#channel"'
TASKS = 'names of tasks such as ["reviews.tasks.recount", "reviews.jobs.*"]'
COMMANDS = 'names of management commands such as ["import_reviews"]'
ONE_PLACE = "a name in one capability only: it runs where that one's owner is"
REACH_KEYS = (
    "connect_timeout, connections, database, endpoints, first_byte_timeout, health, health_interval, health_timeout, "
    "pending, requests, resolve, total_timeout"
)

CASES: dict[str, tuple[Files, str]] = {
    "bad TOML": (
        {TOP: "[monolith\n"},
        f"{TOP}: found a mistake in the TOML: Expected ']' at the end of a table declaration (at line 1, column 10); "
        "wanted valid TOML",
    ),
    "not UTF-8": (
        {TOP: b'name = "k\xe4se"\n'},
        f"{TOP}: found 'utf-8' codec can't decode byte 0xe4 in position 9: invalid continuation byte; wanted UTF-8",
    ),
    "bad TOML in a capability": (
        {CATALOG: "service ="},
        f"{CATALOG}: found a mistake in the TOML: Invalid value (at end of document); wanted valid TOML",
    ),
    "a mapping that is not UTF-8": (
        {TABLES: b"\xff"},
        f"{TABLES}: found 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte; wanted UTF-8",
    ),
    "missing section": (
        top('[monolith]\nendpoints = ["http://127.0.0.1:8001"]\ndatabase = "$MONOLITH_DATABASE_URL"\n', ""),
        f"{TOP}: [monolith] endpoints: found nothing; wanted {ADDRESSES}",
    ),
    "missing key": (
        top('endpoints = ["http://127.0.0.1:8001"]\n', ""),
        f"{TOP}: [monolith] endpoints: found nothing; wanted {ADDRESSES}",
    ),
    "misspelt key that is needed": (
        top('endpoints = ["http://127.0.0.1:8001"]', 'endpoint = ["http://127.0.0.1:8001"]'),
        f"{TOP}: [monolith]: found unknown key 'endpoint'; wanted 'endpoints' perhaps",
    ),
    "misspelt key that is optional": (
        top("listen", "lisen"),
        f"{TOP}: [proxy]: found unknown key 'lisen'; wanted 'listen' perhaps",
    ),
    "unknown key": (
        top("[proxy]", "[proxy]\nzzz = 1"),
        f"{TOP}: [proxy]: found unknown key 'zzz'; wanted one of access_log, admin, limits, listen, proxy_protocol, "
        "rates, server_timing, shed, socket_mode, state, timeouts, tls, tracing, trusted, workers",
    ),
    "a loop that is early": (
        top("[service.catalog]", "[proxy.shed]\nlateness = -1\n[service.catalog]"),
        f"{TOP}: [proxy.shed] lateness: found -1; wanted seconds to 86400, or 0 for however late",
    ),
    "no request at all": (
        top("[service.catalog]", "[proxy.shed]\nin_flight = 0\n[service.catalog]"),
        f"{TOP}: [proxy.shed] in_flight: found 0; wanted a whole number from 1 to 1000000000",
    ),
    "unknown key of shedding": (
        top("[service.catalog]", "[proxy.shed]\nlatness = 1\n[service.catalog]"),
        f"{TOP}: [proxy.shed]: found unknown key 'latness'; wanted 'lateness' perhaps",
    ),
    "a rate of nothing": (
        rate(""),
        f"{TOP}: [proxy.rates.login] requests: found nothing; wanted {A_COUNT}",
    ),
    "a rate of no requests": (
        rate("requests = 0"),
        f"{TOP}: [proxy.rates.login] requests: found 0; wanted {A_COUNT}",
    ),
    "a rate in no time": (
        rate("requests = 1\nper = 0"),
        f"{TOP}: [proxy.rates.login] per: found 0; wanted {SECONDS}",
    ),
    "a rate without a burst": (
        rate("requests = 1\nburst = 0"),
        f"{TOP}: [proxy.rates.login] burst: found 0; wanted {A_COUNT}",
    ),
    "a rate of an unknown capability": (
        rate('requests = 1\ncapability = "shelf"'),
        f"{TOP}: [proxy.rates.login] capability: found 'shelf'; wanted one of catalog",
    ),
    "a rate of a small method": (
        rate('requests = 1\nmethods = ["post"]'),
        f"{TOP}: [proxy.rates.login] methods: found 'post'; wanted methods in capitals such as [\"POST\"]",
    ),
    "a rate by something else": (
        rate('requests = 1\nby = "cookie"'),
        f"{TOP}: [proxy.rates.login] by: found 'cookie'; wanted one of address, credential",
    ),
    "a rate that is shared by a word": (
        rate('requests = 1\nshared = "yes"'),
        f"{TOP}: [proxy.rates.login] shared: found 'yes'; wanted true or false",
    ),
    "unknown key of a rate": (
        rate("requests = 1\nbursts = 1"),
        f"{TOP}: [proxy.rates.login]: found unknown key 'bursts'; wanted 'burst' perhaps",
    ),
    "a rate that is no table": (
        top("[service.catalog]", "[proxy.rates]\nlogin = 10\n[service.catalog]"),
        f"{TOP}: [proxy.rates] login: found 10; wanted a table [proxy.rates.login]",
    ),
    "a rate with a name that is none": (
        top("[service.catalog]", '[proxy.rates."Log in"]\nrequests = 1\n[service.catalog]'),
        f"{TOP}: [proxy.rates]: found a rate named 'Log in'; wanted a name of {NAME}",
    ),
    "a time that nobody would wait": (
        top("[proxy]", "[proxy.timeouts]\nconnect = 0\n[proxy]"),
        f"{TOP}: [proxy.timeouts] connect: found 0; wanted seconds from 0.001 to 86400",
    ),
    "a limit that is no number": (
        top("[proxy]", '[proxy.limits]\nconnections = "many"\n[proxy]'),
        f"{TOP}: [proxy.limits] connections: found 'many'; wanted a whole number from 1 to 1000000000",
    ),
    "a limit that leaves no head": (
        top("[proxy]", "[proxy.limits]\nrequest_headers = 60\n[proxy]"),
        f"{TOP}: [proxy.limits] request_headers: found 60; wanted a whole number from 1024 to 1000000000",
    ),
    "a limit that there is not": (
        top("[proxy]", "[proxy.limits]\nconnection = 1\n[proxy]"),
        f"{TOP}: [proxy.limits]: found unknown key 'connection'; wanted 'connections' perhaps",
    ),
    "server_timing that is neither true nor false": (
        top("[proxy]", '[proxy]\nserver_timing = "on"'),
        f"{TOP}: [proxy] server_timing: found 'on'; wanted true or false",
    ),
    "tracing without a collector": (
        tracing("sample = 0.5"),
        f"{TOP}: [proxy.tracing] endpoint: found nothing; wanted {COLLECTOR}",
    ),
    "a collector of another protocol": (
        tracing('endpoint = "grpc://127.0.0.1:4317"'),
        f"{TOP}: [proxy.tracing] endpoint: found 'grpc://127.0.0.1:4317' "
        f"(it begins with neither http:// nor https://); wanted {COLLECTOR}",
    ),
    "a collector with a password": (
        tracing(f'endpoint = "https://me:{PASSWORD}@127.0.0.1"'),
        f"{TOP}: [proxy.tracing] endpoint: found 'https://***@127.0.0.1' "
        f"(it has a user; what proves who sends goes into OTEL_EXPORTER_OTLP_HEADERS); wanted {COLLECTOR}",
    ),
    "a collector without a host": (
        tracing('endpoint = "http:///v1/traces"'),
        f"{TOP}: [proxy.tracing] endpoint: found 'http:///v1/traces' (nobody can be reached there); wanted {COLLECTOR}",
    ),
    "more than all requests": (
        tracing('endpoint = "http://127.0.0.1"\nsample = 1.5'),
        f"{TOP}: [proxy.tracing] sample: found 1.5; wanted a part of the requests from 0 to 1",
    ),
    "a share of requests that is text": (
        tracing('endpoint = "http://127.0.0.1"\nsample = "1%"'),
        f"{TOP}: [proxy.tracing] sample: found '1%'; wanted a part of the requests from 0 to 1",
    ),
    "unknown key of tracing": (
        tracing('endpoint = "http://127.0.0.1"\nsampel = 0.5'),
        f"{TOP}: [proxy.tracing]: found unknown key 'sampel'; wanted 'sample' perhaps",
    ),
    "tracing that is no table": (
        top("[proxy]", "[proxy]\ntracing = true"),
        f"{TOP}: [proxy] tracing: found true; wanted a table [proxy.tracing]",
    ),
    "unknown section": (
        top("[proxy]", "[colour]\n[proxy]"),
        f"{TOP}: found unknown key 'colour'; "
        "wanted one of capabilities, control, env_file, identity, monolith, proxy, service, sync",
    ),
    "endpoint of another scheme": (
        top("http://127.0.0.1:8001", "ftp://127.0.0.1:8001"),
        f"{TOP}: [monolith] endpoints: found 'ftp://127.0.0.1:8001' "
        f"(it begins with none of http://, https:// and unix:); wanted {ADDRESSES}",
    ),
    "endpoint with a path": (
        top("http://127.0.0.1:8101", "http://127.0.0.1:8101/api"),
        f"{TOP}: [service.catalog] endpoints: found 'http://127.0.0.1:8101/api' "
        f"(it has more than a host and a port); wanted {ADDRESSES}",
    ),
    "endpoint with a port beyond": (
        top("http://127.0.0.1:8101", "http://127.0.0.1:80101"),
        f"{TOP}: [service.catalog] endpoints: found 'http://127.0.0.1:80101' "
        f"(its port is beyond 65535); wanted {ADDRESSES}",
    ),
    "endpoint whose socket has no whole path": (
        top("http://127.0.0.1:8101", "unix:shop.sock"),
        f"{TOP}: [service.catalog] endpoints: found 'unix:shop.sock' "
        f"(a Unix socket's path begins with /); wanted {ADDRESSES}",
    ),
    "endpoint with a password": (
        top("http://127.0.0.1:8101", f"http://me:{PASSWORD}/@127.0.0.1:8101"),
        f"{TOP}: [service.catalog] endpoints: found 'http://***@127.0.0.1:8101' "
        f"(it has more than a host and a port); wanted {ADDRESSES}",
    ),
    "no endpoint in the list": (
        top('["http://127.0.0.1:8001"]', "[]"),
        f"{TOP}: [monolith] endpoints: found []; wanted {ADDRESSES}",
    ),
    "empty endpoint": (
        top('["http://127.0.0.1:8001"]', '[""]'),
        f"{TOP}: [monolith] endpoints: found ['']; wanted {ADDRESSES}",
    ),
    "endpoint of the wrong type": (
        top('["http://127.0.0.1:8001"]', "8001"),
        f"{TOP}: [monolith] endpoints: found 8001; wanted {ADDRESSES}",
    ),
    "endpoint with an unset variable": (
        top("http://127.0.0.1:8001", "http://$SHOP_HOST:8001"),
        f"{TOP}: [monolith] endpoints: found http://$SHOP_HOST:8001, and SHOP_HOST is not set; wanted {ADDRESSES}",
    ),
    "endpoint that is a secret": (
        top('["http://127.0.0.1:8001"]', '"$MONOLITH_DATABASE_URL"'),
        f"{TOP}: [monolith] endpoints: found $MONOLITH_DATABASE_URL, whose value does not fit (not shown); "
        f"wanted {ADDRESSES}",
    ),
    "secret written out": (
        top("$STRANGLER_SECRET", PASSWORD),
        f"{TOP}: [control] secret: found a secret written into the file; wanted {VARIABLE}",
    ),
    "secret written out as a default": (
        top("$STRANGLER_SECRET", f"${{STRANGLER_SECRET:-{PASSWORD}}}"),
        f"{TOP}: [control] secret: found a secret written into the file; wanted {VARIABLE}",
    ),
    "secret of the wrong type": (
        top('"$STRANGLER_SECRET"', f'["{PASSWORD}"]'),
        f"{TOP}: [control] secret: found a value that is no text (not shown); wanted {SECRET}",
    ),
    "secret that is too short": (
        top("$STRANGLER_SECRET", "$SHORT"),
        f"{TOP}: [control] secret: found $SHORT, whose value does not fit (not shown); wanted {SECRET}",
    ),
    "second secret written out": (
        top('secret = "$STRANGLER_SECRET"', f'secret = "$STRANGLER_SECRET"\nsecond_secret = "{PASSWORD}"'),
        f"{TOP}: [control] second_secret: found a secret written into the file; wanted {VARIABLE}",
    ),
    "second secret that is too short": (
        top('secret = "$STRANGLER_SECRET"', 'secret = "$STRANGLER_SECRET"\nsecond_secret = "$SHORT"'),
        f"{TOP}: [control] second_secret: found $SHORT, whose value does not fit (not shown); wanted {SECRET}",
    ),
    "password in a URL": (
        top("$MONOLITH_DATABASE_URL", f"postgresql://sync:{PASSWORD}@127.0.0.1/shop"),
        f"{TOP}: [monolith] database: found a secret written into the file; wanted {VARIABLE}",
    ),
    "password with a slash in a URL": (
        top("$MONOLITH_DATABASE_URL", f"postgresql://sync:a/{PASSWORD}@127.0.0.1/shop"),
        f"{TOP}: [monolith] database: found a secret written into the file; wanted {VARIABLE}",
    ),
    "password among a URL's parameters": (
        top("$MONOLITH_DATABASE_URL", f"postgresql://127.0.0.1/shop?user=sync&password={PASSWORD}"),
        f"{TOP}: [monolith] database: found a secret written into the file; wanted {VARIABLE}",
    ),
    "password in a variable's default": (
        top("$MONOLITH_DATABASE_URL", f"${{MONOLITH:-postgresql://sync:{PASSWORD}@127.0.0.1/shop}}"),
        f"{TOP}: [monolith] database: found a secret written into the file; wanted {VARIABLE}",
    ),
    "database of another kind": (
        top("$CATALOG_DATABASE_URL", "mysql://127.0.0.1/catalog"),
        f"{TOP}: [service.catalog] database: found a value that does not fit (not shown); wanted {POSTGRES}",
    ),
    "redis that is a database": (
        top("$REDIS_URL", "$CATALOG_DATABASE_URL"),
        f"{TOP}: [control] redis: found $CATALOG_DATABASE_URL, whose value does not fit (not shown); "
        'wanted a variable holding a redis:// URL, as in "$NAME"',
    ),
    "service called monolith": (
        top("[service.catalog]", '[service.monolith]\nendpoints = ["http://127.0.0.1:1"]\n[service.catalog]'),
        f"{TOP}: [service]: found a service named 'monolith'; wanted a name of {NAME}, other than 'monolith'",
    ),
    "service with a name in capitals": (
        top("[service.catalog]", '[service.Shelf]\nendpoints = ["http://127.0.0.1:1"]\n[service.catalog]'),
        f"{TOP}: [service]: found a service named 'Shelf'; wanted a name of {NAME}, other than 'monolith'",
    ),
    "service that is no table": (
        top("[service.catalog]", "[service]\nshelf = 8102\n[service.catalog]"),
        f"{TOP}: [service] shelf: found 8102; wanted a table [service.shelf]",
    ),
    "section that is no table": (
        {TOP: "proxy = true\n" + STRANGLER.replace('[proxy]\nlisten = ["127.0.0.1:8000"]\n', "")},
        f"{TOP}: proxy: found true; wanted a table [proxy]",
    ),
    "workers beyond": (
        top("[proxy]", "[proxy]\nworkers = 65"),
        f"{TOP}: [proxy] workers: found 65; wanted a whole number from 1 to 64",
    ),
    "workers as text": (
        top("[proxy]", '[proxy]\nworkers = "2"'),
        f"{TOP}: [proxy] workers: found '2'; wanted a whole number from 1 to 64",
    ),
    "workers true": (
        top("[proxy]", "[proxy]\nworkers = true"),
        f"{TOP}: [proxy] workers: found true; wanted a whole number from 1 to 64",
    ),
    "listen without a port": (
        top("127.0.0.1:8000", "127.0.0.1"),
        f"{TOP}: [proxy] listen: found '127.0.0.1' (there is no port); wanted {LISTEN}",
    ),
    "listen on IPv6 without brackets": (
        top("127.0.0.1:8000", "::1:8000"),
        f"{TOP}: [proxy] listen: found '::1:8000' (an IPv6 address stands in brackets); wanted {LISTEN}",
    ),
    "listen on any address": (
        top("127.0.0.1:8000", ":8000"),
        f"{TOP}: [proxy] listen: found ':8000' (there is no host); wanted {LISTEN}",
    ),
    "listen on any port": (
        top("127.0.0.1:8000", "127.0.0.1:0"),
        f"{TOP}: [proxy] listen: found '127.0.0.1:0' (nobody would know which port 0 becomes); wanted {LISTEN}",
    ),
    "listen on a socket with too long a path": (
        top("127.0.0.1:8000", f"unix:/{'a' * 107}"),
        f"{TOP}: [proxy] listen: found 'unix:/{'a' * 70}... "
        f"(a Unix socket's path has 107 bytes at most); wanted {LISTEN}",
    ),
    "listen twice on one address": (
        top(
            '["127.0.0.1:8000"]',
            '["127.0.0.1:8000", "[::]:80", "tls:127.0.0.1:8000"]\n[proxy.tls]\ncertificate = "a"\nkey = "b"',
        ),
        f"{TOP}: [proxy] listen: found 127.0.0.1:8000 twice; wanted an address for each",
    ),
    "listen on every address twice": (
        top('["127.0.0.1:8000"]', '["0.0.0.0:8000", "[::]:8000"]'),
        f"{TOP}: [proxy] listen: found [::]:8000 and 0.0.0.0:8000; wanted [::]:8000 alone: it takes IPv4 too",
    ),
    "listen with TLS without a certificate": (
        top("127.0.0.1:8000", "tls:127.0.0.1:8000"),
        f"{TOP}: [proxy.tls] certificate: found nothing; wanted {PEM}, since listen has a tls: address",
    ),
    "certificate that nobody is shown": (
        top("[service.catalog]", '[proxy.tls]\ncertificate = "shop.pem"\nkey = "shop.key"\n[service.catalog]'),
        f"{TOP}: [proxy] listen: found no tls: address; wanted one, or no certificate in [proxy.tls]",
    ),
    "key without a certificate, and TLS": (
        {
            TOP: STRANGLER.replace("127.0.0.1:8000", "tls:127.0.0.1:8000") + '[proxy.tls]\nkey = "shop.key"\n',
        },
        f"{TOP}: [proxy.tls] certificate: found nothing; wanted {PEM}, since there is a key",
    ),
    "certificate without a key": (
        top("[service.catalog]", '[proxy.tls]\ncertificate = "shop.pem"\n[service.catalog]'),
        f"{TOP}: [proxy.tls] key: found nothing; wanted {PEM}, since there is a certificate",
    ),
    "client's key without its certificate": (
        top("[service.catalog]", '[proxy.tls]\nclient_key = "shop.key"\n[service.catalog]'),
        f"{TOP}: [proxy.tls] client_certificate: found nothing; wanted {PEM}, since there is a client_key",
    ),
    "authority of the wrong type": (
        top("[service.catalog]", "[proxy.tls]\nca = true\n[service.catalog]"),
        f"{TOP}: [proxy.tls] ca: found true; wanted {PEM}",
    ),
    "TLS that is no table": (
        top("[proxy]", '[proxy]\ntls = "shop.pem"'),
        f"{TOP}: [proxy] tls: found 'shop.pem'; wanted a table [proxy.tls]",
    ),
    "misspelt file of TLS": (
        top("[service.catalog]", '[proxy.tls]\ncertifcate = "a"\n[service.catalog]'),
        f"{TOP}: [proxy.tls]: found unknown key 'certifcate'; wanted 'certificate' perhaps",
    ),
    "PROXY protocol from anybody": (
        top("[proxy]", "[proxy]\nproxy_protocol = true"),
        f"{TOP}: [proxy] proxy_protocol: found true; wanted {NETWORKS}",
    ),
    "PROXY protocol from a network with host bits": (
        top("[proxy]", '[proxy]\nproxy_protocol = ["10.0.0.1/8"]'),
        f"{TOP}: [proxy] proxy_protocol: found '10.0.0.1/8' (has host bits set); wanted {NETWORKS}",
    ),
    "mode that is none": (
        top("[proxy]", "[proxy]\nsocket_mode = 0o1777"),
        f"{TOP}: [proxy] socket_mode: found 1023; "
        "wanted who may connect to Unix sockets, as a file's mode such as 0o660",
    ),
    "retention that is small": (
        top("[proxy]", "[sync]\nretention = 1000\n[proxy]"),
        f"{TOP}: [sync] retention: found 1000; wanted bytes of WAL, 100,000,000 at least",
    ),
    "metrics on a socket": (
        top("[proxy]", '[sync]\nmetrics = "unix:/run/sync.sock"\n[proxy]'),
        f"{TOP}: [sync] metrics: found 'unix:/run/sync.sock' (it is asked over plain TCP); wanted {ADMIN}",
    ),
    "admin with a port beyond": (
        top("[proxy]", '[proxy]\nadmin = "127.0.0.1:70000"'),
        f"{TOP}: [proxy] admin: found '127.0.0.1:70000' (its port is beyond 65535); wanted {ADMIN}",
    ),
    "admin on a socket": (
        top("[proxy]", '[proxy]\nadmin = "unix:/run/admin.sock"'),
        f"{TOP}: [proxy] admin: found 'unix:/run/admin.sock' (it is asked over plain TCP); wanted {ADMIN}",
    ),
    "network with host bits": (
        top("[proxy]", '[proxy]\ntrusted = ["10.0.0.1/8"]'),
        f"{TOP}: [proxy] trusted: found '10.0.0.1/8' (has host bits set); wanted {NETWORKS}",
    ),
    "identity without a section": (
        {TOP: "identity = true\n" + STRANGLER},
        f"{TOP}: identity: found true; wanted a table [identity]",
    ),
    "identity at an address that others may have": (
        top("[proxy]", '[identity]\nsecret = "$STRANGLER_SECRET"\npath = "/accounts/me/"\n[proxy]'),
        f"{TOP}: [identity] path: found '/accounts/me/'; wanted a path below /.strangler/, "
        'where urls.py has strangler_django, such as "/.strangler/identity/"',
    ),
    "identity with a secret that is too short": (
        top("[proxy]", '[identity]\nsecret = "${NOT_SET:-short}"\n[proxy]'),
        f'{TOP}: [identity] secret: found a secret written into the file; wanted a variable, as in "$NAME"',
    ),
    "identity with a cookie that is none": (
        top("[proxy]", '[identity]\nsecret = "$STRANGLER_SECRET"\nsession_cookie = "a b"\n[proxy]'),
        f"{TOP}: [identity] session_cookie: found 'a b'; wanted the name of the session cookie such as \"sessionid\"",
    ),
    "identity with a permission that is none": (
        top("[proxy]", '[identity]\nsecret = "$STRANGLER_SECRET"\npermissions = ["all"]\n[proxy]'),
        f"{TOP}: [identity] permissions: found 'all'; wanted permissions such as [\"app.change_model\"]",
    ),
    "folder of capabilities that is not there": (
        {TOP: 'capabilities = "moves"\n' + STRANGLER},
        f"{TOP}: capabilities: found 'moves' (there is no such folder); wanted the path of the folder of capabilities",
    ),
    "line of env_file without =": (
        {TOP: 'env_file = "demo.env"\n' + STRANGLER, "demo.env": f"# variables\n\n{PASSWORD}\nA=b=c\n"},
        f"{TOP}: env_file: found line 3 of demo.env, which is no NAME=value; wanted NAME=value",
    ),
    "env_file that is not UTF-8": (
        {TOP: 'env_file = "demo.env"\n' + STRANGLER, "demo.env": b"A=\xff"},
        f"{TOP}: env_file: found demo.env, which cannot be read as UTF-8; wanted a file with NAME=value lines",
    ),
    "NUL in a value": (
        top('"http://127.0.0.1:8001"', '"http://shop\\u0000"'),
        f"{TOP}: [monolith] endpoints: found 'http://shop\\x00' (it holds a NUL); wanted {ADDRESSES}",
    ),
    "number that is too long": (
        top("[proxy]", f"[proxy]\nworkers = 0x{'f' * 5_000}"),
        f"{TOP}: [proxy] workers: found a number too long to show; wanted a whole number from 1 to 64",
    ),
    "unknown service": (
        capability('service = "catalog"', 'service = "catalogue"'),
        f"{CATALOG}: service: found 'catalogue' (there: catalog); wanted {A_SERVICE}",
    ),
    "missing service": (
        capability('service = "catalog"\n', ""),
        f"{CATALOG}: service: found nothing; wanted {A_SERVICE}",
    ),
    "capability with a bad name": (
        {"migrations/Search/capability.toml": 'service = "catalog"\n[[route]]\npath = "/search"\n'},
        f"migrations/Search/capability.toml: found a folder named 'Search'; wanted a capability's name: {NAME}",
    ),
    "no route": (
        {CATALOG: 'service = "catalog"\n'},
        f"{CATALOG}: [[route]]: found nothing; wanted at least one route",
    ),
    "empty list of routes": (
        {CATALOG: 'service = "catalog"\nroute = []\n'},
        f"{CATALOG}: [[route]]: found nothing; wanted at least one route",
    ),
    "one route as a table": (
        {CATALOG: 'service = "catalog"\n[route]\npath = "/x"\n'},
        f"{CATALOG}: route: found {{'path': '/x'}}; wanted tables [[route]]",
    ),
    "route without a path": (
        route('methods = ["GET"]'),
        f"{CATALOG}: [[route]] 1 path: found nothing; wanted {A_PATH}",
    ),
    "relative path": (
        route('path = "api"'),
        f"{CATALOG}: [[route]] 1 path: found 'api' (a path starts with /); wanted {A_PATH}",
    ),
    "path with a wildcard within a segment": (
        route('path = "/api/x{id}"'),
        f"{CATALOG}: [[route]] 1 path: found '/api/x{{id}}' "
        f"(segment 'x{{id}}' is neither literal nor a {{name}}); wanted {A_PATH}",
    ),
    "path with a name twice": (
        route('path = "/{a}/{a}"'),
        f"{CATALOG}: [[route]] 1 path: found '/{{a}}/{{a}}' (a {{name}} stands twice); wanted {A_PATH}",
    ),
    "method in small letters": (
        route('path = "/a"\nmethods = ["get"]'),
        f"{CATALOG}: [[route]] 1 methods: found 'get'; wanted methods in capitals such as [\"GET\"]",
    ),
    "bad kind": (
        route('path = "/a"\nkind = "read"'),
        f'{CATALOG}: [[route]] 1 kind: found \'read\'; wanted "reads" or "writes"',
    ),
    "host with a port": (
        route('path = "/a"\nhost = "shop.example:80"'),
        f"{CATALOG}: [[route]] 1 host: found 'shop.example:80'; wanted {HOST}",
    ),
    "header without a value": (
        route('path = "/a"\nheader = "X-Api-Version"'),
        f"{CATALOG}: [[route]] 1 header: found 'X-Api-Version'; wanted {HEADER}",
    ),
    "header whose name is none": (
        route('path = "/a"\nheader = "X Käse: 2"'),
        f"{CATALOG}: [[route]] 1 header: found 'X Käse: 2'; wanted {HEADER}",
    ),
    "routes that overlap": (
        reviews("/api/catalog"),
        f"{REVIEWS}: [[route]] path: found '/api/catalog', which catalog has too (as '/api/catalog'); wanted {APART}",
    ),
    "routes that overlap under other names": (
        reviews("/{language}/products"),
        f"{REVIEWS}: [[route]] path: found '/{{language}}/products', "
        f"which catalog has too (as '/{{lang}}/products'); wanted {APART}",
    ),
    "tasks that are no names": (
        {CATALOG: 'tasks = ["catalog.*.sync"]\n' + CAPABILITY},
        f"{CATALOG}: tasks: found 'catalog.*.sync' ({NAMES}); wanted {TASKS}",
    ),
    "all commands that there are": (
        {CATALOG: 'commands = "*"\n' + CAPABILITY},
        f"{CATALOG}: commands: found '*' ({NAMES}); wanted {COMMANDS}",
    ),
    "a task of two capabilities": (
        {
            CATALOG: 'tasks = ["shop.a", "catalog.*"]\n' + CAPABILITY,
            REVIEWS: 'tasks = ["catalog.tasks.x"]\n' + REVIEWING,
        },
        f"{REVIEWS}: tasks: found 'catalog.tasks.x', which catalog has too (as 'catalog.*'); wanted {ONE_PLACE}",
    ),
    "a command of two capabilities": (
        {
            CATALOG: 'commands = ["import_*"]\n' + CAPABILITY,
            REVIEWS: 'tasks = ["import_x"]\ncommands = ["import_reviews_*"]\n' + REVIEWING,
        },
        f"{REVIEWS}: commands: found 'import_reviews_*', which catalog has too (as 'import_*'); wanted {ONE_PLACE}",
    ),
    "a team of two lines": (
        {CATALOG: 'team = "Store\\nfront"\n' + CAPABILITY},
        f"{CATALOG}: team: found 'Store\\nfront'; wanted {TEAM}",
    ),
    "a contact that reaches nobody": (
        {CATALOG: 'team = "Storefront"\ncontact = "ask around"\n' + CAPABILITY},
        f"{CATALOG}: contact: found 'ask around'; wanted {CONTACT}",
    ),
    "a contact of nobody": (
        {CATALOG: 'contact = "#storefront"\n' + CAPABILITY},
        f"{CATALOG}: team: found nothing, beside a contact; wanted {TEAM}",
    ),
    "cohort without a name": (
        cohort('cookie = "beta"'),
        f"{CATALOG}: [[cohort]] 1 name: found nothing; wanted the cohort's name: {NAME}",
    ),
    "cohort without a source": (
        cohort('name = "beta"\nvalues = ["1"]'),
        f"{CATALOG}: [[cohort]] 1: found no source; wanted exactly one of header, cookie, query, segment, cidr",
    ),
    "cohort with two sources": (
        cohort('name = "beta"\nheader = "X-Beta"\ncookie = "beta"'),
        f"{CATALOG}: [[cohort]] 1: found header and cookie; wanted exactly one of header, cookie, query, segment, cidr",
    ),
    "cohort of a segment that no route has": (
        cohort('name = "beta"\nsegment = "tenant"'),
        f"{CATALOG}: [[cohort]] 1 segment: found 'tenant' (there: lang); wanted a {{name}} that one of the routes has",
    ),
    "cohort of an impossible header": (
        cohort('name = "beta"\nheader = "X Beta"'),
        f"{CATALOG}: [[cohort]] 1 header: found 'X Beta'; wanted the name of a header",
    ),
    "cohort of an empty cookie": (
        cohort('name = "beta"\ncookie = ""'),
        f"{CATALOG}: [[cohort]] 1 cookie: found ''; wanted the name of a cookie",
    ),
    "cohort with a bad network": (
        cohort('name = "office"\ncidr = ["here"]'),
        f"{CATALOG}: [[cohort]] 1 cidr: found 'here' (does not appear to be an IPv4 or IPv6 network); "
        f"wanted {NETWORKS}",
    ),
    "cohort with networks and values": (
        cohort('name = "office"\ncidr = ["10.0.0.0/8"]\nvalues = ["1"]'),
        f"{CATALOG}: [[cohort]] 1 values: found ['1']; wanted no values: a cidr cohort's networks stand in cidr",
    ),
    "two cohorts of one name": (
        cohort('name = "beta"\ncookie = "a"\n[[cohort]]\nname = "beta"\ncookie = "b"'),
        f"{CATALOG}: [[cohort]] name: found 'beta' twice; wanted a name for each",
    ),
    "mapping without a table": (
        {TABLES: "# nothing yet\n"},
        f"{TABLES}: [[table]]: found nothing; wanted at least one table; a capability without tables has no such file",
    ),
    "table without a source": (
        mapping('source = "catalog_product"\n', ""),
        f"{TABLES}: [[table]] 1 source: found nothing; wanted the source {A_TABLE}",
    ),
    "table with a bad name": (
        mapping('target = "product"', 'target = "a.b.c"'),
        f"{TABLES}: [[table]] 1 target: found 'a.b.c'; wanted the target {A_TABLE}",
    ),
    "table without a key": (
        mapping('key = { id = "id" }\n', ""),
        f"{TABLES}: [[table]] 1 key: found nothing; wanted {KEY}",
    ),
    "table with an empty key": (
        mapping('key = { id = "id" }', "key = {}"),
        f"{TABLES}: [[table]] 1 key: found {{}}; wanted {KEY}",
    ),
    "projection of the wrong type": (
        mapping('title = "name"', "title = 7"),
        f"{TABLES}: [[table]] 1 forward: found {{'title': 7}}; "
        "wanted target columns, each with SQL over the source row",
    ),
    "acknowledged without columns": (
        mapping('acknowledged = ["price"]', "acknowledged = 7"),
        f"{TABLES}: [[table]] 1 acknowledged: found 7; wanted columns of the source that need not come back as they"
        ' were, such as ["price"]',
    ),
    "shared files without columns": (
        mapping('shared_files = ["image"]', "shared_files = 7"),
        f"{TABLES}: [[table]] 1 shared_files: found 7; wanted columns of the source whose files both stacks"
        ' reach, such as ["image"]',
    ),
    "referred by no table": (
        referred('table = "notes_note"', 'table = "a.b.c"'),
        f'{OF_NOTES} table: found \'a.b.c\'; wanted the table that refers, such as "notes_note" or "public.notes_note"',
    ),
    "referred by no column": (
        referred('columns = ["product_id"]\n', ""),
        f'{OF_NOTES} columns: found nothing; wanted its columns that refer, in any order, such as ["review_id"]',
    ),
    "a reaction without a name": (
        reacting('name = "shelf"\n', ""),
        f"{OF_SHELF} name: found nothing; wanted the reaction's name: at most 40 lower-case letters, digits, - and _,"
        " starting with a letter",
    ),
    "a reaction in an unknown stack": (
        reacting('"monolith"', '"catalog"'),
        f'{OF_SHELF} stack: found \'catalog\'; wanted "monolith" or "service": in whose database rows are applied,'
        " and where its code runs",
    ),
    "a reaction with an unknown key": (
        reacting("columns", "column"),
        f"{OF_SHELF}: found unknown key 'column'; wanted 'columns' perhaps",
    ),
    "two reactions of one name": (
        {TABLES: MAPPING + REACTION + REACTION.replace("is_active", "price")},
        f"{TABLES}: [[table.reaction]] name: found 'shelf' twice; wanted a name for each",
    ),
    "a reaction in the monolith to what is copied for reading": (
        {TABLES: MAPPING + REFERENCE + REACTION.replace("[[table.", "[[reference.")},
        f"{TABLES}: [[reference]] 1 [[reaction]] 1 stack: found 'monolith'; wanted \"service\": nothing of a reference"
        " is ever applied in the monolith",
    ),
    "a reaction in the monolith, where another table goes back": (
        {TABLES: SIBLING + REACTION + MAPPING},
        f"{TABLES}: [[table.reaction]] stack: found 'shelf' in the monolith under product_text, of which nothing goes"
        " back; wanted it under product, which goes back",
    ),
    "referred nowhere": (
        referred('stack = "monolith"\n', ""),
        f'{OF_NOTES} stack: found nothing; wanted "monolith" or "service": in whose database it refers',
    ),
    "referred in an unknown stack": (
        referred('"monolith"', '"catalog"'),
        f'{OF_NOTES} stack: found \'catalog\'; wanted "monolith" or "service": in whose database it refers',
    ),
    "referred with an unknown policy": (
        referred('"set null"', '"set default"'),
        f'{OF_NOTES} on_delete: found \'set default\'; wanted "restrict" or "set null" or "cascade" or "keep"',
    ),
    "referred with an unknown key": (
        referred("on_delete", "on_update = 1\non_delete"),
        f"{OF_NOTES}: found unknown key 'on_update'; wanted 'on_delete' perhaps",
    ),
    "referred by the same twice": (
        referred("\n[[", REFERRED.replace("notes_note", "public.notes_note") + "\n[["),
        f"{TABLES}: [[table]] 1 [[referred_by]] table: found notes_note (product_id) in the monolith twice; wanted one"
        " answer for each foreign key",
    ),
    "referred by a table of its own": (
        referred('"notes_note"', '"public.catalog_product"'),
        f"{TABLES}: [[table.referred_by]] table: found public.catalog_product (product_id) in the monolith, which this"
        " capability maps itself; wanted a table from outside, or no entry for this one",
    ),
    "referred by a table that has another stream": (
        {**referred('"notes_note"', '"reviews_review"'), **reviews(table="reviews_review")},
        f"{TABLES}: [[table.referred_by]] table: found reviews_review (product_id) in the monolith to set null, which"
        ' reviews maps: its stream would not take that along; wanted "restrict" or "keep" for on_delete',
    ),
    "referred by a table that comes by another stream": (
        {
            TABLES: MAPPING + REFERRED.replace("monolith", "service").replace("notes_note", "review"),
            **reviews(table="reviews_review"),
        },
        f"{TABLES}: [[table.referred_by]] table: found review (product_id) in the service to set null, which"
        ' reviews maps: its stream would not take that along; wanted "restrict" or "keep" for on_delete',
    ),
    "referred by what is copied for reading": (
        {
            TABLES: MAPPING
            + REFERRED.replace("notes_note", "accounts_user")
            + REFERENCE.replace('"catalog_product"', '"accounts_user"')
        },
        f"{TABLES}: [[table.referred_by]] table: found accounts_user (product_id) in the monolith to set null, which"
        ' catalog maps: its stream would not take that along; wanted "restrict" or "keep" for on_delete',
    ),
    "referred in the monolith, where another table goes back": (
        {TABLES: SIBLING + REFERRED + MAPPING},
        f"{TABLES}: [[table.referred_by]] table: found notes_note (product_id) in the monolith under product_text, of"
        " which nothing goes back: no stream deletes its rows there; wanted it under product, which goes back",
    ),
    "reference referred in the monolith": (
        {TABLES: MAPPING + REFERENCE + REFERRED.replace("[[table.", "[[reference.")},
        f"{TABLES}: [[reference]] 1 [[referred_by]] 1 stack: found 'monolith'; wanted \"service\": nothing of a"
        " reference goes back, so that no stream deletes its rows in the monolith",
    ),
    "target twice": (
        {TABLES: MAPPING + MAPPING.replace("catalog_product", "catalog_item").replace('"product"', '"public.product"')},
        f"{TABLES}: [[table]] target: found 'product' twice; wanted one source table for each target",
    ),
    "table in two capabilities": (
        reviews(table="catalog_product"),
        f"{REVIEW_TABLES}: [[table]] source: found 'catalog_product', which catalog maps already; wanted {ONE_OWNER}",
    ),
    "table in two capabilities, once with its schema": (
        reviews(table="public.catalog_product"),
        f"{REVIEW_TABLES}: [[table]] source: found 'catalog_product', which catalog maps already; wanted {ONE_OWNER}",
    ),
    "reference with a way back": (
        {TABLES: MAPPING + REFERENCE + '[reference.reverse]\nusername = "name"\n'},
        f"{TABLES}: [[reference]] 1: found unknown key 'reverse'; wanted one of forward, key, reaction, referred_by,"
        " shared_files, source, target, where",
    ),
    "reference without a key": (
        {TABLES: MAPPING + REFERENCE.replace('key = { id = "id" }\n', "")},
        f"{TABLES}: [[reference]] 1 key: found nothing; wanted {KEY}",
    ),
    "only references": (
        {TABLES: REFERENCE},
        f"{TABLES}: [[table]]: found nothing; wanted at least one table; a capability without tables has no such file",
    ),
    "born nowhere": (
        capability('service = "catalog"', 'service = "catalog"\nborn = "elsewhere"'),
        f"{CATALOG}: born: found 'elsewhere'; wanted one of monolith, service",
    ),
    "born in the service with tables in the monolith": (
        capability('service = "catalog"', 'service = "catalog"\nborn = "service"'),
        f"{CATALOG}: born: found 'service'; wanted \"monolith\", since mapping.toml names tables of it; "
        "or no mapping.toml",
    ),
    "no connections": (monolith("connections = 0"), f"{TOP}: [monolith] connections: found 0; wanted {A_COUNT}"),
    "less than nobody waiting": (
        monolith("pending = -1"),
        f"{TOP}: [monolith] pending: found -1; wanted a whole number from 0 to 1000000",
    ),
    "requests that are no number": (
        monolith('requests = "many"'),
        f"{TOP}: [monolith] requests: found 'many'; wanted {A_COUNT}",
    ),
    "more requests than there are": (
        monolith("requests = 1000001"),
        f"{TOP}: [monolith] requests: found 1000001; wanted {A_COUNT}",
    ),
    "a probe of another place": (
        monolith('health = "http://other/"'),
        f"{TOP}: [monolith] health: found 'http://other/'; wanted a path such as \"/health/ready\"",
    ),
    "a probe that never comes again": (
        monolith('health = "/"\nhealth_interval = 0'),
        f"{TOP}: [monolith] health_interval: found 0; wanted {SECONDS}",
    ),
    "an interval of no probe": (
        monolith("health_interval = 5"),
        f"{TOP}: [monolith] health_interval: found no health beside it; wanted health, the path that is asked for",
    ),
    "a timeout of no probe": (
        monolith("health_timeout = 5"),
        f"{TOP}: [monolith] health_timeout: found no health beside it; wanted health, the path that is asked for",
    ),
    "a probe with all day": (
        monolith('health = "/"\nhealth_timeout = 86401'),
        f"{TOP}: [monolith] health_timeout: found 86401; wanted {SECONDS}",
    ),
    "a timeout that is true": (
        monolith("connect_timeout = true"),
        f"{TOP}: [monolith] connect_timeout: found true; wanted {SECONDS}",
    ),
    "a timeout in words": (
        monolith('first_byte_timeout = "30s"'),
        f"{TOP}: [monolith] first_byte_timeout: found '30s'; wanted {SECONDS}",
    ),
    "a timeout without end": (
        monolith("total_timeout = inf"),
        f"{TOP}: [monolith] total_timeout: found inf; wanted {SECONDS}",
    ),
    "names that are looked up before now": (
        monolith("resolve = -1"),
        f"{TOP}: [monolith] resolve: found -1; wanted {SECONDS}, or 0 to look names up once",
    ),
    "names that are not looked up": (
        monolith("resolve = false"),
        f"{TOP}: [monolith] resolve: found false; wanted {SECONDS}, or 0 to look names up once",
    ),
    "unknown key of a stack": (
        monolith("zzz = 1"),
        f"{TOP}: [monolith]: found unknown key 'zzz'; wanted one of {REACH_KEYS.replace('pending', 'manage, pending')}",
    ),
    "a manage.py that is not said": (
        monolith("[monolith.manage]"),
        f"{TOP}: [monolith.manage] command: found nothing; wanted {A_COMMAND}",
    ),
    "a manage.py that is no words": (
        monolith("[monolith.manage]\ncommand = 7"),
        f"{TOP}: [monolith.manage] command: found 7; wanted {A_COMMAND}",
    ),
    "a variable that no environment has": (
        monolith('[monolith.manage]\ncommand = "x"\nenvironment = { "A-B" = "1" }'),
        f"{TOP}: [monolith.manage.environment]: found a variable named 'A-B'; wanted names of letters, digits and _",
    ),
    "a variable that is no text": (
        monolith('[monolith.manage]\ncommand = "x"\nenvironment = { A = 1 }'),
        f"{TOP}: [monolith.manage.environment] A: found a value that is no text (not shown); wanted a text",
    ),
    "a password among what manage.py is given": (
        monolith('[monolith.manage]\ncommand = "x"\nenvironment = { A = "postgresql://ann:secret@there" }'),
        f"{TOP}: [monolith.manage.environment] A: found a secret written into the file;"
        ' wanted a variable, as in "$NAME"',
    ),
    "a bulkhead that lets nobody through": (
        protect("bulkhead = 0"),
        f"{CATALOG}: [protect] bulkhead: found 0; wanted {A_COUNT}",
    ),
    "a fallback to somebody": (
        protect('fallback = "monolith"'),
        f"{CATALOG}: [protect] fallback: found 'monolith'; wanted true or false",
    ),
    "no time at all": (protect("timeout = 0"), f"{CATALOG}: [protect] timeout: found 0; wanted {SECONDS}"),
    "a lease that ends between two words": (
        protect("lease = 1"),
        f"{CATALOG}: [protect] lease: found 1; wanted seconds from 3.0 to 86400",
    ),
    "unknown protection": (
        protect("zzz = 1"),
        f"{CATALOG}: [protect]: found unknown key 'zzz'; wanted one of bulkhead, fallback, lease, timeout",
    ),
    "a protection that is none": (
        {CATALOG: "protect = true\n" + CAPABILITY},
        f"{CATALOG}: protect: found true; wanted a table [protect]",
    ),
    "two names that a database cannot tell apart": (
        {
            f"migrations/{name}/capability.toml": f'service = "catalog"\n[[route]]\npath = "/{name}"\n'
            for name in ("two-words", "two_words")
        },
        "migrations/two_words: name of the folder: found 'two_words'; wanted one that differs from two-words in more"
        " than hyphens and underscores",
    ),
    "one target filled by two capabilities": (
        {**reviews(), REVIEW_TABLES: MAPPING.replace('"catalog_product"', '"reviews_review"')},
        f"{REVIEW_TABLES}: [[table]] target: found 'product', which catalog maps already; wanted {ONE_OWNER}",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_broken_file_gives_one_message(name: str, tmp_path: Path) -> None:
    files, message = CASES[name]
    with pytest.raises(ProjectInvalid) as invalid:
        load(write(tmp_path, files), {**ENV, "SHORT": PASSWORD[:10]})
    assert str(invalid.value) == message
    assert len(invalid.value.problems) == 1
    assert PASSWORD not in f"{invalid.value} {invalid.value!r} {invalid.value.problems!r}"
