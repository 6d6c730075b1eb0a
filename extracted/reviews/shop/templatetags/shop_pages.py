from django import template
from django.urls import translate_url
from django.utils.http import urlencode

register = template.Library()


@register.simple_tag(takes_context=True)
def this_page_in(context, language):
    """Return the address of the page shown, in another language."""
    return translate_url(context["request"].get_full_path(), language)


@register.simple_tag(takes_context=True)
def query_with(context, **changes):
    """Return the page's query string with some of it changed."""
    query = context["request"].GET.dict() | {key: str(value) for key, value in changes.items()}
    return "?" + urlencode({key: value for key, value in query.items() if value})


@register.filter
def stars(rating):
    """Return five stars, the first of them filled."""
    filled = round(float(rating or 0))
    return "★" * filled + "☆" * (5 - filled)


@register.filter
def worded(name):
    """Return an attribute's name as it reads on a page."""
    return name.replace("_", " ").capitalize()
