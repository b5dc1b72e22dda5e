-- name: webhook_insert
-- A new webhook.
INSERT INTO webhooks (tenant, id, document, url, callback_timeout, created_at, updated_at)
VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: webhook_update
-- All that its owner can set.
UPDATE webhooks SET document = ?, url = ?, callback_timeout = ?, updated_at = ? WHERE tenant = ? AND id = ?;

-- name: webhook_delete
-- It is gone; what was called stays in the runs that called it.
DELETE FROM webhooks WHERE tenant = ? AND id = ?;

-- name: webhook_get
-- One webhook.
SELECT tenant, id, document, url, callback_timeout, created_at, updated_at FROM webhooks WHERE tenant = ? AND id = ?;

-- name: webhooks_page
-- In the order of their ids.
SELECT tenant, id, document, url, callback_timeout, created_at, updated_at
FROM webhooks WHERE tenant = ? AND id > ? ORDER BY id LIMIT ?;
