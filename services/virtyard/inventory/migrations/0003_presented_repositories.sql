-- A repository names the servers that it is presented to; until now these were all servers of its pool. Each is appended
-- to the stored message as field 16 (its tag is 82 01, then the length), which adds an item to a repeated field.
UPDATE object SET body = CAST(
    body || coalesce(
        (
            SELECT group_concat(CAST(x'8201' AS TEXT) || char(length(member.source)) || member.source, '')
            FROM (
                SELECT joined.source FROM relation AS joined
                JOIN relation AS pool ON pool.target = joined.target
                WHERE pool.source = object.name AND pool.field = 'server_pool'
                AND joined.field = 'server_pool' AND joined.kind = 'servers'
                ORDER BY joined.source
            ) AS member
        ),
        ''
    ) AS BLOB
)
WHERE kind = 'repositories' AND deleted = 0;
INSERT INTO relation (source, field, target, kind, position, amount)
SELECT repository.source, 'servers', member.source, 'repositories', 0, 0 FROM relation AS repository
JOIN relation AS member ON member.target = repository.target
WHERE repository.kind = 'repositories' AND repository.field = 'server_pool'
AND member.kind = 'servers' AND member.field = 'server_pool';
