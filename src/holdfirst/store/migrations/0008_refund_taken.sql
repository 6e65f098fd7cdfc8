-- When the provider answered that it took a refund. Its list may show it later than that: what was taken is not sent again.
alter table refund add column taken_at timestamptz;
