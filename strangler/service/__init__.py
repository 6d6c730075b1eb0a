"""The chassis of an extracted service: what every service needs and none should write twice.

Plain ASGI around any ASGI application (a Starlette one most of the time), or with ``strangler.service.wsgi`` around a
WSGI one: health, metrics, the OpenAPI document, problems for what the application did not shape, trace context, one log
line a request, a graceful stop; and for the service's own database a bounded pool and numbered SQL files. It knows no
capability and no route of its own but ``/health/live``, ``/health/ready``, ``/metrics`` and ``/openapi.json``.
"""

from strangler.service.chassis import Chassis
from strangler.service.errors import ChassisError, SchemaRefused, SettingRefused, Unavailable, Untrusted

__all__ = ["Chassis", "ChassisError", "SchemaRefused", "SettingRefused", "Unavailable", "Untrusted"]
