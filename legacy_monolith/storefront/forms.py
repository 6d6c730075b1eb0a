from django import forms
from django.utils.translation import gettext_lazy as _

from accounts.models import Address

MOST_OF_ONE = 99


class QuantityForm(forms.Form):
    quantity = forms.IntegerField(label=_("Quantity"), min_value=1, max_value=MOST_OF_ONE, initial=1)


class ChangeForm(forms.Form):
    quantity = forms.IntegerField(label=_("Quantity"), min_value=0, max_value=MOST_OF_ONE)


class ShippingForm(forms.ModelForm):
    coupon = forms.CharField(label=_("Coupon"), required=False, max_length=40)
    keep = forms.BooleanField(label=_("Remember this address"), required=False, initial=True)

    class Meta:
        model = Address
        fields = ["name", "street", "postcode", "city", "country"]
        widgets = {
            "name": forms.TextInput(attrs={"autocomplete": "shipping name"}),
            "street": forms.TextInput(attrs={"autocomplete": "shipping street-address"}),
            "postcode": forms.TextInput(attrs={"autocomplete": "shipping postal-code"}),
            "city": forms.TextInput(attrs={"autocomplete": "shipping address-level2"}),
            "country": forms.TextInput(attrs={"autocomplete": "shipping country"}),
        }

    @property
    def address(self):
        """The address as an order keeps it: what was true on that day."""
        return {name: self.cleaned_data[name] for name in self.Meta.fields}


class CardForm(forms.Form):
    number = forms.CharField(
        label=_("Card number"),
        max_length=23,
        widget=forms.TextInput(
            attrs={"inputmode": "numeric", "autocomplete": "cc-number", "placeholder": "4242 4242 4242 4242"}
        ),
    )
    holder = forms.CharField(
        label=_("Name on the card"), max_length=120, widget=forms.TextInput(attrs={"autocomplete": "cc-name"})
    )

    def clean_number(self):
        digits = "".join(self.cleaned_data["number"].split())
        if not (digits.isascii() and digits.isdigit() and 12 <= len(digits) <= 19):
            raise forms.ValidationError(_("A card number has 12 to 19 digits."))
        return digits
