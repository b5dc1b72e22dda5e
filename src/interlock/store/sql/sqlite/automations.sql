-- name: automation_delete
-- Mark an automation as deleted. Its active runs continue, so its row stays.
UPDATE automations SET deleted_at = :at, updated_at = max(updated_at, :at), next_fire_at = NULL
WHERE tenant = :tenant AND id = :id AND deleted_at IS NULL;

-- name: automation_app
-- The app of an automation, even of a deleted one.
SELECT coalesce(json_extract(CAST(document AS TEXT), '$.appId'), '') FROM automations WHERE tenant = :tenant
    AND id = :id;

-- name: automations_scheduled
-- The automations of all tenants whose schedules are due next, after a place in this order.
SELECT tenant, id, definition, next_fire_at
FROM automations INDEXED BY automations_due
WHERE
    next_fire_at IS NOT NULL AND enabled AND deleted_at IS NULL
    AND (next_fire_at, tenant, id) > (:after_at, :after_tenant, :after_id)
ORDER BY next_fire_at, tenant, id LIMIT :limit;
