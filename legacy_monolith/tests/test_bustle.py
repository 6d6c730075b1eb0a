import io
import random

import pytest
from django.core.management import CommandError, call_command

from catalog.models import Category, Product
from reviews.models import Review, Vote
from shop.management.commands.bustle import Command
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def bustle():
    command = Command(stdout=io.StringIO())
    command.draw = random.Random(3)
    command.products = [factories.product().pk]
    command.people = [factories.user().pk]
    return command


def test_a_rate_that_is_none_is_refused():
    with pytest.raises(CommandError, match="a number above 0"):
        call_command("bustle", rate=0)


def test_each_kind_of_work_changes_a_row(bustle):
    before = Product.objects.get()
    bustle.price()
    bustle.stock()
    after = Product.objects.get()
    assert abs(after.price - before.price) == 1
    assert after.stock > before.stock
    bustle.rename()
    assert Category.objects.filter(position__gt=0).exists()
    bustle.vote()
    bustle.withdraw()
    bustle.review()
    bustle.vote()
    assert (Review.objects.count(), Vote.objects.count()) == (1, 1)
    bustle.withdraw()
    assert Vote.objects.count() == 0
