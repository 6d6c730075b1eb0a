"""Django's admin of models whose rows a service owns: to be looked at, with a word on who owns them and a link there.

Who owns is asked once for each request, so that it changes with the owner. Opt-in: ``settings.STRANGLER_OWNED`` says
which models belong to which capability.

    STRANGLER_OWNED = {
        "reviews": {"models": ["reviews.Review", "reviews.Photo"], "url": "https://reviews.internal/admin/"},
    }
"""

from __future__ import annotations

import re
from typing import Any, Callable, Iterator

from django.apps import apps
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import ImproperlyConfigured, PermissionDenied
from django.db.models import CharField, TextField
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _

from strangler_django import problem
from strangler_django.owner import SERVICE, owner

_KNOWN = "_strangler_owners"
_REACHES = "strangler_reaches_owner"
_TEXTS = (CharField, TextField)


def reaches_owner(action: Callable[..., Any]) -> Callable[..., Any]:
    """Mark an action of an admin that goes to the owner itself, by ``seam.call``: it is offered wherever rows are."""
    setattr(action, _REACHES, True)
    return action


def protect(site: admin.AdminSite = admin.site) -> None:
    """Have the admins of owned models, and inlines of them in others, look at who owns; once for each is enough.

    Those that are registered later are not covered: ``strangler_django`` stands behind ``django.contrib.admin`` in
    ``INSTALLED_APPS``, which registers them all. Raises ``ImproperlyConfigured`` for what cannot be understood.
    """
    owned = models()
    for model, found in site._registry.items():
        capability = owned.get(model)
        if capability is not None:
            found.__class__ = _guarded(type(found), capability)
        found.inlines = [
            _guarded(inline, owned[inline.model]) if getattr(inline, "model", None) in owned else inline
            for inline in found.inlines
        ]
        if any(issubclass(inline, OwnedInline) for inline in found.inlines):
            found.__class__ = _answering(type(found))


def models() -> dict[Any, str]:
    """Return the capability of each model that ``STRANGLER_OWNED`` names. Raises ``ImproperlyConfigured``."""
    found: dict[Any, str] = {}
    for capability, told in getattr(settings, "STRANGLER_OWNED", {}).items():
        if not isinstance(told, dict) or not told.get("models"):
            raise ImproperlyConfigured(
                f'STRANGLER_OWNED[{capability!r}] is {told!r}; write {{"models": ["app.Model"], "url": "https://..."}}'
            )
        for name in told["models"]:
            try:
                model = apps.get_model(name)
            except (LookupError, ValueError) as exc:
                raise ImproperlyConfigured(
                    f"STRANGLER_OWNED[{capability!r}] names {name!r}, and there is no such model"
                ) from exc
            if found.setdefault(model, capability) != capability:
                raise ImproperlyConfigured(f"STRANGLER_OWNED names {name} for {found[model]} and for {capability}")
    return found


def _guarded(kind: type, capability: str) -> type:
    if issubclass(kind, Owned):
        return kind
    base = OwnedAdmin if issubclass(kind, admin.ModelAdmin) else OwnedInline
    return _mixed(kind, base, strangler_capability=capability)


def _answering(kind: type) -> type:
    return kind if issubclass(kind, OwnersAdmin) else _mixed(kind, OwnersAdmin)


def _mixed(kind: type, before: type, **members: Any) -> type:
    return type(kind.__name__, (before, kind), {"__module__": kind.__module__, **members})


class Owned:
    """A mixin before an admin, or an inline: nothing is added, changed or deleted here while a service owns it."""

    strangler_capability = ""

    def strangler_is_elsewhere(self, request: Any) -> bool:
        known: dict[str, str] = request.__dict__.setdefault(_KNOWN, {})
        capability = self.strangler_capability
        if capability not in known:
            known[capability] = owner(capability)
        return known[capability] == SERVICE

    def has_add_permission(self, request: Any, *others: Any, **more: Any) -> bool:
        return not self.strangler_is_elsewhere(request) and _of(super()).has_add_permission(request, *others, **more)

    def has_change_permission(self, request: Any, *others: Any, **more: Any) -> bool:
        return not self.strangler_is_elsewhere(request) and _of(super()).has_change_permission(request, *others, **more)

    def has_delete_permission(self, request: Any, *others: Any, **more: Any) -> bool:
        return not self.strangler_is_elsewhere(request) and _of(super()).has_delete_permission(request, *others, **more)


