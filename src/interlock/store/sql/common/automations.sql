-- name: automation_insert
-- Insert an automation.
INSERT INTO automations (
    tenant, id, document, version, definition, created_at, updated_at, breaker_max, breaker_period, enabled, next_fire_at
) VALUES (
    :tenant, :id, :document, :version, :definition, :created_at, :updated_at, :breaker_max, :breaker_period, :enabled,
    :next_fire_at
);

-- name: automation_update
-- Update the document, and the published version.
UPDATE automations SET
    document = :document, version = :version, definition = :definition, updated_at = :updated_at,
    breaker_max = :breaker_max, breaker_period = :breaker_period, enabled = :enabled, next_fire_at = :next_fire_at
WHERE tenant = :tenant AND id = :id;

-- name: automation_any
-- Read an automation, even a deleted one.
SELECT {automation} FROM automations WHERE tenant = :tenant AND id = :id;

-- name: automation_get
-- Read an automation.
SELECT {automation} FROM automations WHERE tenant = :tenant AND id = :id AND deleted_at IS NULL;

-- name: automations_page
-- A page of automations in the order of their ids.
SELECT {automation}
FROM automations WHERE tenant = :tenant AND deleted_at IS NULL AND id > :after ORDER BY id LIMIT :limit;

-- name: automation_fire
-- Advance the schedule of an automation, guarded by the time that was read, and only while it is enabled.
UPDATE automations SET next_fire_at = :next
WHERE tenant = :tenant AND id = :id AND next_fire_at = :due AND enabled AND deleted_at IS NULL;

-- name: definition_next
-- The id for the next definition.
SELECT coalesce(max(id), 0) + 1 FROM definitions WHERE tenant = :tenant;

-- name: definition_insert
-- Insert a definition, which never changes.
INSERT INTO definitions (tenant, id, automation, version, digest, steps, triggers, context, created_at, apps,
    on_demand)
VALUES (:tenant, :id, :automation, :version, :digest, :steps, :triggers, :context, :created_at, :apps, :on_demand);

-- name: definition_get
-- Read a definition.
SELECT {definition} FROM definitions WHERE tenant = :tenant AND id = :id;

-- name: definition_of_draft
-- The definition that was stored for the same draft.
SELECT {definition}
FROM definitions WHERE tenant = :tenant AND automation = :automation AND digest = :digest AND version = 0;

-- name: definitions_page
-- A page of the published versions of an automation, newest first.
SELECT {definition}
FROM definitions WHERE tenant = :tenant AND automation = :automation AND version > 0 AND version < :before
ORDER BY version DESC LIMIT :limit;
