import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from shop import environment

PROJECT = Path(__file__).parent.parent


def test_a_database_url_becomes_settings(monkeypatch):
    monkeypatch.setenv("DB", "postgresql://ann%40x:p%2Fw@db.example:6432/the%20shop?sslmode=require")
    settings = environment.database("DB")
    assert {key: settings[key] for key in ["NAME", "USER", "PASSWORD", "HOST", "PORT", "OPTIONS"]} == {
        "NAME": "the shop",
        "USER": "ann@x",
        "PASSWORD": "p/w",
        "HOST": "db.example",
        "PORT": "6432",
        "OPTIONS": {"sslmode": "require"},
    }


def test_a_secret_may_stand_in_a_file(monkeypatch, tmp_path):
    path = tmp_path / "secret"
    path.write_text("postgres://u@h/n\n")
    monkeypatch.setenv("DB_FILE", str(path))
    assert environment.database("DB")["NAME"] == "n"


@pytest.mark.parametrize(
    ("read", "value", "message"),
    [
        (environment.database, "", r"WORD \(or WORD_FILE\) must be postgresql://.*; it is not set"),
        (environment.database, "mysql://h/n", "its scheme is 'mysql'"),
        (environment.flag, "maybe", "WORD is 'maybe'; say 1 or 0"),
        (environment.mailer, "mail.example:25", "must be smtp://user:password@host:port; its scheme is 'mail.example'"),
        (environment.pair, "X-Forwarded-Proto", "write it as X-Forwarded-Proto:https"),
    ],
)
def test_what_is_wrong_is_named(monkeypatch, read, value, message):
    monkeypatch.setenv("WORD", value)
    with pytest.raises(ImproperlyConfigured, match=message):
        read("WORD")


def test_a_number_must_be_one(monkeypatch):
    monkeypatch.setenv("WORD", "two")
    with pytest.raises(ImproperlyConfigured, match="a whole number is wanted"):
        environment.number("WORD", 0)


def test_a_secret_file_that_cannot_be_read_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("WORD_FILE", str(tmp_path / "missing"))
    with pytest.raises(ImproperlyConfigured, match="missing, which cannot be read: No such file"):
        environment.secret("WORD")


def test_the_header_of_a_tls_proxy_is_opt_in(monkeypatch):
    assert environment.pair("WORD") is None
    monkeypatch.setenv("WORD", "X-Forwarded-Proto:https")
    assert environment.pair("WORD") == ("HTTP_X_FORWARDED_PROTO", "https")


def test_letters_are_printed_where_no_server_is_named(monkeypatch):
    monkeypatch.delenv("WORD", raising=False)
    assert environment.mailer("WORD") == {"BACKEND": "django.core.mail.backends.console.EmailBackend"}


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("smtp://mail.example", ("mail.example", 25, "", "", False, False)),
        ("smtps://ann%40x:p%2Fw@mail.example", ("mail.example", 465, "ann@x", "p/w", True, False)),
        ("smtp+starttls://u:p@mail.example:587", ("mail.example", 587, "u", "p", False, True)),
    ],
)
def test_the_mail_server_is_one_url(monkeypatch, url, said):
    monkeypatch.setenv("WORD", url)
    options = environment.mailer("WORD")["OPTIONS"]
    assert tuple(options[name] for name in ["host", "port", "username", "password", "use_ssl", "use_tls"]) == said


def test_without_debug_the_key_must_be_given():
    without = {name: value for name, value in os.environ.items() if name not in {"SECRET_KEY", "DEBUG"}}
    command = [sys.executable, "-c", "import shop.settings"]
    refused = subprocess.run(command, cwd=PROJECT, env=without, capture_output=True, text=True)
    assert "SECRET_KEY (or SECRET_KEY_FILE) is not set" in refused.stderr
    subprocess.run(command, cwd=PROJECT, env=without | {"DEBUG": "1"}, check=True)
