-- When the newest call for a refund was made. One without an answer may still be on its way: it is not made again before
-- it had time to arrive.
alter table refund add column sent_at timestamptz;
update refund set sent_at = created_at where sent;
