"""The one address at which the proxy asks."""

from __future__ import annotations

import json
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseNotFound, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from strangler_django.channel import SIGNATURE, Refused, check_question, secret, sign_answer
from strangler_django.identity import identify


@csrf_exempt
def identity(request: HttpRequest) -> HttpResponse:
    """Answer who the visitor is whose credentials the body holds, if the proxy asks."""
    key = secret()
    if not key or request.method != "POST":
        return HttpResponseNotFound()
    try:
        nonce = check_question(request.headers, request.body, key)
        asked = _read(request.body)
    except Refused as refused:
        return JsonResponse({"detail": str(refused)}, status=403)
    found, cookie = identify(asked["session"], asked["authorization"], asked["permissions"])
    response = JsonResponse({"identity": found, **({"cookie": cookie} if cookie else {})})
    response[SIGNATURE] = sign_answer(key, nonce, response.content)
    response["Cache-Control"] = "no-store"
    return response


# The question is about a visitor who is not here: who is logged in with this request is nobody's business.
identity.login_required = False


def _read(body: bytes) -> dict[str, Any]:
    """Return the question. It is signed, so what is wrong with it is the proxy's release and not an attack."""
    try:
        asked = json.loads(body.decode())
    except ValueError:
        raise Refused("the question is not JSON") from None
    words = asked.get("permissions") if isinstance(asked, dict) else None
    if not isinstance(words, list) or not all(isinstance(each, str) for each in words):
        raise Refused("the question is none that this release understands")
    credentials = {name: asked.get(name) or "" for name in ("session", "authorization")}
    if not all(isinstance(each, str) for each in credentials.values()):
        raise Refused("the question is none that this release understands")
    return {**credentials, "permissions": words}
