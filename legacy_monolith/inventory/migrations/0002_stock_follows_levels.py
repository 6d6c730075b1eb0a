from django.db import migrations

# A product's stock is what is free of it anywhere. A statement is looked at as a whole: an import of a thousand levels
# updates each product once.
FOLLOW = """
CREATE FUNCTION inventory_refresh_stock() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE catalog_product AS product
        SET stock = COALESCE(
                (SELECT sum(on_hand - reserved) FROM inventory_stocklevel AS level WHERE level.product_id = product.id), 0
            ),
            updated_at = clock_timestamp()
        WHERE product.id IN (SELECT product_id FROM touched);
    RETURN NULL;
END $$;
CREATE FUNCTION inventory_refresh_moved_stock() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE catalog_product AS product
        SET stock = COALESCE(
                (SELECT sum(on_hand - reserved) FROM inventory_stocklevel AS level WHERE level.product_id = product.id), 0
            ),
            updated_at = clock_timestamp()
        WHERE product.id IN (SELECT product_id FROM touched UNION SELECT product_id FROM before);
    RETURN NULL;
END $$;
CREATE TRIGGER inventory_stock_comes AFTER INSERT ON inventory_stocklevel
    REFERENCING NEW TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION inventory_refresh_stock();
CREATE TRIGGER inventory_stock_changes AFTER UPDATE ON inventory_stocklevel
    REFERENCING NEW TABLE AS touched OLD TABLE AS before
    FOR EACH STATEMENT EXECUTE FUNCTION inventory_refresh_moved_stock();
CREATE TRIGGER inventory_stock_goes AFTER DELETE ON inventory_stocklevel
    REFERENCING OLD TABLE AS touched FOR EACH STATEMENT EXECUTE FUNCTION inventory_refresh_stock();
"""
LEAVE = """
DROP TRIGGER inventory_stock_comes ON inventory_stocklevel;
DROP TRIGGER inventory_stock_changes ON inventory_stocklevel;
DROP TRIGGER inventory_stock_goes ON inventory_stocklevel;
DROP FUNCTION inventory_refresh_stock, inventory_refresh_moved_stock;
"""
# Shops that sold before there were warehouses have their stock in one.
MOVE_IN = """
INSERT INTO inventory_warehouse (code, name, position) SELECT 'main', 'Main', 0
    WHERE EXISTS (SELECT FROM catalog_product);
INSERT INTO inventory_stocklevel (product_id, warehouse_id, on_hand, reserved)
    SELECT product.id, warehouse.id, product.stock, 0
    FROM catalog_product AS product, inventory_warehouse AS warehouse WHERE warehouse.code = 'main';
"""


class Migration(migrations.Migration):
    dependencies = [("inventory", "0001_initial"), ("catalog", "0002_collections_and_prices")]

    operations = [
        migrations.RunSQL(MOVE_IN, migrations.RunSQL.noop),
        migrations.RunSQL(FOLLOW, LEAVE),
    ]
