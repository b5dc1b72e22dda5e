-- name: webhook_insert
-- A new webhook.
INSERT INTO webhooks ({webhook}) VALUES ({:webhook});

-- name: webhook_update
-- All that its owner can set.
UPDATE webhooks SET document = :document, url = :url, callback_timeout = :callback_timeout,
    updated_at = :updated_at WHERE tenant = :tenant AND id = :id;

-- name: webhook_delete
-- It is gone; what was called stays in the runs that called it.
DELETE FROM webhooks WHERE tenant = :tenant AND id = :id;

-- name: webhook_get
-- One webhook.
SELECT {webhook} FROM webhooks WHERE tenant = :tenant
    AND id = :id;

-- name: webhooks_page
-- In the order of their ids.
SELECT {webhook} FROM webhooks WHERE tenant = :tenant AND id > :after ORDER BY id LIMIT :limit;
