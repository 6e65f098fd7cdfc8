-- When the newest call for a refund was made. One without an answer may still be on its way: it is not made again before
-- it had time to arrive, and those of the version before count as made just now.
alter table refund add column sent_at timestamptz;
update refund set sent_at = clock_timestamp() where sent and status = 'due';
