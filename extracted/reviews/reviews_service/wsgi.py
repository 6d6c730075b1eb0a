"""The reviews on the chassis, for any WSGI server; `python -m reviews_service serve` brings one."""

import json
import os
from importlib.resources import files

from django.core.wsgi import get_wsgi_application

from strangler.service.calling import Callers
from strangler.service.django import database_check, database_position
from strangler.service.identity import Verifier
from strangler.service.log import RequestLog
from strangler.service.wsgi import Chassis

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "reviews_service.settings")

application = Chassis(
    get_wsgi_application(),
    name="reviews",
    openapi=json.loads(files("reviews_service").joinpath("openapi.json").read_bytes()),
    checks={"database": database_check()},
    requests=RequestLog.opened(os.environ.get("REVIEWS_REQUEST_LOG", "-"), service="reviews"),
    identity=Verifier.from_environment(os.environ),
    position=database_position(),
    callers=Callers.from_environment(os.environ, "reviews"),
)
