-- name: automation_insert
-- A new automation.
INSERT INTO automations (
    tenant, id, document, version, definition, created_at, updated_at, breaker_max, breaker_period
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: automation_update
-- The document, and the published version it now has.
UPDATE automations SET
    document = ?, version = ?, definition = ?, updated_at = ?, breaker_max = ?, breaker_period = ?
WHERE tenant = ? AND id = ?;

-- name: automation_delete
-- Mark as deleted: its runs go on, and so its row stays.
UPDATE automations SET deleted_at = ?, updated_at = max(updated_at, ?)
WHERE tenant = ? AND id = ? AND deleted_at IS NULL;

-- name: automation_any
-- One automation, even a deleted one.
SELECT tenant, id, document, version, definition, created_at, updated_at, deleted_at, breaker_max, breaker_period
FROM automations WHERE tenant = ? AND id = ?;

-- name: automation_get
-- One automation.
SELECT tenant, id, document, version, definition, created_at, updated_at, deleted_at, breaker_max, breaker_period
FROM automations WHERE tenant = ? AND id = ? AND deleted_at IS NULL;

-- name: automation_app
-- The app that one belongs to, even if it is deleted.
SELECT coalesce(json_extract(CAST(document AS TEXT), '$.appId'), '') FROM automations WHERE tenant = ? AND id = ?;

-- name: automations_page
-- In the order of their ids.
SELECT tenant, id, document, version, definition, created_at, updated_at, deleted_at, breaker_max, breaker_period
FROM automations WHERE tenant = ? AND deleted_at IS NULL AND id > ? ORDER BY id LIMIT ?;

-- name: definition_next
-- The id for the next definition.
SELECT coalesce(max(id), 0) + 1 FROM definitions WHERE tenant = ?;

-- name: definition_insert
-- A plan, for good.
INSERT INTO definitions (tenant, id, automation, version, digest, steps, triggers, context, created_at, apps)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: definition_get
-- One plan.
SELECT tenant, id, automation, version, steps, triggers, context, created_at, apps
FROM definitions WHERE tenant = ? AND id = ?;

-- name: definition_of_draft
-- The plan that was kept for the same draft.
SELECT tenant, id, automation, version, steps, triggers, context, created_at, apps
FROM definitions WHERE tenant = ? AND automation = ? AND digest = ? AND version = 0;

-- name: definitions_page
-- The published versions of one automation, newest first.
SELECT tenant, id, automation, version, steps, triggers, context, created_at, apps
FROM definitions WHERE tenant = ? AND automation = ? AND version > 0 AND version < ? ORDER BY version DESC LIMIT ?;
