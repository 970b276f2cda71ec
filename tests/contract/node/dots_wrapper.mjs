// Everything that dots-wrapper offers for PostgreSQL, against a running service; prints every answer as JSON.
//
// Takes the folders of the packages dots-wrapper and pg, and a folder for the CA's file; the rest is in the
// environment.  Node.js trusts the service by NODE_EXTRA_CA_CERTS, as any program of a user's would.

import { writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const [wrapperFolder, pgFolder, folder] = process.argv.slice(2);
const { createApiClient } = createRequire(join(wrapperFolder, "/"))(wrapperFolder);
const pg = createRequire(join(pgFolder, "/"))(pgFolder);

const api = createApiClient({
  token: process.env.DIGITALOCEAN_TOKEN,
  endpoint: `${process.env.DIGITALOCEAN_API_URL}/v2`,
});
const { database } = api;
const told = {};

async function ask(what, call) {
  const { status, data } = await call;
  told[what] = { status, data };
  return data;
}

async function refused(what, call) {
  told[what] = await call.then(
    ({ status }) => ({ status }),
    ({ response }) => ({ status: response?.status, data: response?.data }),
  );
}

async function untilOnline(id) {
  const deadline = Date.now() + 60_000;
  for (;;) {
    const { data } = await database.getDatabaseCluster({ database_cluster_id: id });
    if (data.database.status === "online") return data;
    if (Date.now() > deadline) throw new Error(`cluster ${id} does not come online`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

async function query(uri, text) {
  const client = new pg.Client({ connectionString: uri });
  await client.connect();
  try {
    return (await client.query(text)).rows[0];
  } finally {
    await client.end();
  }
}

await ask("account", api.account.getAccount());
await ask("options", database.listDatabaseOptions());
const wanted = { engine: "pg", name: "backend", num_nodes: 1, region: "nyc1", size: "db-s-1vcpu-1gb", tags: ["production"] };
const { database: created } = await ask("created", database.createDatabaseCluster(wanted));
const one = { database_cluster_id: created.id };
told["online"] = { data: await untilOnline(created.id) };
await ask("clusters", database.listDatabaseClusters({ page: 1, per_page: 25 }));

await ask("user added", database.createDatabaseClusterUser({ ...one, user_name: "app" }));
await ask("user", database.getDatabaseClusterUser({ ...one, user_name: "app" }));
await ask("users", database.listDatabaseClusterUsers({ ...one, page: 1, per_page: 25 }));
await ask("database added", database.createDatabaseClusterDb({ ...one, db_name: "orders" }));
await ask("database", database.getDatabaseClusterDb({ ...one, db_name: "orders" }));
await ask("databases", database.listDatabaseClusterDbs({ ...one, page: 1, per_page: 25 }));

const pool = { pool_name: "backend-pool", mode: "transaction", size: 2, db_name: "orders", user_name: "app" };
await ask("pool added", database.createConnectionPool({ ...one, ...pool }));
const { pool: found } = await ask("pool", database.getConnectionPool({ ...one, pool_name: "backend-pool" }));
await ask("pools", database.listConnectionPools({ ...one, page: 1, per_page: 25 }));

// The wrapper has no call for the CA; a user of it would download the file.
const ca = await fetch(`${process.env.DIGITALOCEAN_API_URL}/v2/databases/${created.id}/ca`, {
  headers: { authorization: `Bearer ${process.env.DIGITALOCEAN_TOKEN}` },
});
const authority = join(folder, "ca.crt");
writeFileSync(authority, Buffer.from((await ca.json()).ca.certificate, "base64"));
const checked = `sslmode=verify-full&sslrootcert=${encodeURIComponent(authority)}`;
told["through the pool"] = await query(
  found.connection.uri.replace("sslmode=require", checked),
  "SELECT current_user AS user, current_database() AS database, 40 + 2 AS answer",
);
told["without the CA"] = await query(found.connection.uri, "SELECT 1").then(
  () => "connected",
  (error) => error.code,
);

const rules = [{ type: "ip_addr", value: "127.0.0.1" }, { type: "tag", value: "production" }];
await ask("firewall replaced", database.updateDatabaseClusterFirewallRules({ ...one, rules }));
const { rules: kept } = await ask("firewall", database.listDatabaseClusterFirewallRules({ ...one, page: 1, per_page: 25 }));
await ask("firewall sent back", database.updateDatabaseClusterFirewallRules({ ...one, rules: kept }));
await ask("firewall again", database.listDatabaseClusterFirewallRules({ ...one, page: 1, per_page: 25 }));

await ask("window", database.configureDatabaseClusterMaintenanceWindow({ ...one, day: "tuesday", hour: "14:00" }));
await ask("resized", database.resizeDatabaseCluster({ ...one, num_nodes: 1, size: "db-s-1vcpu-2gb" }));
await untilOnline(created.id);
await ask("migrated", database.migrateDatabaseCluster({ ...one, region: "ams3" }));
told["at the end"] = { data: await untilOnline(created.id) };

await ask("replicas", database.listReadOnlyReplicas({ ...one, page: 1, per_page: 25 }));
await refused("a replica", database.getReadOnlyReplica({ ...one, read_only_replica_name: "none" }));
await refused("a mode of MySQL", database.getDatabaseClusterSqlMode(one));
await refused("an eviction policy", database.getDatabaseClusterEvictionPolicy(one));
await refused("a pool that is there", database.createConnectionPool({ ...one, ...pool }));

await ask("tag", api.tag.createTag({ name: "staging" }));
const resources = [{ resource_id: created.id, resource_type: "database" }];
await ask("tagged", api.tag.tagResources({ tag_name: "staging", resources }));
await ask("tags", api.tag.listTags({ page: 1, per_page: 25 }));
await ask("untagged", api.tag.untagResources({ tag_name: "staging", resources }));
await ask("tag deleted", api.tag.deleteTag({ tag_name: "staging" }));
await ask("network", api.vpc.createVpc({ name: "inner", region: "nyc1" }));
await ask("networks", api.vpc.listVpcs({ page: 1, per_page: 25 }));
await ask("network deleted", api.vpc.deleteVpc({ vpc_id: told["network"].data.vpc.id }));
await ask("project", api.project.getDefaultProject());
await ask("projects", api.project.listProjects({ page: 1, per_page: 25 }));

await ask("pool deleted", database.deleteConnectionPool({ ...one, pool_name: "backend-pool" }));
await refused("the pool that was deleted", database.getConnectionPool({ ...one, pool_name: "backend-pool" }));
await ask("database deleted", database.deleteDatabaseClusterDb({ ...one, db_name: "orders" }));
await ask("user deleted", database.removeDatabaseClusterUser({ ...one, user_name: "app" }));
await ask("cluster deleted", database.destroyDatabaseCluster(one));
await refused("the cluster that was deleted", database.getDatabaseCluster(one));

console.log(JSON.stringify(told));
