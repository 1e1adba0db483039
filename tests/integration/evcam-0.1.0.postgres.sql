CREATE SCHEMA evcam;
CREATE TABLE evcam.about (
    version integer NOT NULL
);
CREATE TABLE evcam.attempts (
    uuid text NOT NULL,
    place bigint NOT NULL,
    number bigint,
    state text,
    worker text,
    retries bigint,
    eta text,
    expires text,
    sent timestamp with time zone,
    received timestamp with time zone,
    started timestamp with time zone,
    ended timestamp with time zone,
    runtime double precision,
    result text,
    exception text,
    traceback text,
    terminated boolean,
    signum text,
    expired boolean,
    requeue boolean
);
CREATE TABLE evcam.snapshots (
    evcam text NOT NULL,
    sequence bigint NOT NULL,
    host text,
    pid bigint,
    started timestamp with time zone,
    at timestamp with time zone,
    since timestamp with time zone,
    period double precision,
    warm boolean,
    connected boolean,
    gaps jsonb,
    dropped bigint,
    missed bigint,
    events bigint,
    tasks bigint,
    lost bigint
);
CREATE TABLE evcam.tasks (
    uuid text NOT NULL,
    name text,
    state text,
    worker text,
    retries bigint,
    eta text,
    expires text,
    sent timestamp with time zone,
    received timestamp with time zone,
    started timestamp with time zone,
    ended timestamp with time zone,
    runtime double precision,
    result text,
    exception text,
    traceback text,
    terminated boolean,
    signum text,
    expired boolean,
    requeue boolean,
    retried timestamp with time zone,
    wait double precision,
    args text,
    kwargs text,
    root_id text,
    parent_id text,
    client text,
    queue text,
    exchange text,
    routing_key text,
    note jsonb,
    extra jsonb,
    first_heard timestamp with time zone,
    last_heard timestamp with time zone,
    heard text
);
CREATE TABLE evcam.workers (
    hostname text NOT NULL,
    pid bigint,
    freq double precision,
    active bigint,
    processed bigint,
    loadavg jsonb,
    sw_ident text,
    sw_ver text,
    sw_sys text,
    online_since timestamp with time zone,
    goodbye timestamp with time zone,
    last_told timestamp with time zone,
    last_heard timestamp with time zone,
    extra jsonb,
    heard text
);
INSERT INTO evcam.about VALUES (1);
INSERT INTO evcam.attempts VALUES ('given back and waiting', 0, 0, 'REJECTED', 'celery@one', 0, NULL, NULL, '1969-12-31 20:30:10-03:30', '1969-12-31 20:30:11-03:30', '1969-12-31 20:30:12-03:30', '1969-12-31 20:30:13-03:30', 1, NULL, NULL, NULL, NULL, NULL, NULL, true);
INSERT INTO evcam.attempts VALUES ('sent for its second try', 0, 0, 'RETRY', 'celery@one', 0, NULL, NULL, '1969-12-31 20:30:10-03:30', '1969-12-31 20:30:10.5-03:30', '1969-12-31 20:30:12-03:30', '1969-12-31 20:30:14-03:30', 2, NULL, 'OSError(5)', 'Traceback
OSError: 5', NULL, NULL, NULL, NULL);
INSERT INTO evcam.attempts VALUES ('waits for its second try', 0, 0, 'RETRY', 'celery@one', 0, NULL, NULL, '1969-12-31 20:30:10-03:30', '1969-12-31 20:30:10.5-03:30', '1969-12-31 20:30:12-03:30', '1969-12-31 20:30:14-03:30', 2, NULL, 'OSError(5)', 'Traceback
OSError: 5', NULL, NULL, NULL, NULL);
INSERT INTO evcam.attempts VALUES ('connection lost while it ran', 0, 0, 'CANCELLED', 'celery@one', 0, NULL, NULL, '1969-12-31 20:30:10-03:30', '1969-12-31 20:30:11-03:30', '1969-12-31 20:30:12-03:30', '1969-12-31 20:30:13-03:30', 1, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO evcam.attempts VALUES ('delivered again after its success', 0, 0, 'SUCCESS', 'celery@one', 0, NULL, NULL, '1969-12-31 20:30:10-03:30', '1969-12-31 20:30:11-03:30', '1969-12-31 20:30:12-03:30', '1969-12-31 20:30:13-03:30', 0.5, '4', NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO evcam.attempts VALUES ('ended before it is told to be retried', 0, 0, 'RETRY', 'celery@one', 0, NULL, NULL, '1969-12-31 20:30:10-03:30', '1969-12-31 20:30:10.5-03:30', '1969-12-31 20:30:12-03:30', '1969-12-31 20:30:17-03:30', 5, NULL, 'OSError(5)', 'Traceback
OSError: 5', NULL, NULL, NULL, NULL);
INSERT INTO evcam.attempts VALUES ('given back and delivered again', 0, 0, 'REJECTED', 'celery@one', 0, NULL, NULL, '1969-12-31 20:30:10-03:30', '1969-12-31 20:30:11-03:30', '1969-12-31 20:30:12-03:30', '1969-12-31 20:30:13-03:30', 1, NULL, NULL, NULL, NULL, NULL, NULL, true);
INSERT INTO evcam.attempts VALUES ('given back and delivered to the other', 0, 0, 'REJECTED', 'celery@one', 0, NULL, NULL, '1969-12-31 20:30:10-03:30', '1969-12-31 20:30:11-03:30', '1969-12-31 20:30:12-03:30', '1969-12-31 20:30:13-03:30', 1, NULL, NULL, NULL, NULL, NULL, NULL, true);
INSERT INTO evcam.attempts VALUES ('received for its second try before it is told to have started', 0, 0, 'RETRY', 'celery@one', 0, NULL, NULL, '1969-12-31 20:30:10-03:30', '1969-12-31 20:30:10.5-03:30', '1969-12-31 20:30:12-03:30', '1969-12-31 20:30:13-03:30', 1, NULL, 'OSError(5)', 'Traceback
OSError: 5', NULL, NULL, NULL, NULL);
INSERT INTO evcam.attempts VALUES ('replaced by another', 0, 0, 'STARTED', 'celery@one', 0, NULL, NULL, '1969-12-31 20:30:10-03:30', '1969-12-31 20:30:11-03:30', '1969-12-31 20:30:12-03:30', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO evcam.attempts VALUES ('retried at the other worker', 0, 0, 'RETRY', 'celery@one', 0, NULL, NULL, '1969-12-31 20:30:10-03:30', '1969-12-31 20:30:10.5-03:30', '1969-12-31 20:30:12-03:30', '1969-12-31 20:30:14-03:30', 2, NULL, 'OSError(5)', 'Traceback
OSError: 5', NULL, NULL, NULL, NULL);
INSERT INTO evcam.attempts VALUES ('retried at the same worker', 0, 0, 'RETRY', 'celery@one', 0, NULL, NULL, '1969-12-31 20:30:10-03:30', '1969-12-31 20:30:10.5-03:30', '1969-12-31 20:30:12-03:30', '1969-12-31 20:30:14-03:30', 2, NULL, 'OSError(5)', 'Traceback
OSError: 5', NULL, NULL, NULL, NULL);
INSERT INTO evcam.attempts VALUES ('retried in vain', 0, 0, 'RETRY', 'celery@one', 0, NULL, NULL, '1969-12-31 20:30:10-03:30', '1969-12-31 20:30:10.5-03:30', '1969-12-31 20:30:12-03:30', '1969-12-31 20:30:14-03:30', 2, NULL, 'OSError(1)', 'Traceback
OSError: 5', NULL, NULL, NULL, NULL);
INSERT INTO evcam.attempts VALUES ('retried in vain', 1, 1, 'RETRY', 'celery@one', 1, NULL, NULL, '1969-12-31 20:30:13-03:30', '1969-12-31 20:30:13.5-03:30', '1969-12-31 20:30:15-03:30', '1969-12-31 20:30:17-03:30', 2, NULL, 'OSError(2)', 'Traceback
OSError: 5', NULL, NULL, NULL, NULL);
INSERT INTO evcam.attempts VALUES ('run by both at a time', 0, 0, 'SUCCESS', 'celery@one', 0, NULL, NULL, '1969-12-31 20:30:10-03:30', '1969-12-31 20:30:11-03:30', '1969-12-31 20:30:12-03:30', '1969-12-31 20:30:15-03:30', 0.5, '4', NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO evcam.attempts VALUES ('running for its second try before it is told to be retried', 0, 0, 'RETRY', 'celery@one', 0, NULL, NULL, '1969-12-31 20:30:10-03:30', '1969-12-31 20:30:10.5-03:30', '1969-12-31 20:30:12-03:30', '1969-12-31 20:30:16-03:30', 4, NULL, 'OSError(5)', 'Traceback
OSError: 5', NULL, NULL, NULL, NULL);
INSERT INTO evcam.attempts VALUES ('its worker died', 0, 0, 'STARTED', 'celery@one', 0, NULL, NULL, '1969-12-31 20:30:10-03:30', '1969-12-31 20:30:11-03:30', '1969-12-31 20:30:12-03:30', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO evcam.snapshots VALUES ('host:16204:1796065194.195', 1, 'host', 16204, '2026-11-30 15:29:54.194801-03:30', '1969-12-31 20:30:10.25-03:30', '1969-12-31 20:30:05.25-03:30', 5, true, true, '[]', 0, 0, 0, 0, 0);
INSERT INTO evcam.snapshots VALUES ('host:16204:1796065194.195', 2, 'host', 16204, '2026-11-30 15:29:54.194801-03:30', '1969-12-31 20:30:15.25-03:30', '1969-12-31 20:30:10.25-03:30', 5, true, true, '[]', 0, 0, 151, 34, 0);
INSERT INTO evcam.snapshots VALUES ('host:16204:1796065194.195', 3, 'host', 16204, '2026-11-30 15:29:54.194801-03:30', '1969-12-31 20:30:20.25-03:30', '1969-12-31 20:30:15.25-03:30', 5, true, true, '[]', 0, 0, 26, 12, 0);
INSERT INTO evcam.snapshots VALUES ('host:16204:1796065194.195', 4, 'host', 16204, '2026-11-30 15:29:54.194801-03:30', '1969-12-31 20:30:30.25-03:30', '1969-12-31 20:30:20.25-03:30', 10, true, true, '[]', 0, 0, 3, 1, 0);
INSERT INTO evcam.snapshots VALUES ('host:16204:1796065194.195', 5, 'host', 16204, '2026-11-30 15:29:54.194801-03:30', '1969-12-31 20:30:30.25-03:30', '1969-12-31 20:30:30.25-03:30', 0, true, true, '[]', 0, 0, 0, 0, 0);
INSERT INTO evcam.tasks VALUES ('cancelled', 'shop.pay', 'CANCELLED', 'celery@one', 0, NULL, NULL, '1969-12-31 20:30:10-03:30', '1969-12-31 20:30:11-03:30', '1969-12-31 20:30:12-03:30', '1969-12-31 20:30:13-03:30', 1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 2, '(1,)', '{}', 'cancelled', NULL, 'gen1@shop', 'mail', '', 'mail', NULL, NULL, '1969-12-31 20:30:10.25-03:30', '1969-12-31 20:30:13.25-03:30', '{"first":10.25,"last":13.25,"steps":[["sent",10.0,{}],["received",11.0,{}],["started",12.0,{}],["cancelled",13.0,{}]]}');
INSERT INTO evcam.tasks VALUES ('expired', 'shop.pay', 'REVOKED', 'celery@one', 0, NULL, NULL, '1969-12-31 20:30:10-03:30', '1969-12-31 20:30:11-03:30', NULL, '1969-12-31 20:30:13-03:30', NULL, NULL, NULL, NULL, false, 'SIGTERM', true, NULL, NULL, NULL, '(1,)', '{}', 'expired', NULL, 'gen1@shop', 'mail', '', 'mail', NULL, NULL, '1969-12-31 20:30:10.25-03:30', '1969-12-31 20:30:13.25-03:30', '{"first":10.25,"last":13.25,"steps":[["sent",10.0,{}],["received",11.0,{}],["revoked",13.0,{"expired":true,"signum":"SIGTERM","terminated":false}]]}');
INSERT INTO evcam.tasks VALUES ('failed', 'shop.pay', 'FAILURE', 'celery@one', 0, NULL, NULL, '1969-12-31 20:30:10-03:30', '1969-12-31 20:30:11-03:30', '1969-12-31 20:30:12-03:30', '1969-12-31 20:30:13-03:30', 1, NULL, 'OSError(5)', 'Traceback
OSError: 5', NULL, NULL, NULL, NULL, NULL, 2, '(1,)', '{}', 'failed', NULL, 'gen1@shop', 'mail', '', 'mail', NULL, NULL, '1969-12-31 20:30:10.25-03:30', '1969-12-31 20:30:13.25-03:30', '{"first":10.25,"last":13.25,"steps":[["sent",10.0,{}],["received",11.0,{}],["started",12.0,{}],["failed",13.0,{}]]}');
INSERT INTO evcam.tasks VALUES ('given back', 'shop.pay', 'REJECTED', 'celery@one', 0, NULL, NULL, '1969-12-31 20:30:10-03:30', '1969-12-31 20:30:11-03:30', '1969-12-31 20:30:12-03:30', '1969-12-31 20:30:13-03:30', 1, NULL, NULL, NULL, NULL, NULL, NULL, true, NULL, 2, '(1,)', '{}', 'given back', NULL, 'gen1@shop', 'mail', '', 'mail', NULL, NULL, '1969-12-31 20:30:10.25-03:30', '1969-12-31 20:30:13.25-03:30', '{"first":10.25,"last":13.25,"steps":[["sent",10.0,{}],["received",11.0,{}],["started",12.0,{}],["rejected",13.0,{"requeue":true}]]}');
INSERT INTO evcam.tasks VALUES ('given back and waiting', 'shop.pay', 'RECEIVED', 'celery@one', 0, NULL, NULL, NULL, '1969-12-31 20:30:14-03:30', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '(1,)', '{}', 'given back and waiting', NULL, 'gen1@shop', 'mail', '', 'mail', NULL, NULL, '1969-12-31 20:30:10.25-03:30', '1969-12-31 20:30:14.25-03:30', '{"first":10.25,"last":14.25,"steps":[["sent",10.0,{}],["received",11.0,{}],["started",12.0,{}],["rejected",13.0,{"requeue":true}],["received",14.0,{}]]}');
INSERT INTO evcam.tasks VALUES ('nobody has it', 'shop.pay', 'FAILURE', 'celery@one', 0, NULL, NULL, '1969-12-31 20:30:10-03:30', NULL, NULL, '1969-12-31 20:30:11-03:30', NULL, NULL, 'NotRegistered(''x'')', 'Traceback
OSError: 5', NULL, NULL, NULL, NULL, NULL, NULL, '(1,)', '{}', 'nobody has it', NULL, 'gen1@shop', 'mail', '', 'mail', NULL, NULL, '1969-12-31 20:30:10.25-03:30', '1969-12-31 20:30:11.25-03:30', '{"first":10.25,"last":11.25,"steps":[["sent",10.0,{}],["failed",11.0,{}]]}');
INSERT INTO evcam.tasks VALUES ('not announced', 'shop.pay', 'SUCCESS', 'celery@one', 0, NULL, NULL, NULL, '1969-12-31 20:30:11-03:30', '1969-12-31 20:30:12-03:30', '1969-12-31 20:30:13-03:30', 0.5, '4', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1, '(1,)', '{}', 'not announced', NULL, NULL, NULL, NULL, NULL, NULL, NULL, '1969-12-31 20:30:11.25-03:30', '1969-12-31 20:30:13.25-03:30', '{"first":11.25,"last":13.25,"steps":[["received",11.0,{}],["started",12.0,{}],["succeeded",13.0,{"runtime":0.5}]]}');
INSERT INTO evcam.tasks VALUES ('pending', 'shop.pay', 'PENDING', NULL, 0, NULL, NULL, '1969-12-31 20:30:10-03:30', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '(1,)', '{}', 'pending', NULL, 'gen1@shop', 'mail', '', 'mail', NULL, NULL, '1969-12-31 20:30:10.25-03:30', '1969-12-31 20:30:10.25-03:30', '{"first":10.25,"last":10.25,"steps":[["sent",10.0,{}]]}');
INSERT INTO evcam.tasks VALUES ('rejected for good', 'shop.pay', 'FAILURE', 'celery@one', 0, NULL, NULL, '1969-12-31 20:30:10-03:30', '1969-12-31 20:30:11-03:30', '1969-12-31 20:30:12-03:30', '1969-12-31 20:30:13-03:30', 1, NULL, 'OSError(5)', 'Traceback
OSError: 5', NULL, NULL, NULL, false, NULL, 2, '(1,)', '{}', 'rejected for good', NULL, 'gen1@shop', 'mail', '', 'mail', NULL, NULL, '1969-12-31 20:30:10.25-03:30', '1969-12-31 20:30:13.35-03:30', '{"first":10.25,"last":13.35,"steps":[["sent",10.0,{}],["received",11.0,{}],["started",12.0,{}],["failed",13.0,{}],["rejected",13.1,{"requeue":false}]]}');
INSERT INTO evcam.tasks VALUES ('rejected for good, the other way round', 'shop.pay', 'FAILURE', 'celery@one', 0, NULL, NULL, '1969-12-31 20:30:10-03:30', '1969-12-31 20:30:11-03:30', '1969-12-31 20:30:12-03:30', '1969-12-31 20:30:13.1-03:30', 1.0999999999999996, NULL, 'OSError(5)', 'Traceback
OSError: 5', NULL, NULL, NULL, false, NULL, 2, '(1,)', '{}', 'rejected for good, the other way round', NULL, 'gen1@shop', 'mail', '', 'mail', NULL, NULL, '1969-12-31 20:30:10.25-03:30', '1969-12-31 20:30:13.35-03:30', '{"first":10.25,"last":13.35,"steps":[["sent",10.0,{}],["received",11.0,{}],["started",12.0,{}],["rejected",13.0,{"requeue":false}],["failed",13.1,{}]]}');
INSERT INTO evcam.tasks VALUES ('renamed by who receives it', 'shop.charge', 'STARTED', 'celery@one', 0, NULL, NULL, '1969-12-31 20:30:10-03:30', '1969-12-31 20:30:11-03:30', '1969-12-31 20:30:12-03:30', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 2, '(1,)', '{}', 'renamed by who receives it', NULL, 'gen1@shop', 'mail', '', 'mail', NULL, NULL, '1969-12-31 20:30:10.25-03:30', '1969-12-31 20:30:12.25-03:30', '{"first":10.25,"last":12.25,"steps":[["sent",10.0,{"name":"shop.pay"}],["received",11.0,{}],["started",12.0,{}]]}');
INSERT INTO evcam.tasks VALUES ('reserved', 'shop.pay', 'RECEIVED', 'celery@one', 0, NULL, NULL, '1969-12-31 20:30:10-03:30', '1969-12-31 20:30:11-03:30', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '(1,)', '{}', 'reserved', NULL, 'gen1@shop', 'mail', '', 'mail', NULL, NULL, '1969-12-31 20:30:10.25-03:30', '1969-12-31 20:30:11.25-03:30', '{"first":10.25,"last":11.25,"steps":[["sent",10.0,{}],["received",11.0,{}]]}');
INSERT INTO evcam.tasks VALUES ('its worker died', 'shop.pay', 'SUCCESS', 'celery@two', 0, NULL, NULL, NULL, '1969-12-31 20:30:20-03:30', '1969-12-31 20:30:21-03:30', '1969-12-31 20:30:22-03:30', 0.5, '4', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1, '(1,)', '{}', 'its worker died', NULL, 'gen1@shop', 'mail', '', 'mail', NULL, NULL, '1969-12-31 20:30:10.25-03:30', '1969-12-31 20:30:22.25-03:30', '{"first":10.25,"last":22.25,"steps":[["sent",10.0,{}],["received",11.0,{"hostname":"celery@one"}],["started",12.0,{"hostname":"celery@one"}],["received",20.0,{}],["started",21.0,{}],["succeeded",22.0,{"runtime":0.5}]]}');
INSERT INTO evcam.tasks VALUES ('revoked before it began', 'shop.pay', 'REVOKED', 'celery@one', 0, NULL, NULL, '1969-12-31 20:30:10-03:30', '1969-12-31 20:30:11-03:30', NULL, '1969-12-31 20:30:13-03:30', NULL, NULL, NULL, NULL, false, NULL, false, NULL, NULL, NULL, '(1,)', '{}', 'revoked before it began', NULL, 'gen1@shop', 'mail', '', 'mail', NULL, NULL, '1969-12-31 20:30:10.25-03:30', '1969-12-31 20:30:13.25-03:30', '{"first":10.25,"last":13.25,"steps":[["sent",10.0,{}],["received",11.0,{}],["revoked",13.0,{"expired":false,"terminated":false}]]}');
INSERT INTO evcam.tasks VALUES ('running', 'shop.pay', 'STARTED', 'celery@one', 0, NULL, NULL, '1969-12-31 20:30:10-03:30', '1969-12-31 20:30:11-03:30', '1969-12-31 20:30:12-03:30', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 2, '(1,)', '{}', 'running', NULL, 'gen1@shop', 'mail', '', 'mail', NULL, NULL, '1969-12-31 20:30:10.25-03:30', '1969-12-31 20:30:12.25-03:30', '{"first":10.25,"last":12.25,"steps":[["sent",10.0,{}],["received",11.0,{}],["started",12.0,{}]]}');
INSERT INTO evcam.tasks VALUES ('sent for its second try', 'shop.pay', 'RETRY', 'celery@one', 1, NULL, NULL, '1969-12-31 20:30:13-03:30', NULL, NULL, NULL, NULL, NULL, 'OSError(5)', 'Traceback
OSError: 5', NULL, NULL, NULL, NULL, '1969-12-31 20:30:14-03:30', NULL, '(1,)', '{}', 'sent for its second try', NULL, 'celery@one', 'mail', '', 'mail', NULL, NULL, '1969-12-31 20:30:10.25-03:30', '1969-12-31 20:30:14.25-03:30', '{"first":10.25,"last":14.25,"steps":[["sent",10.0,{"hostname":"gen1@shop","retries":0}],["received",10.5,{"retries":0}],["started",12.0,{}],["sent",13.0,{}],["retried",14.0,{}]]}');
INSERT INTO evcam.tasks VALUES ('succeeded', 'shop.pay', 'SUCCESS', 'celery@one', 0, NULL, NULL, '1969-12-31 20:30:10-03:30', '1969-12-31 20:30:11-03:30', '1969-12-31 20:30:12-03:30', '1969-12-31 20:30:13-03:30', 0.5, '4', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 2, '(1,)', '{}', 'succeeded', NULL, 'gen1@shop', 'mail', '', 'mail', '{"done": 1, "type": "task-progress", "timestamp": 12.5}', NULL, '1969-12-31 20:30:10.25-03:30', '1969-12-31 20:30:13.25-03:30', '{"first":10.25,"last":13.25,"steps":[["sent",10.0,{}],["received",11.0,{}],["started",12.0,{}],["succeeded",13.0,{"runtime":0.5}]],"note":["task-progress",12.5,{"done":1}]}');
INSERT INTO evcam.tasks VALUES ('terminated', 'shop.pay', 'REVOKED', 'celery@one', 0, NULL, NULL, '1969-12-31 20:30:10-03:30', '1969-12-31 20:30:11-03:30', '1969-12-31 20:30:12-03:30', '1969-12-31 20:30:13-03:30', 1, NULL, NULL, NULL, true, 'SIGTERM', false, NULL, NULL, 2, '(1,)', '{}', 'terminated', NULL, 'gen1@shop', 'mail', '', 'mail', NULL, NULL, '1969-12-31 20:30:10.25-03:30', '1969-12-31 20:30:13.25-03:30', '{"first":10.25,"last":13.25,"steps":[["sent",10.0,{}],["received",11.0,{}],["started",12.0,{}],["revoked",13.0,{"expired":false,"signum":"SIGTERM","terminated":true}]]}');
INSERT INTO evcam.tasks VALUES ('terminated while it ended', 'shop.pay', 'SUCCESS', 'celery@one', 0, NULL, NULL, '1969-12-31 20:30:10-03:30', '1969-12-31 20:30:11-03:30', '1969-12-31 20:30:12-03:30', '1969-12-31 20:30:13.2-03:30', 0.5, '4', NULL, NULL, true, 'SIGTERM', false, NULL, NULL, 2, '(1,)', '{}', 'terminated while it ended', NULL, 'gen1@shop', 'mail', '', 'mail', NULL, NULL, '1969-12-31 20:30:10.25-03:30', '1969-12-31 20:30:13.45-03:30', '{"first":10.25,"last":13.45,"steps":[["sent",10.0,{}],["received",11.0,{}],["started",12.0,{}],["revoked",13.0,{"expired":false,"signum":"SIGTERM","terminated":true}],["succeeded",13.2,{"runtime":0.5}]]}');
INSERT INTO evcam.tasks VALUES ('terminated, and told twice', 'shop.pay', 'REVOKED', 'celery@one', 0, NULL, NULL, '1969-12-31 20:30:10-03:30', '1969-12-31 20:30:11-03:30', '1969-12-31 20:30:12-03:30', '1969-12-31 20:30:13-03:30', 1, NULL, NULL, NULL, true, 'SIGTERM', false, NULL, NULL, 2, '(1,)', '{}', 'terminated, and told twice', NULL, 'gen1@shop', 'mail', '', 'mail', NULL, NULL, '1969-12-31 20:30:10.25-03:30', '1969-12-31 20:30:13.45-03:30', '{"first":10.25,"last":13.45,"steps":[["sent",10.0,{}],["received",11.0,{}],["started",12.0,{}],["revoked",13.0,{"expired":false,"signum":"SIGTERM","terminated":true}],["revoked",13.2,{"expired":false,"signum":"SIGKILL","terminated":true}]]}');
INSERT INTO evcam.tasks VALUES ('to be retried', 'shop.pay', 'RETRY', 'celery@one', 0, NULL, NULL, '1969-12-31 20:30:10-03:30', '1969-12-31 20:30:11-03:30', '1969-12-31 20:30:12-03:30', '1969-12-31 20:30:13-03:30', 1, NULL, 'OSError(5)', 'Traceback
OSError: 5', NULL, NULL, NULL, NULL, '1969-12-31 20:30:13-03:30', 2, '(1,)', '{}', 'to be retried', NULL, 'gen1@shop', 'mail', '', 'mail', NULL, NULL, '1969-12-31 20:30:10.25-03:30', '1969-12-31 20:30:13.25-03:30', '{"first":10.25,"last":13.25,"steps":[["sent",10.0,{}],["received",11.0,{}],["started",12.0,{}],["retried",13.0,{}]]}');
INSERT INTO evcam.tasks VALUES ('waits for its second try', 'shop.pay', 'RETRY', 'celery@one', 1, NULL, NULL, '1969-12-31 20:30:13-03:30', '1969-12-31 20:30:13.5-03:30', NULL, NULL, NULL, NULL, 'OSError(5)', 'Traceback
OSError: 5', NULL, NULL, NULL, NULL, '1969-12-31 20:30:14-03:30', NULL, '(1,)', '{}', 'waits for its second try', NULL, 'celery@one', 'mail', '', 'mail', NULL, NULL, '1969-12-31 20:30:10.25-03:30', '1969-12-31 20:30:14.25-03:30', '{"first":10.25,"last":14.25,"steps":[["sent",10.0,{"hostname":"gen1@shop","retries":0}],["received",10.5,{"retries":0}],["started",12.0,{}],["sent",13.0,{}],["received",13.5,{}],["retried",14.0,{}]]}');
INSERT INTO evcam.tasks VALUES ('connection lost while it ran', 'shop.pay', 'SUCCESS', 'celery@one', 0, NULL, NULL, NULL, '1969-12-31 20:30:14-03:30', '1969-12-31 20:30:15-03:30', '1969-12-31 20:30:16-03:30', 0.5, '4', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1, '(1,)', '{}', 'connection lost while it ran', NULL, 'gen1@shop', 'mail', '', 'mail', NULL, NULL, '1969-12-31 20:30:10.25-03:30', '1969-12-31 20:30:16.25-03:30', '{"first":10.25,"last":16.25,"steps":[["sent",10.0,{}],["received",11.0,{}],["started",12.0,{}],["cancelled",13.0,{}],["received",14.0,{}],["started",15.0,{}],["succeeded",16.0,{"runtime":0.5}]]}');
INSERT INTO evcam.tasks VALUES ('delivered again after its success', 'shop.pay', 'STARTED', 'celery@one', 0, NULL, NULL, NULL, '1969-12-31 20:30:14-03:30', '1969-12-31 20:30:15-03:30', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1, '(1,)', '{}', 'delivered again after its success', NULL, 'gen1@shop', 'mail', '', 'mail', NULL, NULL, '1969-12-31 20:30:10.25-03:30', '1969-12-31 20:30:15.25-03:30', '{"first":10.25,"last":15.25,"steps":[["sent",10.0,{}],["received",11.0,{}],["started",12.0,{}],["succeeded",13.0,{"result":"4","runtime":0.5}],["received",14.0,{}],["started",15.0,{}]]}');
INSERT INTO evcam.tasks VALUES ('ended before it is told to be retried', 'shop.pay', 'SUCCESS', 'celery@one', 1, NULL, NULL, '1969-12-31 20:30:13-03:30', '1969-12-31 20:30:13.5-03:30', '1969-12-31 20:30:15-03:30', '1969-12-31 20:30:16-03:30', 0.5, '4', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 2, '(1,)', '{}', 'ended before it is told to be retried', NULL, 'celery@one', 'mail', '', 'mail', NULL, NULL, '1969-12-31 20:30:10.25-03:30', '1969-12-31 20:30:17.25-03:30', '{"first":10.25,"last":17.25,"steps":[["sent",10.0,{"hostname":"gen1@shop","retries":0}],["received",10.5,{"retries":0}],["started",12.0,{}],["sent",13.0,{}],["received",13.5,{}],["started",15.0,{}],["succeeded",16.0,{"runtime":0.5}],["retried",17.0,{"exception":"OSError(5)","traceback":"Traceback\nOSError: 5"}]]}');
INSERT INTO evcam.tasks VALUES ('given back and delivered again', 'shop.pay', 'SUCCESS', 'celery@one', 0, NULL, NULL, NULL, '1969-12-31 20:30:14-03:30', '1969-12-31 20:30:15-03:30', '1969-12-31 20:30:16-03:30', 0.5, '4', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1, '(1,)', '{}', 'given back and delivered again', NULL, 'gen1@shop', 'mail', '', 'mail', NULL, NULL, '1969-12-31 20:30:10.25-03:30', '1969-12-31 20:30:16.25-03:30', '{"first":10.25,"last":16.25,"steps":[["sent",10.0,{}],["received",11.0,{}],["started",12.0,{}],["rejected",13.0,{"requeue":true}],["received",14.0,{}],["started",15.0,{}],["succeeded",16.0,{"runtime":0.5}]]}');
INSERT INTO evcam.tasks VALUES ('given back and delivered to the other', 'shop.pay', 'SUCCESS', 'celery@two', 0, NULL, NULL, NULL, '1969-12-31 20:30:14-03:30', '1969-12-31 20:30:15-03:30', '1969-12-31 20:30:16-03:30', 0.5, '4', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1, '(1,)', '{}', 'given back and delivered to the other', NULL, 'gen1@shop', 'mail', '', 'mail', NULL, NULL, '1969-12-31 20:30:10.25-03:30', '1969-12-31 20:30:16.25-03:30', '{"first":10.25,"last":16.25,"steps":[["sent",10.0,{}],["received",11.0,{"hostname":"celery@one"}],["started",12.0,{"hostname":"celery@one"}],["rejected",13.0,{"hostname":"celery@one","requeue":true}],["received",14.0,{}],["started",15.0,{}],["succeeded",16.0,{"runtime":0.5}]]}');
INSERT INTO evcam.tasks VALUES ('received for its second try before it is told to have started', 'shop.pay', 'SUCCESS', 'celery@one', 1, NULL, NULL, '1969-12-31 20:30:11-03:30', '1969-12-31 20:30:11.5-03:30', '1969-12-31 20:30:14-03:30', '1969-12-31 20:30:15-03:30', 0.5, '4', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 3, '(1,)', '{}', 'received for its second try before it is told to have started', NULL, 'celery@one', 'mail', '', 'mail', NULL, NULL, '1969-12-31 20:30:10.25-03:30', '1969-12-31 20:30:15.25-03:30', '{"first":10.25,"last":15.25,"steps":[["sent",10.0,{"hostname":"gen1@shop","retries":0}],["received",10.5,{"retries":0}],["sent",11.0,{}],["received",11.5,{}],["started",12.0,{}],["retried",13.0,{"exception":"OSError(5)","traceback":"Traceback\nOSError: 5"}],["started",14.0,{}],["succeeded",15.0,{"runtime":0.5}]]}');
INSERT INTO evcam.tasks VALUES ('replaced by another', 'shop.other', 'SUCCESS', 'celery@one', 0, NULL, NULL, '1969-12-31 20:30:12.5-03:30', '1969-12-31 20:30:13-03:30', '1969-12-31 20:30:14-03:30', '1969-12-31 20:30:15-03:30', 0.5, '4', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 1.5, '(1,)', '{}', 'replaced by another', NULL, 'celery@one', 'mail', '', 'mail', NULL, NULL, '1969-12-31 20:30:10.25-03:30', '1969-12-31 20:30:15.25-03:30', '{"first":10.25,"last":15.25,"steps":[["sent",10.0,{"hostname":"gen1@shop","name":"shop.pay"}],["received",11.0,{"name":"shop.pay"}],["started",12.0,{}],["sent",12.5,{}],["received",13.0,{}],["started",14.0,{}],["succeeded",15.0,{"runtime":0.5}]]}');
INSERT INTO evcam.tasks VALUES ('retried at the other worker', 'shop.pay', 'FAILURE', 'celery@two', 1, NULL, NULL, '1969-12-31 20:30:13-03:30', '1969-12-31 20:30:14.5-03:30', '1969-12-31 20:30:15-03:30', '1969-12-31 20:30:16-03:30', 1, NULL, 'OSError(5)', 'Traceback
OSError: 5', NULL, NULL, NULL, NULL, NULL, 2, '(1,)', '{}', 'retried at the other worker', NULL, 'celery@one', 'mail', '', 'mail', NULL, NULL, '1969-12-31 20:30:10.25-03:30', '1969-12-31 20:30:16.25-03:30', '{"first":10.25,"last":16.25,"steps":[["sent",10.0,{"hostname":"gen1@shop","retries":0}],["received",10.5,{"hostname":"celery@one","retries":0}],["started",12.0,{"hostname":"celery@one"}],["sent",13.0,{}],["retried",14.0,{"hostname":"celery@one"}],["received",14.5,{}],["started",15.0,{}],["failed",16.0,{}]]}');
INSERT INTO evcam.tasks VALUES ('retried at the same worker', 'shop.pay', 'SUCCESS', 'celery@one', 1, NULL, NULL, '1969-12-31 20:30:13-03:30', '1969-12-31 20:30:13.5-03:30', '1969-12-31 20:30:15-03:30', '1969-12-31 20:30:16-03:30', 0.5, '4', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 2, '(1,)', '{}', 'retried at the same worker', NULL, 'celery@one', 'mail', '', 'mail', NULL, NULL, '1969-12-31 20:30:10.25-03:30', '1969-12-31 20:30:16.25-03:30', '{"first":10.25,"last":16.25,"steps":[["sent",10.0,{"hostname":"gen1@shop","retries":0}],["received",10.5,{"retries":0}],["started",12.0,{}],["sent",13.0,{}],["received",13.5,{}],["retried",14.0,{"exception":"OSError(5)","traceback":"Traceback\nOSError: 5"}],["started",15.0,{}],["succeeded",16.0,{"runtime":0.5}]]}');
INSERT INTO evcam.tasks VALUES ('retried in vain', 'shop.pay', 'FAILURE', 'celery@one', 2, NULL, NULL, '1969-12-31 20:30:16-03:30', '1969-12-31 20:30:16.5-03:30', '1969-12-31 20:30:18-03:30', '1969-12-31 20:30:19-03:30', 1, NULL, 'OSError(3)', 'Traceback
OSError: 5', NULL, NULL, NULL, NULL, NULL, 2, '(1,)', '{}', 'retried in vain', NULL, 'celery@one', 'mail', '', 'mail', '{"done": 1, "type": "task-progress", "timestamp": 12.5}', NULL, '1969-12-31 20:30:10.25-03:30', '1969-12-31 20:30:19.25-03:30', '{"first":10.25,"last":19.25,"steps":[["sent",10.0,{"hostname":"gen1@shop","retries":0}],["received",10.5,{"retries":0}],["started",12.0,{}],["sent",13.0,{"retries":1}],["received",13.5,{"retries":1}],["retried",14.0,{"exception":"OSError(1)"}],["started",15.0,{}],["sent",16.0,{}],["received",16.5,{}],["retried",17.0,{"exception":"OSError(2)"}],["started",18.0,{}],["failed",19.0,{}]],"note":["task-progress",12.5,{"done":1}]}');
INSERT INTO evcam.tasks VALUES ('run by both at a time', 'shop.pay', 'FAILURE', 'celery@two', 0, NULL, NULL, NULL, '1969-12-31 20:30:13-03:30', '1969-12-31 20:30:14-03:30', '1969-12-31 20:30:16-03:30', 2, NULL, 'OSError(5)', 'Traceback
OSError: 5', NULL, NULL, NULL, NULL, NULL, 1, '(1,)', '{}', 'run by both at a time', NULL, 'gen1@shop', 'mail', '', 'mail', NULL, NULL, '1969-12-31 20:30:10.25-03:30', '1969-12-31 20:30:16.25-03:30', '{"first":10.25,"last":16.25,"steps":[["sent",10.0,{}],["received",11.0,{"hostname":"celery@one"}],["started",12.0,{"hostname":"celery@one"}],["received",13.0,{}],["started",14.0,{}],["succeeded",15.0,{"hostname":"celery@one","result":"4","runtime":0.5}],["failed",16.0,{}]]}');
INSERT INTO evcam.tasks VALUES ('running for its second try before it is told to be retried', 'shop.pay', 'STARTED', 'celery@one', 1, NULL, NULL, '1969-12-31 20:30:13-03:30', '1969-12-31 20:30:13.5-03:30', '1969-12-31 20:30:15-03:30', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 2, '(1,)', '{}', 'running for its second try before it is told to be retried', NULL, 'celery@one', 'mail', '', 'mail', NULL, NULL, '1969-12-31 20:30:10.25-03:30', '1969-12-31 20:30:16.25-03:30', '{"first":10.25,"last":16.25,"steps":[["sent",10.0,{"hostname":"gen1@shop","retries":0}],["received",10.5,{"retries":0}],["started",12.0,{}],["sent",13.0,{}],["received",13.5,{}],["started",15.0,{}],["retried",16.0,{"exception":"OSError(5)","traceback":"Traceback\nOSError: 5"}]]}');
INSERT INTO evcam.workers VALUES ('celery@one', 77, 2, 9, 0, '[0.5, 0.25, 0.125]', 'py-celery', '5.6.2', 'Linux', '1969-12-31 20:30:05-03:30', '1969-12-31 20:30:30-03:30', '1969-12-31 20:30:09-03:30', '1969-12-31 20:30:30.25-03:30', '{"zone": {"eu": [1, null]}}', '{"last":30.25,"told":{"worker-heartbeat":["worker-heartbeat",9.0,{"active":9,"freq":2.0,"loadavg":[0.5,0.25,0.125],"pid":77,"processed":0,"sw_ident":"py-celery","sw_sys":"Linux","sw_ver":"5.6.2","zone":{"eu":[1,null]}}],"worker-offline":["worker-offline",30.0,{"active":30,"freq":2.0,"loadavg":[0.5,0.25,0.125],"pid":77,"processed":0,"sw_ident":"py-celery","sw_sys":"Linux","sw_ver":"5.6.2","zone":{"eu":[1,null]}}],"worker-online":["worker-online",5.0,{"active":5,"freq":2.0,"loadavg":[0.5,0.25,0.125],"pid":77,"processed":0,"sw_ident":"py-celery","sw_sys":"Linux","sw_ver":"5.6.2","zone":{"eu":[1,null]}}]}}');
INSERT INTO evcam.workers VALUES ('celery@two', 77, 2, 9, 0, '[0.5, 0.25, 0.125]', 'py-celery', '5.6.2', 'Linux', '1969-12-31 20:30:05-03:30', '1969-12-31 20:30:30-03:30', '1969-12-31 20:30:09-03:30', '1969-12-31 20:30:30.25-03:30', '{"zone": {"eu": [1, null]}}', '{"last":30.25,"told":{"worker-heartbeat":["worker-heartbeat",9.0,{"active":9,"freq":2.0,"loadavg":[0.5,0.25,0.125],"pid":77,"processed":0,"sw_ident":"py-celery","sw_sys":"Linux","sw_ver":"5.6.2","zone":{"eu":[1,null]}}],"worker-offline":["worker-offline",30.0,{"active":30,"freq":2.0,"loadavg":[0.5,0.25,0.125],"pid":77,"processed":0,"sw_ident":"py-celery","sw_sys":"Linux","sw_ver":"5.6.2","zone":{"eu":[1,null]}}],"worker-online":["worker-online",5.0,{"active":5,"freq":2.0,"loadavg":[0.5,0.25,0.125],"pid":77,"processed":0,"sw_ident":"py-celery","sw_sys":"Linux","sw_ver":"5.6.2","zone":{"eu":[1,null]}}]}}');
ALTER TABLE ONLY evcam.attempts
    ADD CONSTRAINT attempts_pkey PRIMARY KEY (uuid, place);
ALTER TABLE ONLY evcam.snapshots
    ADD CONSTRAINT snapshots_pkey PRIMARY KEY (evcam, sequence);
ALTER TABLE ONLY evcam.tasks
    ADD CONSTRAINT tasks_pkey PRIMARY KEY (uuid);
ALTER TABLE ONLY evcam.workers
    ADD CONSTRAINT workers_pkey PRIMARY KEY (hostname);
CREATE INDEX snapshots_at ON evcam.snapshots USING btree (at);
CREATE INDEX tasks_last_heard ON evcam.tasks USING btree (last_heard);
CREATE INDEX tasks_name_last_heard ON evcam.tasks USING btree (name, last_heard);
CREATE INDEX tasks_root_id ON evcam.tasks USING btree (root_id);
CREATE INDEX tasks_state_last_heard ON evcam.tasks USING btree (state, last_heard);
ALTER TABLE ONLY evcam.attempts
    ADD CONSTRAINT attempts_uuid_fkey FOREIGN KEY (uuid) REFERENCES evcam.tasks(uuid) ON DELETE CASCADE;
