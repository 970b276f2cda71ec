-- A database with what dumps stumble over when the target's administrator is no superuser.
CREATE ROLE app LOGIN PASSWORD 'old';
CREATE ROLE "Reader's ""group""";
CREATE ROLE bob LOGIN PASSWORD 'old' IN ROLE "Reader's ""group""";
CREATE ROLE auditor NOLOGIN;
CREATE ROLE rds_superuser NOLOGIN;
CREATE ROLE chief SUPERUSER LOGIN;
ALTER ROLE bob SET statement_timeout = '7min';
GRANT CREATE ON SCHEMA public TO app;

CREATE EXTENSION pg_stat_statements SCHEMA public;
CREATE EXTENSION hstore SCHEMA public;
COMMENT ON EXTENSION hstore IS 'a comment of the source';
CREATE EXTENSION citext;
GRANT EXECUTE ON FUNCTION pg_stat_statements_reset(oid, oid, bigint) TO auditor;
CREATE VIEW slow AS SELECT query, calls FROM pg_stat_statements;

CREATE SCHEMA "we""ird schema" AUTHORIZATION app;
SET ROLE app;
CREATE TABLE "we""ird schema"."tab'le
with lines ☃" (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "Ünï ""code""" text, twice int GENERATED ALWAYS AS (5 * 2) STORED);
INSERT INTO "we""ird schema"."tab'le
with lines ☃" ("Ünï ""code""") SELECT 'snow ☃ ' || n FROM generate_series(1, 50) n;
RESET ROLE;

CREATE TYPE mood AS ENUM ('sad', 'it''s ok', 'happy');
CREATE DOMAIN percent AS int CHECK (VALUE BETWEEN 0 AND 100);
CREATE TYPE point3 AS (x int, y int, z int);
CREATE TYPE floats AS RANGE (subtype = float8);
CREATE FUNCTION add3(a point3, b point3) RETURNS point3 LANGUAGE sql IMMUTABLE
    AS $$ SELECT ROW(a.x + b.x, a.y + b.y, a.z + b.z)::point3 $$;
CREATE OPERATOR + (LEFTARG = point3, RIGHTARG = point3, FUNCTION = add3);
CREATE FUNCTION point3_of(text) RETURNS point3 LANGUAGE sql IMMUTABLE AS $$ SELECT ROW(1, 2, 3)::public.point3 $$;
CREATE CAST (text AS point3) WITH FUNCTION point3_of(text);
CREATE AGGREGATE sum3 (point3) (SFUNC = add3, STYPE = point3);
CREATE COLLATION numeric_order (provider = icu, locale = 'en-u-kn-true');
CREATE TABLE people (
    id serial PRIMARY KEY, name citext UNIQUE, feels mood, share percent, at point3, attributes hstore, ordered text COLLATE numeric_order);
INSERT INTO people (name, feels, share, at, attributes)
    SELECT 'Person ' || n, 'it''s ok', n % 100, ROW(n, n, n)::point3, 'a=>1' FROM generate_series(1, 500) n;
ALTER TABLE people OWNER TO app;
CREATE INDEX by_attributes ON people USING gin (attributes);
CREATE TABLE visits (at date NOT NULL, who int REFERENCES people) PARTITION BY RANGE (at);
CREATE TABLE visits_2025 PARTITION OF visits FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE visits_rest PARTITION OF visits DEFAULT;
CREATE INDEX ON visits (at);
INSERT INTO visits SELECT date '2025-06-01' + n, n % 500 + 1 FROM generate_series(1, 700) n;
CREATE UNLOGGED TABLE cached AS SELECT 1 AS one;
CREATE SEQUENCE numbers START 100 INCREMENT 5;
SELECT nextval('numbers'), nextval('numbers');
CREATE MATERIALIZED VIEW totals AS SELECT feels, count(*) FROM people GROUP BY 1;
CREATE UNIQUE INDEX ON totals (feels);
ALTER MATERIALIZED VIEW totals OWNER TO app;
CREATE VIEW tall WITH (security_barrier) AS SELECT * FROM people WHERE share > 50 WITH CHECK OPTION;
CREATE RULE no_delete AS ON DELETE TO cached DO INSTEAD NOTHING;
CREATE FUNCTION touched() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.ordered = 'touched'; RETURN NEW; END $$;
CREATE TRIGGER touch BEFORE UPDATE ON people FOR EACH ROW EXECUTE FUNCTION touched();
CREATE FUNCTION secret() RETURNS text LANGUAGE sql SECURITY DEFINER SET search_path = public AS 'SELECT name::text FROM people LIMIT 1';
ALTER FUNCTION secret() OWNER TO app;
REVOKE EXECUTE ON FUNCTION secret() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION secret() TO "Reader's ""group""";
CREATE PROCEDURE work() LANGUAGE sql AS 'DELETE FROM cached';
CREATE STATISTICS correlated ON feels, share FROM people;
CREATE TEXT SEARCH CONFIGURATION plain_words (COPY = simple);
COMMENT ON TABLE people IS E'two\nlines';
COMMENT ON COLUMN people.name IS 'the ''name''';
-- Stands in front of PostgreSQL's own for everybody whose search_path begins with public.
CREATE FUNCTION public.count(text) RETURNS text LANGUAGE sql AS 'SELECT ''trap''::text';
CREATE FUNCTION public.pg_table_size(oid) RETURNS bigint LANGUAGE plpgsql AS 'BEGIN RAISE ''a trap''; END';

ALTER TABLE people ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON people TO app USING (true);
CREATE POLICY "for the chief" ON people TO chief USING (true);
CREATE POLICY "some of them" ON people FOR SELECT TO chief, "Reader's ""group""" USING (share > 10);
GRANT SELECT ON people TO "Reader's ""group""", rds_superuser;
GRANT SELECT ON visits TO bob WITH GRANT OPTION;
SET ROLE bob;
GRANT SELECT ON visits TO auditor;
RESET ROLE;
GRANT UPDATE (share) ON people TO auditor;
ALTER DEFAULT PRIVILEGES FOR ROLE app IN SCHEMA public GRANT SELECT ON TABLES TO auditor;
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO bob;
SELECT lo_from_bytea(4711, 'large \001 object');
ALTER LARGE OBJECT 4711 OWNER TO app;
GRANT SELECT ON LARGE OBJECT 4711 TO bob;

CREATE FUNCTION on_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN NULL; END $$;
CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION on_ddl();
CREATE PUBLICATION everything FOR ALL TABLES;
CREATE PUBLICATION of_people FOR TABLE people;
CREATE EXTENSION postgres_fdw;
CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '192.0.2.1');
CREATE USER MAPPING FOR app SERVER elsewhere OPTIONS (user 'x', password 'hidden');
CREATE FOREIGN TABLE far_away (id int) SERVER elsewhere;
CREATE VIEW nearby AS SELECT id FROM far_away;
CREATE FUNCTION leaky(int) RETURNS bool LANGUAGE sql LEAKPROOF AS 'SELECT true';
CREATE FUNCTION cosine(float8) RETURNS float8 LANGUAGE internal IMMUTABLE STRICT AS 'dcos';
CREATE CAST (percent AS mood) WITH INOUT;
CREATE OPERATOR FAMILY odd USING btree;
