"""Settings of a server that these tests are run against: passwords that a test made can be checked, and cheaply."""

from shop.settings import *  # noqa: F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
