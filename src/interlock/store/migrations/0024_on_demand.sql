-- Whether no trigger of a definition starts a run by itself, so that steps of other automations may start it. The trigger kinds say
-- so when a definition is published. Of the definitions of earlier releases, those with no trigger but `manual` are on demand.

ALTER TABLE definitions ADD COLUMN on_demand INTEGER NOT NULL DEFAULT 1;

UPDATE definitions SET on_demand = 0
WHERE
    json_valid(CAST(triggers AS TEXT))
    AND EXISTS (
        SELECT 1
        FROM json_each(CASE WHEN json_valid(CAST(triggers AS TEXT)) THEN CAST(triggers AS TEXT) ELSE '[]' END) t
        JOIN json_each(CASE WHEN t.type = 'object' THEN t.value ELSE '{}' END) arm
        WHERE arm.key <> 'manual' AND arm.type <> 'null'
    );
