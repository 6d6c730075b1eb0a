from django import forms
from django.utils.translation import gettext_lazy as _

from reviews.models import Review

STARS = [(value, "★" * value + "☆" * (5 - value)) for value in (5, 4, 3, 2, 1)]


class ReviewForm(forms.ModelForm):
    rating = forms.TypedChoiceField(label=_("Your rating"), choices=STARS, coerce=int)

    class Meta:
        model = Review
        fields = ["rating", "title", "body"]
        widgets = {"body": forms.Textarea(attrs={"rows": 4})}
