-- A tenant that is let in no more; what it did stays on record.

ALTER TABLE tenants ADD COLUMN revoked_at INTEGER;
