"""What there is to say where nothing is, or where something broke; as the monolith says it."""

from django.http import JsonResponse
from django.views import defaults


def not_found(request, exception):
    if request.path_info.startswith("/api/"):
        return JsonResponse({"detail": "Not found."}, status=404, json_dumps_params={"separators": (",", ":")})
    return defaults.page_not_found(request, exception)


def broken(request):
    if request.path_info.startswith("/api/"):
        return JsonResponse({"detail": "Internal server error."}, status=500)
    return defaults.server_error(request)