class OwnedAdmin(Owned):
    """The same for an admin's pages, which say who owns, and offer only what goes there."""

    def get_actions(self, request: Any) -> Any:
        actions = _of(super()).get_actions(request)
        if not self.strangler_is_elsewhere(request):
            return actions
        return {name: found for name, found in actions.items() if getattr(found[0], _REACHES, False)}

    def changelist_view(self, request: Any, *others: Any, **more: Any) -> Any:
        view = _of(super()).changelist_view
        if self._acts(request):
            return view(request, *others, **more)  # what such an action refuses has nothing to do with who owns
        return self._answered(request, view, *others, **more)

    def changeform_view(self, request: Any, *others: Any, **more: Any) -> Any:
        return self._answered(request, _of(super()).changeform_view, *others, **more)

    def delete_view(self, request: Any, *others: Any, **more: Any) -> Any:
        return self._answered(request, _of(super()).delete_view, *others, **more)

    def _acts(self, request: Any) -> bool:
        """Return whether one of the actions that are offered is to be done; a list that is saved sends one along."""
        chosen = request.POST.getlist("action") if "_save" not in request.POST else []
        return bool(chosen) and not self.get_actions(request).keys().isdisjoint(chosen)

    def _answered(self, request: Any, view: Callable[..., Any], *others: Any, **more: Any) -> Any:
        """Return what a view answers: a page says who owns, and where one is refused what the owner may do, that."""
        try:
            response = view(request, *others, **more)
        except PermissionDenied:
            if not self.strangler_is_elsewhere(request) or not _of(self).has_view_permission(request):
                raise
            return self._refusal(request)
        # Only for a page that is to be made still: another response would leave the words to whatever page comes next.
        if request.method == "GET" and not getattr(response, "is_rendered", True):
            self._say(request)
        return response

    def _say(self, request: Any) -> None:
        if self.strangler_is_elsewhere(request):
            messages.warning(request, self.strangler_banner(), fail_silently=True)

    def _refusal(self, request: Any) -> Any:
        """Say to who comes with a form from before the owner moved that nothing was saved, and where it can be."""
        told = _("The service “%(capability)s” owns these now. Nothing was changed here.")
        meta = _of(self).model._meta
        listed = reverse(f"{_of(self).admin_site.name}:{meta.app_label}_{meta.model_name}_changelist")
        return _refusal(request, self.strangler_capability, told, listed, list(_typed(_of(self).model, request.POST)))

    def strangler_banner(self) -> str:
        """Return what the pages say of rows that a service owns, as HTML."""
        url = _url(self.strangler_capability)
        told = _("The service “%(capability)s” owns these now: they are shown here as they are there.") % {
            "capability": self.strangler_capability
        }
        link = format_html(' <a href="{}">{}</a>', url, _("Change them there.")) if url else ""
        return str(format_html("{}{}", told, link))


class OwnedInline(Owned):
    """The same for an inline: what a page sends on which its rows could still be changed is refused."""

    def get_formset(self, request: Any, *others: Any, **more: Any) -> Any:
        made = _of(super()).get_formset(request, *others, **more)
        if request.method != "POST" or not self.strangler_is_elsewhere(request):
            return made
        return _mixed(made, _Shown, strangler_capability=self.strangler_capability)


class OwnersAdmin:
    """A mixin before an admin that has such inlines, whoever owns its own rows: it answers what they refuse."""

    def changeform_view(self, request: Any, *others: Any, **more: Any) -> Any:
        try:
            return _of(super()).changeform_view(request, *others, **more)
        except SentFromBefore as refused:
            told = _("The service “%(capability)s” owns a part of this form now. Nothing of the form was saved.")
            typed = [*_typed(_of(self).model, request.POST), *refused.typed]
            return _refusal(request, refused.capability, told, request.path, typed)


class SentFromBefore(PermissionDenied):
    """A form has rows that were this side's when it was opened; ``typed`` is what was typed there, by its names."""

    def __init__(self, capability: str, typed: list[tuple[str, str]]) -> None:
        super().__init__(f"the service of {capability} owns rows that this form would change")
        self.capability, self.typed = capability, typed


class _Shown:
    """A mixin before a formset whose rows are shown only; made before anything of a form is saved, it may refuse it.

    Django passes over what else is sent for such rows, and says that all was saved. Their page sends no more of each
    than which one it is, and whose.
    """

    strangler_capability = ""

    def __init__(self, *others: Any, **more: Any) -> None:
        _of(super()).__init__(*others, **more)
        if self._has_fields():
            raise SentFromBefore(self.strangler_capability, self._typed())

    def _has_fields(self) -> bool:
        formset = _of(self)
        known = {formset.model._meta.pk.name, getattr(getattr(formset, "fk", None), "name", "")}
        # No field's name begins with a digit: that is a row of another formset, whose prefix has a number behind it.
        field = re.compile(rf"{re.escape(formset.prefix)}-\d+-([^\W\d]\w*)")
        found = (field.fullmatch(name) for name in (*formset.data, *formset.files))
        return any(each is not None and each[1] not in known for each in found)

    def _typed(self) -> list[tuple[str, str]]:
        """Return the texts that are not what the rows have: of many rows mostly one was changed."""
        formset = _of(self)
        row = formset.model._meta.verbose_name
        return [
            (f"{row} {number}: {name}", text)
            for number, form in enumerate(formset.forms, 1)
            for name, text in _typed(formset.model, formset.data, form.prefix + "-", form.instance)
        ]


def _refusal(request: Any, capability: str, told: str, here: str, typed: list[tuple[str, str]]) -> Any:
    """Return the page that says why nothing was saved, with what was ``typed``, and leads there and ``here``."""
    told = told % {"capability": capability}
    if typed:
        told = "{} {}".format(told, _("What you typed stands below, to be copied."))
    url = _url(capability)
    links = [(_("Change them there"), url)] if url else []
    links.append((_("See them as they are now"), here))
    return problem.answer(request, 403, _("Not changed here"), told, {"capability": capability}, links, typed)


def _typed(model: Any, sent: Any, prefix: str = "", row: Any = None) -> Iterator[tuple[str, str]]:
    """Yield the texts that were sent for a row, by their names, but for those that ``row`` has."""
    # No browser's "Back" shows it: pages of the admin are kept by none, and the form is gone.
    for field in model._meta.concrete_fields:
        text = sent.get(prefix + field.name, "") if isinstance(field, _TEXTS) and not field.choices else ""
        if text and _lines(text) != _lines(getattr(row, field.attname, None)):
            yield str(field.verbose_name), text


def _lines(text: Any) -> list[str]:
    return str(text or "").strip().splitlines()  # a browser ends lines in its own way


def _url(capability: str) -> str:
    return str(getattr(settings, "STRANGLER_OWNED", {}).get(capability, {}).get("url") or "")


def _of(found: Any) -> Any:
    # What the class beside it in the bases has; a mixin alone knows none.
    return found
