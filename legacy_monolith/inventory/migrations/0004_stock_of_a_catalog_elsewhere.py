from django.db import migrations

# The product's row may be its service's, or on its way there: then it is fenced, and who writes it is refused. An order
# goes on all the same, and the number is told to the owner when it is committed: see inventory/reactions.py.
REFRESH = """
CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM catalog_product WHERE id IN ({products}) ORDER BY id FOR NO KEY UPDATE;
    UPDATE catalog_product AS product
        SET stock = COALESCE(
                (SELECT sum(on_hand - reserved) FROM inventory_stocklevel AS level WHERE level.product_id = product.id), 0
            ),
            updated_at = clock_timestamp()
        WHERE product.id IN ({products});
    RETURN NULL;
{otherwise}
END $$;
"""
OTHERWISE = """
EXCEPTION WHEN SQLSTATE 'SF001' THEN
    INSERT INTO strangler_sync.reaction (reaction, capability, "table", op, key)
        SELECT DISTINCT 'stock', 'catalog', '', 'later', jsonb_build_object('product_id', product_id)
        FROM ({products}) AS moved;
    RETURN NULL;
"""
TOUCHED = "SELECT product_id FROM touched"
MOVED = "SELECT product_id FROM touched UNION SELECT product_id FROM before"


def both(otherwise):
    functions = [("inventory_refresh_stock", TOUCHED), ("inventory_refresh_moved_stock", MOVED)]
    return "".join(
        REFRESH.format(name=name, products=products, otherwise=otherwise.format(products=products))
        for name, products in functions
    )


class Migration(migrations.Migration):
    dependencies = [("inventory", "0003_stock_waits_for_its_product")]

    operations = [migrations.RunSQL(both(OTHERWISE), both(""))]
