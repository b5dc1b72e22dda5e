-- The automations with a schedule, by the time at which it fires next: the job that fires schedules reads no other rows.

CREATE INDEX automations_due ON automations (next_fire_at, tenant, id)
    WHERE next_fire_at IS NOT NULL AND enabled AND deleted_at IS NULL;
