from django import forms
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from catalog import tree

SORTS = {
    "": (_("Newest first"), ["-created_at", "id"]),
    "price": (_("Price, lowest first"), ["price", "id"]),
    "-price": (_("Price, highest first"), ["-price", "id"]),
    "name": (_("Name"), ["name", "id"]),
}


class ProductSearch(forms.Form):
    q = forms.CharField(label=_("Search"), required=False, max_length=100, widget=forms.SearchInput)
    category = forms.ChoiceField(label=_("Category"), required=False)
    sort = forms.ChoiceField(
        label=_("Sort by"), required=False, choices=[(key, sort[0]) for key, sort in SORTS.items()]
    )

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.categories = {category.slug: category for category in tree.whole()}
        indented = [(slug, "\N{NO-BREAK SPACE}" * 3 * each.depth + each.name) for slug, each in self.categories.items()]
        self.fields["category"].choices = [("", _("All categories")), *indented]
        self.fields["q"].widget.attrs.update(placeholder=_("Name or article number"))

    @property
    def chosen(self):
        return self.categories.get(self.cleaned_data.get("category"))

    def products(self, queryset):
        """Narrow and order `queryset` as asked; what was asked wrongly is left out."""
        for word in self.cleaned_data.get("q", "").split():
            queryset = queryset.filter(
                Q(name__icontains=word) | Q(description__icontains=word) | Q(sku__icontains=word)
            )
        if self.chosen:
            queryset = queryset.filter(category__in=tree.branch(self.chosen.id))
        return queryset.order_by(*SORTS[self.cleaned_data.get("sort") or ""][1])
