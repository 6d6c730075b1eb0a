from django.db import migrations

# Two warehouses of one product at once: a sum taken before the product's row is waited for does not hold what the other
# one wrote. The row is locked first, and the sum is a statement of its own, which looks at what was committed meanwhile.
LOCK = "PERFORM FROM catalog_product WHERE id IN ({products}) ORDER BY id FOR NO KEY UPDATE;"
REFRESH = """
CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    {lock}
    UPDATE catalog_product AS product
        SET stock = COALESCE(
                (SELECT sum(on_hand - reserved) FROM inventory_stocklevel AS level WHERE level.product_id = product.id), 0
            ),
            updated_at = clock_timestamp()
        WHERE product.id IN ({products});
    RETURN NULL;
END $$;
"""
TOUCHED = "SELECT product_id FROM touched"
MOVED = "SELECT product_id FROM touched UNION SELECT product_id FROM before"


def both(lock):
    functions = [("inventory_refresh_stock", TOUCHED), ("inventory_refresh_moved_stock", MOVED)]
    return "".join(
        REFRESH.format(name=name, products=products, lock=lock.format(products=products))
        for name, products in functions
    )


class Migration(migrations.Migration):
    dependencies = [("inventory", "0002_stock_follows_levels")]

    operations = [migrations.RunSQL(both(LOCK), both(""))]
