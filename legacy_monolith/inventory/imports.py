"""Counted stock out of a CSV file: sku, warehouse, on_hand. All of it, or none and every row that is wrong."""

import csv
import io

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from catalog.models import Product
from inventory import stock
from inventory.models import Warehouse

COLUMNS = ("sku", "warehouse", "on_hand")
MOST_BYTES = 1024 * 1024
MOST_ROWS = 10_000
MOST_ON_HAND = 1_000_000


class RowsWrong(Exception):
    """Rows that cannot be taken: (number of the line, what is wrong) each. Nothing was changed."""

    def __init__(self, rows):
        super().__init__(f"{len(rows)} rows")
        self.rows = rows


def take(content):
    """Book the counts in ``content`` (UTF-8) and return how many rows there were. Raises ``RowsWrong``."""
    rows = list(_rows(content))
    products = {each.sku: each for each in Product.objects.filter(sku__in={row["sku"] for _, row in rows})}
    warehouses = {each.code: each for each in Warehouse.objects.all()}
    wrong = []
    with transaction.atomic():
        stock.hold([each.pk for each in products.values()])
        # New levels come about in the order in which deliveries make theirs, too.
        for line, row in sorted(rows, key=lambda each: getattr(products.get(each[1]["sku"]), "pk", 0)):
            if problem := _book(row, products, warehouses):
                wrong.append((line, problem))
        if wrong:
            raise RowsWrong(sorted(wrong))
    return len(rows)


def _rows(content):
    try:
        text = content.decode("utf-8-sig")
        if "\0" in text:
            raise csv.Error("NUL")
        reader = csv.DictReader(io.StringIO(text, newline=""))
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise RowsWrong([(1, _("The first line must be: %(columns)s") % {"columns": ",".join(COLUMNS)})])
        for number, row in enumerate(reader, 1):
            if number > MOST_ROWS:
                raise RowsWrong([(reader.line_num, _("At most %(count)s rows.") % {"count": MOST_ROWS})])
            yield reader.line_num, row
    except (UnicodeDecodeError, csv.Error) as error:
        raise RowsWrong([(1, _("This is no CSV file in UTF-8."))]) from error


def _book(row, products, warehouses):
    """Return what is wrong with a row, None when it is booked."""
    if None in row or None in row.values():
        return _("A row has %(count)s columns.") % {"count": len(COLUMNS)}
    product, warehouse, counted = products.get(row["sku"]), warehouses.get(row["warehouse"]), row["on_hand"].strip()
    if product is None:
        return _("There is no product %(sku)s.") % {"sku": row["sku"]}
    if warehouse is None:
        return _("There is no warehouse %(code)s.") % {"code": row["warehouse"]}
    if not (counted.isascii() and counted.isdigit() and len(counted) < 9 and int(counted) <= MOST_ON_HAND):
        return _("on_hand is a whole number from 0 to %(most)s.") % {"most": MOST_ON_HAND}
    try:
        stock.count(product, warehouse, int(counted))
    except ValidationError as error:
        return " ".join(error.messages)
    return None
