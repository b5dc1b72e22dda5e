-- The runs of tenants that an earlier release revoked: it left them active, and out of everybody's reach.

INSERT INTO bulk_actions (tenant, id, automation, kind, client, principal, address, reason, at, up_to)
SELECT id, 'revoked-' || id, '', 'terminate_active', 'system', '', '', 'the tenant was revoked', revoked_at, 9223372036854775807
FROM tenants WHERE revoked_at IS NOT NULL;
