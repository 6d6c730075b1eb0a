from django import forms
from django.contrib.auth.forms import UserCreationForm

from accounts.models import Address, User


class RegistrationForm(UserCreationForm):
    class Meta:
        model = User
        fields = ["username", "email", "newsletter"]


class ProfileForm(forms.ModelForm):
    class Meta:
        model = User
        fields = ["first_name", "last_name", "email", "newsletter"]


class AddressForm(forms.ModelForm):
    class Meta:
        model = Address
        fields = ["name", "street", "postcode", "city", "country"]
