from django import forms
from django.utils.translation import gettext_lazy as _

from reviews.models import MOST_PHOTOS, TOO_MANY_PHOTOS, Review
from reviews.pictures import Refused, drawn_anew

STARS = [(value, "★" * value + "☆" * (5 - value)) for value in (5, 4, 3, 2, 1)]


class ManyFiles(forms.FileInput):
    allow_multiple_selected = True


class PicturesField(forms.FileField):
    widget = ManyFiles(attrs={"accept": "image/jpeg,image/png,image/webp"})

    def clean(self, data, initial=None):
        files = [super(PicturesField, self).clean(file) for file in data or []]
        if len(files) > MOST_PHOTOS:
            raise forms.ValidationError(TOO_MANY_PHOTOS)
        try:
            return [drawn_anew(file) for file in files]
        except Refused as exc:
            raise forms.ValidationError(exc.args[0]) from exc


class ReviewForm(forms.ModelForm):
    rating = forms.TypedChoiceField(label=_("Your rating"), choices=STARS, coerce=int)
    photos = PicturesField(
        label=_("Photos"), required=False, help_text=_("At most four, of at most 5 MB each: JPEG, PNG or WebP.")
    )

    class Meta:
        model = Review
        fields = ["rating", "title", "body"]
        widgets = {"body": forms.Textarea(attrs={"rows": 4})}

    def save(self, commit=True):
        review = super().save(commit)
        review.add_photos(self.cleaned_data["photos"])
        return review
