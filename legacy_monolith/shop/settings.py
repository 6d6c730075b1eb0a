"""Settings of the shop; everything that differs between machines comes from the environment (see README.md)."""

from importlib.util import find_spec
from pathlib import Path

import django
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _

from shop import beat, environment

BASE_DIR = Path(__file__).resolve().parent.parent

DEBUG = environment.flag("DEBUG")
SECRET_KEY = environment.secret("SECRET_KEY") or ("only-for-development" if DEBUG else "")
if not SECRET_KEY:
    raise ImproperlyConfigured("SECRET_KEY (or SECRET_KEY_FILE) is not set; only DEBUG=1 has a default")

ALLOWED_HOSTS = environment.listed("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = environment.listed("CSRF_TRUSTED_ORIGINS")
SECURE_PROXY_SSL_HEADER = environment.pair("SECURE_PROXY_SSL_HEADER")
CSRF_USE_SESSIONS = environment.flag("CSRF_USE_SESSIONS")
SESSION_SAVE_EVERY_REQUEST = environment.flag("SESSION_SAVE_EVERY_REQUEST")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = environment.flag("SECURE_COOKIES")

INSTALLED_APPS = [
    "shop",
    "accounts",
    "catalog",
    "inventory",
    "cart",
    "orders",
    "payments",
    "storefront",
    "reviews",
    "notifications",
    "reporting",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.postgres",
    "django.contrib.sessions",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_filters",
    "drf_spectacular",
    "rest_framework",
    "rest_framework.authtoken",
]
# Services beside the shop ask who its visitors are, when they are there and share this secret.
STRANGLER_IDENTITY_SECRET = environment.secret("STRANGLER_IDENTITY_SECRET")
if STRANGLER_IDENTITY_SECRET and find_spec("strangler_django"):
    INSTALLED_APPS.append("strangler_django")
# What the reviews do beside the requests is done where their data are owned, should that be a service one day.
STRANGLER_BACKGROUND = {
    "reviews": {"tasks": ["reviews.tasks.*"], "record": "reviews.Job", "queue": "reviews"},
}

# Services that may own what the shop's own code still writes, once it has moved: how they are asked, and what proves to
# them that it is the shop.
STRANGLER_OWNERS = {
    name: {"url": url, "secret": environment.secret("STRANGLER_SERVICE_SECRET")}
    for name in ("catalog", "reviews")
    if (url := environment.text(f"{name.upper()}_SERVICE_URL"))
}

# Looked at only in the administration, once a service owns them; it leads to where they are changed then, if there is
# such a place.
STRANGLER_OWNED = {
    "catalog": {
        "models": ["catalog.Category", "catalog.Product"],
        "url": environment.text("CATALOG_ADMIN_URL"),
    },
    "reviews": {
        "models": ["reviews.Review", "reviews.Photo", "reviews.Vote"],
        "url": environment.text("REVIEWS_ADMIN_URL"),
    },
}

# The addresses of proxies in front that say for whom they ask.
STRANGLER_PROXIES = environment.listed("STRANGLER_PROXIES")
MIDDLEWARE = [
    *(
        [f"strangler_django.{name}.middleware" for name in ("forget", "causal", "fence", "names")]
        if "strangler_django" in INSTALLED_APPS
        else []
    ),
    *(["strangler_django.addresses.client_address"] if STRANGLER_PROXIES else []),
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "shop.middleware.PageLocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "shop.urls"
WSGI_APPLICATION = "shop.wsgi.application"
ASGI_APPLICATION = "shop.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES = {"default": environment.database("DATABASE_URL")}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CACHES = {"default": environment.cache("CACHE_URL")}
SESSION_ENGINE = "django.contrib.sessions.backends.db"
MESSAGE_STORAGE = "shop.flash.SignedMessages"
MESSAGES_KEY = environment.secret("MESSAGES_KEY") or SECRET_KEY
if environment.secret("CACHE_URL"):
    # Only a cache that all processes share may hold sessions: a logout must count everywhere.
    SESSION_ENGINE = "django.contrib.sessions.backends.cached_db"

# Without a broker tasks run where they are asked for: nothing more is needed for a look around.
CELERY_BROKER_URL = environment.secret("CELERY_BROKER_URL") or "memory://"
CELERY_TASK_ALWAYS_EAGER = not environment.secret("CELERY_BROKER_URL")
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_SERIALIZER = CELERY_RESULT_SERIALIZER = "json"
CELERY_TASK_DEFAULT_QUEUE = "shop"
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = CELERY_TASK_REJECT_ON_WORKER_LOST = True
# The longest task counts a day's sales, which takes seconds. Past the second limit its process is ended.
CELERY_TASK_SOFT_TIME_LIMIT, CELERY_TASK_TIME_LIMIT = 300, 330
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# A broker that is down for a day must not end the workers.
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
# A request that asks for a task waits no longer for a broker that is down: what must happen is asked for by the clock.
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "global_keyprefix": "shop:celery:",
    "socket_connect_timeout": 2,
    "max_retries": 1,
    "interval_start": 0,
}
CELERY_TASK_PUBLISH_RETRY = False
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULE = beat.SCHEDULE
# In memory: what runs by the clock needs no file to remember.
CELERY_BEAT_SCHEDULER = "celery.beat.Scheduler"

MAILERS = {"default": environment.mailer("EMAIL_URL")}
if django.VERSION < (6, 1):  # which says it in settings of their own
    EMAIL_BACKEND = MAILERS["default"]["BACKEND"]
    EMAIL_HOST, EMAIL_PORT, EMAIL_HOST_USER, EMAIL_HOST_PASSWORD, EMAIL_USE_SSL, EMAIL_USE_TLS, EMAIL_TIMEOUT = (
        MAILERS["default"].get("OPTIONS", {}).get(option)
        for option in ["host", "port", "username", "password", "use_ssl", "use_tls", "timeout"]
    )
DEFAULT_FROM_EMAIL = environment.text("EMAIL_FROM", "shop@localhost")

AUTH_USER_MODEL = "accounts.User"
LOGIN_URL = "accounts:login"
LOGIN_REDIRECT_URL = "accounts:account"
LOGOUT_REDIRECT_URL = "home"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]

LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("de", _("German"))]
LOCALE_PATHS = [BASE_DIR / "shop" / "locale"]
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True

STATIC_URL = "/static/"
STATIC_ROOT = environment.text("STATIC_ROOT") or None
# Static files are served straight from the apps; collectstatic is for those who want a CDN in front.
WHITENOISE_USE_FINDERS = True
WHITENOISE_ROOT = BASE_DIR / "shop" / "root"
MEDIA_URL = "/media/"
MEDIA_ROOT = environment.text("MEDIA_ROOT") or str(BASE_DIR / ".local" / "media")

REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "shop.api.AlwaysJson",
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "rest_framework.authentication.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticatedOrReadOnly"],
    "DEFAULT_THROTTLE_CLASSES": ["shop.api.AnonymousWrites", "shop.api.UserWrites"],
    "DEFAULT_THROTTLE_RATES": {
        "anonymous_writes": environment.text("ANONYMOUS_WRITES", "60/min"),
        "user_writes": environment.text("USER_WRITES", "600/min"),
    },
    "DEFAULT_VERSIONING_CLASS": "shop.api.HeaderVersioning",
    "DEFAULT_PAGINATION_CLASS": "shop.api.Pages",
    "DEFAULT_SCHEMA_CLASS": "shop.document.Description",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
    "URL_FORMAT_OVERRIDE": None,
    # How many reverse proxies stand in front: tells which address an anonymous visitor is counted by.
    "NUM_PROXIES": environment.number("NUM_PROXIES", 0),
}

SPECTACULAR_SETTINGS = {
    "TITLE": "The shop",
    "DESCRIPTION": "Everything that the pages can do, and reports for those who run the shop.",
    "VERSION": "1.0.0",
    "DEFAULT_GENERATOR_CLASS": "shop.document.Generator",
    "ENUM_NAME_OVERRIDES": {"NotificationKind": "notifications.models.Kind"},
    "GET_MOCK_REQUEST": "shop.document.request_of_version",
    "SERVE_INCLUDE_SCHEMA": False,
    "COMPONENT_SPLIT_REQUEST": True,
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {
        # A 404 is the visitor's business and stands in the access log already.
        "django.request": {"level": "ERROR"},
    },
}
