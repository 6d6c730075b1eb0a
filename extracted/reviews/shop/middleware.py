from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.middleware.locale import LocaleMiddleware
from django.utils import translation

UNTRANSLATED = ("/api/", "/images/", "/media/")


class PageLocaleMiddleware(LocaleMiddleware):
    """Speak the visitor's language on pages; the API answers everyone alike."""

    def process_request(self, request: HttpRequest) -> None:
        if request.path_info.startswith(UNTRANSLATED):
            translation.activate(settings.LANGUAGE_CODE)
            request.LANGUAGE_CODE = settings.LANGUAGE_CODE
            return
        super().process_request(request)

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        if request.path_info.startswith(UNTRANSLATED):
            return response
        return super().process_response(request, response)
