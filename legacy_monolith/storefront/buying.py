"""Checking out, and looking at what was bought."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from accounts.models import Address
from cart import shopping
from orders import checkout as ordering
from orders.models import Coupon
from storefront.forms import ShippingForm

ORDERS_PER_PAGE = 10


@never_cache
@login_required
def checkout(request):
    cart = shopping.current(request)
    lines = shopping.lines(cart)
    if not lines:
        messages.info(request, _("Your cart is empty."))
        return redirect("storefront:cart")
    form = ShippingForm(request.POST or None, instance=_known_address(request.user))
    if request.method == "POST" and form.is_valid() and (placed := _placed(request, cart, form)):
        return redirect("storefront:pay", number=placed.number)
    subtotal = shopping.total(cart)
    shipping = ordering.shipping_of(subtotal)
    context = {"form": form, "lines": lines, "shipping": shipping, "total": subtotal + shipping}
    return render(request, "storefront/checkout.html", context)


@never_cache
@login_required
def orders(request):
    found = request.user.orders.prefetch_related("lines").order_by("-placed_at", "id")
    page = Paginator(found, ORDERS_PER_PAGE).get_page(request.GET.get("page"))
    return render(request, "storefront/orders.html", {"page": page, "pages": page.paginator.page_range})


@never_cache
@login_required
def order(request, number):
    shown = get_object_or_404(request.user.orders, number=number)
    context = {
        "order": shown,
        "lines": shown.lines.select_related("product").order_by("id"),
        "events": shown.events.order_by("at", "id"),
        "shipments": shown.shipments.order_by("shipped_at"),
    }
    return render(request, "storefront/order.html", context)


@login_required
@require_POST
def cancel(request, number):
    cancelled = get_object_or_404(request.user.orders, number=number)
    try:
        ordering.cancel(cancelled)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        messages.success(request, _("Your order is cancelled."))
    return redirect("storefront:order", number=number)


def _known_address(user):
    known = user.addresses.filter(kind=Address.Kind.SHIPPING).first()
    return known or Address(user=user, kind=Address.Kind.SHIPPING, name=user.get_full_name())


def _placed(request, cart, form):
    """Return the order, or None after the form was told why there is none."""
    coupon = None
    if code := form.cleaned_data["coupon"].strip():
        coupon = Coupon.objects.filter(code__iexact=code).first()
        if coupon is None:
            form.add_error("coupon", _("There is no such coupon."))
            return None
    try:
        order = ordering.place(cart, request.user, form.address, coupon)
    except ValidationError as error:
        form.add_error(None, error.messages)
        return None
    if form.cleaned_data["keep"]:
        form.save()
    return order
