"""Paying for an order that was placed."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters

from orders.models import Order
from payments.gateway import GatewayError
from payments.models import Payment
from payments.pay import pay as charge
from storefront.forms import CardForm


@sensitive_post_parameters("number")
@never_cache
@login_required
def pay(request, number):
    order = get_object_or_404(request.user.orders, number=number)
    if order.status != Order.Status.PLACED:
        return redirect("storefront:order", number=number)
    form = CardForm(request.POST or None, initial={"holder": request.user.get_full_name()})
    if request.method == "POST" and form.is_valid() and _paid(order, form):
        messages.success(request, _("Thank you! Your order is paid."))
        return redirect("storefront:order", number=number)
    return render(request, "storefront/pay.html", {"order": order, "form": form})


def _paid(order, form):
    try:
        payment = charge(order, form.cleaned_data["number"], form.cleaned_data["holder"])
    except GatewayError:
        form.add_error(None, _("The bank does not answer. Nothing was charged; please try again."))
        return False
    except ValidationError as error:
        form.add_error(None, error)
        return False
    if payment.status != Payment.Status.PAID:
        form.add_error("number", _("The bank declined this card. Nothing was charged."))
        return False
    return True
