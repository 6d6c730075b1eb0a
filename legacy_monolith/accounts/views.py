from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_required
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _

from accounts.forms import AddressForm, ProfileForm, RegistrationForm
from accounts.models import Address

NEWEST_REVIEWS = 5


def register(request):
    if request.user.is_authenticated:
        return redirect("accounts:account")
    form = RegistrationForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        login(request, form.save())
        messages.success(request, _("Welcome! Your account is ready."))
        return redirect("accounts:account")
    return render(request, "accounts/register.html", {"form": form})


@login_required
def account(request):
    return _account_page(request, ProfileForm(instance=request.user), AddressForm(instance=_shipping(request.user)))


@login_required
def profile(request):
    form = ProfileForm(request.POST or None, instance=request.user)
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, _("Your details are saved."))
        return redirect("accounts:account")
    return _account_page(request, form, AddressForm(instance=_shipping(request.user)))


@login_required
def address(request):
    form = AddressForm(request.POST or None, instance=_shipping(request.user))
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, _("Your address is saved."))
        return redirect("accounts:account")
    return _account_page(request, ProfileForm(instance=request.user), form)


def _shipping(user):
    known = user.addresses.filter(kind=Address.Kind.SHIPPING).first()
    return known or Address(user=user, kind=Address.Kind.SHIPPING)


def _account_page(request, profile_form, address_form):
    reviews = request.user.reviews.select_related("product").order_by("-created_at", "id")
    context = {"profile_form": profile_form, "address_form": address_form, "reviews": reviews[:NEWEST_REVIEWS]}
    return render(request, "accounts/account.html", context)
