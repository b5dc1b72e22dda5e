-- name: execution
-- A run. `fenced` is not in the list: only the store reads it.
tenant, id, automation, definition, state, epoch, step, attempt, attempt_epoch, items, waiting_for, wake_at, holder,
created_at, updated_at, completed_at, is_draft, parent, root, depth

-- name: step_opened
-- An attempt in flight, or a waiting step.
tenant, execution, position, attempt, epoch, started_at, waiting_for, input, sealed_input, key

-- name: step_closed
-- A step that settled in the commit that reached it.
tenant, execution, position, attempt, epoch, started_at, settled_at, outcome, input, output, error, sealed_output

-- name: termination
-- An accepted termination, as it is stored; `below` is counted later.
tenant, execution, client, principal, address, reason, asked_mode, cascade, deadline, cause, cause_execution,
accepted_at, deadline_at, mode, found

-- name: cascade
-- A cascade that one commit could not complete.
tenant, root, execution, client, principal, address, reason, mode, deadline, cause, at

-- name: automation
-- An automation, without the state of its circuit breaker.
tenant, id, document, version, definition, created_at, updated_at, deleted_at, breaker_max, breaker_period,
enabled, next_fire_at

-- name: definition
-- A definition. Its digest finds a draft, and is not read.
tenant, id, automation, version, steps, triggers, context, created_at, apps, on_demand

-- name: webhook
-- A webhook.
tenant, id, document, url, callback_timeout, created_at, updated_at

-- name: client
-- A client.
tenant, id, display_name, public_key, roles, created_at, expires_at, revoked_at, apps

-- name: tenant
-- A tenant, without the settings for its runs.
id, name, created_at, automations_disabled, revoked_at

-- name: bulk_termination
-- A bulk termination and its results.
tenant, id, client, principal, address, reason, mode, deadline, cascade, paused, at, total, accepted, repeated,
already_finished, denied, not_found, finished_at, aborted_at, below

-- name: bulk_action
-- A decision about many runs.
tenant, id, automation, kind, client, principal, address, reason, at, up_to

-- name: addendum
-- A finding about a step that was learned later.
tenant, execution, number, position, attempt, item, finding, note, client, principal, address, at

-- name: audit
-- A row of the audit record, without the number that the database gives it.
tenant, at, client, principal, address, action, target, outcome, reason, details
