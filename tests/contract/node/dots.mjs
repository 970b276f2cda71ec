// A tour of the databases by DigitalOcean's own TypeScript client, against a running service; prints JSON.

import { ask, databases, refused, told, untilOnline } from "./dots_client.mjs";

await ask("options", databases.optionsPath.get());
const wanted = {
  name: "backend",
  engine: "pg",
  numNodes: 1,
  region: "nyc1",
  size: "db-s-1vcpu-1gb",
  tags: ["production"],
};
const { database: created } = await ask("created", databases.post(wanted));
const one = databases.byDatabase_cluster_uuid(created.id);
told["online"] = await untilOnline(created.id);
await ask("clusters", databases.get());
await ask("ca", one.ca.get());

await ask("user added", one.users.post({ name: "app", settings: { pgAllowReplication: true } }));
await ask("user", one.users.byUsername("app").get());
await ask("users", one.users.get());
await ask("user updated", one.users.byUsername("app").put({ settings: { pgAllowReplication: false } }));
await ask("user reset", one.users.byUsername("app").reset_auth.post({}));
await ask("database added", one.dbs.post({ name: "orders" }));
await ask("database", one.dbs.byDatabase_name("orders").get());
await ask("databases", one.dbs.get());
const pool = { name: "backend-pool", mode: "transaction", size: 2, db: "orders", user: "app" };
await ask("pool added", one.pools.post(pool));
await ask("pool updated", one.pools.byPool_name("backend-pool").put({ mode: "session", size: 3, db: "orders" }));
await ask("pool", one.pools.byPool_name("backend-pool").get());
await ask("pools", one.pools.get());

await ask("firewall replaced", one.firewall.put({ rules: [{ type: "ip_addr", value: "127.0.0.1" }] }));
await ask("firewall", one.firewall.get());
await ask("config", one.config.get());
await ask("config changed", one.config.patch({ config: { workMem: 8, pgbouncer: { serverIdleTimeout: 300 } } }));
await ask("config after", one.config.get());
await ask("window", one.maintenance.put({ day: "tuesday", hour: "14:00" }));
await ask("update", one.install_update.put());
await ask("autoscale set", one.autoscale.put({ storage: { enabled: true, thresholdPercent: 80, incrementGib: 10 } }));
await ask("autoscale", one.autoscale.get());
await ask("names set", one.do_settings.put({ doSettings: { serviceCnames: ["db.example.com"] } }));
await ask("names", one.do_settings.get());
await untilOnline(created.id);
await ask("resized", one.resize.put({ size: "db-s-1vcpu-2gb", numNodes: 1 }));
await untilOnline(created.id);
await ask("migrated", one.migrate.put({ region: "ams3" }));
told["at the end"] = await untilOnline(created.id);
await ask("events", one.events.get());
await ask("replicas", one.replicas.get());
await ask("credentials set", databases.metrics.credentials.put({ credentials: { basicAuthUsername: "scraper", basicAuthPassword: "a-long-password" } }));
await ask("credentials", databases.metrics.credentials.get());

await refused("a replica", one.replicas.byReplica_name("none").get());
await refused("a pool that is there", one.pools.post(pool));
await refused("a topic", one.topics.get());

await ask("pool deleted", one.pools.byPool_name("backend-pool").delete());
await ask("database deleted", one.dbs.byDatabase_name("orders").delete());
await ask("user deleted", one.users.byUsername("app").delete());
await ask("cluster deleted", one.delete());
await refused("the cluster that was deleted", one.get());

console.log(JSON.stringify(told));
