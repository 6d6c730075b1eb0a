"""Products like another one.

The rule is told in what the catalog's API answers, so that whoever has only the API can follow it, too.
"""

MOST = 8
CANDIDATES = 100


def rank(product, candidates):
    """Return the `MOST` of `candidates` that are most like `product`, best first.

    More tags in common come first, then a nearer price, then the lower id. Both have `id`, `price` (a Decimal) and
    `tags`; the product itself is never among its like.
    """
    tags = set(product.tags)

    def unlikeness(candidate):
        return -len(tags & set(candidate.tags)), abs(candidate.price - product.price), candidate.id

    return sorted((each for each in candidates if each.id != product.id), key=unlikeness)[:MOST]
