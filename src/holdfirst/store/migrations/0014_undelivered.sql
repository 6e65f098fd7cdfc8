-- What was given up, for doctor and /metrics: few of many.
create index webhook_delivery_failed on webhook_delivery (endpoint_id) where status = 'failed';
