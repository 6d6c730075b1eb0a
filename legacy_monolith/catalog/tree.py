"""The category tree, which is small enough to be read whole."""

from catalog.models import Category


def whole():
    """Return every category in reading order, parents before children, each with its `depth`."""
    children = {}
    for category in Category.objects.order_by("position", "id"):
        children.setdefault(category.parent_id, []).append(category)
    return list(_walk(children, None, 0))


def _walk(children, parent_id, depth):
    for category in children.get(parent_id, []):
        category.depth = depth
        yield category
        yield from _walk(children, category.id, depth + 1)


def branch(root_id):
    """Return the ids of a category and all that stand below it."""
    children = {}
    for category_id, parent_id in Category.objects.order_by("id").values_list("id", "parent_id"):
        children.setdefault(parent_id, []).append(category_id)
    found = [root_id]
    for category_id in found:
        found.extend(children.get(category_id, []))
    return found
