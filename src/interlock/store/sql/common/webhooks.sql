-- name: webhook_insert
-- Insert a webhook.
INSERT INTO webhooks ({webhook}) VALUES ({:webhook});

-- name: webhook_update
-- Update the properties of a webhook that its owner can set.
UPDATE webhooks SET document = :document, url = :url, callback_timeout = :callback_timeout,
    updated_at = :updated_at WHERE tenant = :tenant AND id = :id;

-- name: webhook_delete
-- Delete a webhook. The runs that called it keep their record of it.
DELETE FROM webhooks WHERE tenant = :tenant AND id = :id;

-- name: webhook_get
-- Read a webhook.
SELECT {webhook} FROM webhooks WHERE tenant = :tenant
    AND id = :id;

-- name: webhooks_page
-- A page of webhooks in the order of their ids.
SELECT {webhook} FROM webhooks WHERE tenant = :tenant AND id > :after ORDER BY id LIMIT :limit;
