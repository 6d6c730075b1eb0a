"""The API's description: what every view shares is said here once, what is its own stands beside the view."""

from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent, build_mock_request
from drf_spectacular.utils import OpenApiParameter
from rest_framework.permissions import SAFE_METHODS, IsAdminUser

from shop.api import HeaderVersioning

VERSION = OpenApiParameter(
    HeaderVersioning.header,
    location=OpenApiParameter.HEADER,
    enum=HeaderVersioning.allowed_versions,
    default=HeaderVersioning.default_version,
    description="From version 2 on an amount is told with its currency.",
)
REFUSALS = {
    "Refusal": {"type": "object", "properties": {"detail": {"type": "string"}}, "required": ["detail"]},
    "Problems": {
        "description": "What is wrong, by field; `non_field_errors` and `detail` concern the whole.",
        "oneOf": [{"type": "object", "additionalProperties": {}}, {"type": "array", "items": {"type": "string"}}],
    },
}
MEANINGS = {
    "304": (None, "Not changed since"),
    "400": ("Problems", "Something in the request is wrong"),
    "401": ("Refusal", "Nobody is logged in, or the token is unknown"),
    "402": ("Refusal", "The bank declined"),
    "403": ("Refusal", "Not allowed to whoever asks"),
    "404": ("Refusal", "Not there"),
    "406": ("Refusal", "No such version"),
    "503": ("Refusal", "Not now; try again"),
    "429": ("Refusal", "Too many writes; Retry-After tells when to try again"),
}


class Generator(SchemaGenerator):
    """Describe the API as one version of it answers: the one that was asked for, or the first."""

    def create_view(self, callback, method, request=None):
        view = super().create_view(callback, method, request)
        view.described_version = self.api_version or HeaderVersioning.default_version
        # The generator knows other ways to say a version; serializers look at the request instead.
        view.versioning_class = None
        return view


def request_of_version(method, path, view, original_request, **kwargs):
    request = build_mock_request(method, path, view, original_request, **kwargs)
    request.version = view.described_version
    return request


class Description(AutoSchema):
    def get_override_parameters(self):
        return [*super().get_override_parameters(), VERSION]

    def get_operation(self, path, path_regex, path_prefix, method, registry):
        operation = super().get_operation(path, path_regex, path_prefix, method, registry)
        if operation:
            for status in self._refusals(operation):
                operation["responses"].setdefault(status, self._refusal(*MEANINGS[status]))
            for status, response in operation["responses"].items():
                # What a view only names as possible is told in the shape of all refusals.
                if status >= "400" and "content" not in response:
                    response.update(self._refusal(*MEANINGS.get(status, ("Refusal", "Refused"))))
        return operation

    def _refusals(self, operation):
        parameters = {(each["in"], each["name"]) for each in operation.get("parameters", [])}
        writes = self.method not in SAFE_METHODS
        guarded = bool(self.view.authentication_classes)
        strict = any(issubclass(each, IsAdminUser) for each in self.view.permission_classes)
        told = {
            "304": not writes and getattr(self.view, "conditional", False),
            "400": "requestBody" in operation or any(place == "query" for place, _ in parameters),
            "401": guarded,
            "403": guarded and (writes or strict),
            "404": "{" in self.path or ("query", "page") in parameters,
            "406": True,
            "429": writes and bool(self.view.throttle_classes),
        }
        return [status for status, expected in told.items() if expected]

    def _refusal(self, name, meaning):
        if name is None:
            return {"description": meaning}
        component = ResolvedComponent(name, ResolvedComponent.SCHEMA, schema=REFUSALS[name], object=name)
        self.registry.register_on_missing(component)
        return {"description": meaning, "content": {"application/json": {"schema": component.ref}}}
