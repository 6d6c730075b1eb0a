"""Settings of the reviews; everything that differs between machines comes from the environment (see README.md)."""

from celery.schedules import crontab
from django.core.management.utils import get_random_secret_key
from django.utils.translation import gettext_lazy as _

from shop import environment

# Nothing that outlives the process is signed with it: nobody logs in here, and messages have a key of their own.
SECRET_KEY = environment.secret("REVIEWS_SECRET_KEY") or get_random_secret_key()
MESSAGES_KEY = environment.secret("MESSAGES_KEY") or SECRET_KEY

ALLOWED_HOSTS = environment.listed("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = environment.listed("CSRF_TRUSTED_ORIGINS")
SECURE_PROXY_SSL_HEADER = environment.pair("SECURE_PROXY_SSL_HEADER")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = environment.flag("SECURE_COOKIES")

INSTALLED_APPS = [
    "shop",
    "accounts",
    "catalog",
    "reviews",
    # For AnonymousUser and login_required; nobody logs in here.
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django_filters",
    "drf_spectacular",
    "rest_framework",
    "strangler_django",
]

# What the reviews do beside the requests is done where their data are owned: see `work.py`.
STRANGLER_SIDE = "service"
STRANGLER_BACKGROUND = {
    "reviews": {"tasks": ["reviews.tasks.*"], "record": "reviews.Job", "queue": "shop"},
}
CELERY_BROKER_URL = environment.secret("CELERY_BROKER_URL") or "memory://"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_SERIALIZER = CELERY_RESULT_SERIALIZER = "json"
CELERY_TASK_DEFAULT_QUEUE = "reviews"
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SOFT_TIME_LIMIT, CELERY_TASK_TIME_LIMIT = 300, 330
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
# The shop's: either side sends the other what it should do.
CELERY_BROKER_TRANSPORT_OPTIONS = {"global_keyprefix": "shop:celery:", "socket_connect_timeout": 2}
CELERY_TIMEZONE = "UTC"
# Under the monolith's names: of the two beats, one has an entry take effect.
CELERY_BEAT_SCHEDULE = {
    "forget who voted for reviews that are gone": {
        "task": "reviews.tasks.forget_votes",
        "schedule": crontab(hour=4, minute=10),
    },
}
CELERY_BEAT_SCHEDULER = "celery.beat.Scheduler"

MIDDLEWARE = [
    "strangler.service.django.RouteMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "strangler.service.django.IdentityMiddleware",
    "shop.middleware.PageLocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "reviews_service.urls"

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

DATABASES = {"default": environment.database("REVIEWS_DATABASE_URL")}
# A server that is away is noticed before the check of readiness is late.
DATABASES["default"]["OPTIONS"] = {"connect_timeout": 2, **DATABASES["default"]["OPTIONS"]}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CACHES = {"default": environment.cache("CACHE_URL")}
MESSAGE_STORAGE = "shop.flash.SignedMessages"

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = []
LOGIN_URL = "accounts:login"
# The monolith keeps user names unique; here they are read.
SILENCED_SYSTEM_CHECKS = ["auth.W004"]

LANGUAGE_CODE = "en"
LANGUAGES = [("en", _("English")), ("de", _("German"))]
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True

STATIC_URL = "/static/"
MEDIA_URL = "/media/"
# The folder that the monolith serves: a photo is seen at its address whichever stack took it.
MEDIA_ROOT = environment.text("MEDIA_ROOT") or ".local/media"

REST_FRAMEWORK = {
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "shop.api.AlwaysJson",
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "strangler.service.drf.TokenIdentity",
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
    "URL_FORMAT_OVERRIDE": None,
    "NUM_PROXIES": environment.number("NUM_PROXIES", 0),
}

SPECTACULAR_SETTINGS = {
    "TITLE": "The reviews",
    "DESCRIPTION": "What customers say of products.",
    "VERSION": "1.0.0",
    "DEFAULT_GENERATOR_CLASS": "shop.document.Generator",
    "GET_MOCK_REQUEST": "shop.document.request_of_version",
    "COMPONENT_SPLIT_REQUEST": True,
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "loggers": {
        # A 404 is the visitor's business and stands in the request log already.
        "django.request": {"level": "ERROR"},
    },
}
