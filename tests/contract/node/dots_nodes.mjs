// Two nodes and read replicas by DigitalOcean's own TypeScript client; prints JSON.

import { ask, databases, told, until, untilOnline } from "./dots_client.mjs";

const size = "db-s-1vcpu-1gb";
const wanted = { name: "backend", engine: "pg", numNodes: 2, region: "nyc1", size };
const { database: created } = await ask("created", databases.post(wanted));
const one = databases.byDatabase_cluster_uuid(created.id);
await untilOnline(created.id);
const asked = async () => (await one.get()).database;
told["online"] = await until("it has a standby", asked, (seen) => seen.standbyConnection);

// As its own test does: nothing waits for a replica before the next call.
const replica = { name: "reading", region: "fra1", size, tags: ["reads"] };
await ask("replica added", one.replicas.post(replica));
await ask("replicas", one.replicas.get());
await ask("another added", one.replicas.post({ name: "passing", region: "nyc1", size }));
await ask("another deleted", one.replicas.byReplica_name("passing").delete());
const reading = one.replicas.byReplica_name("reading");
const copied = async () => (await reading.get()).replica;
told["replica"] = await until("the replica is online", copied, (seen) => ["active", "online"].includes(seen.status));
await ask("promoted", reading.promote.put());
told["cluster"] = await untilOnline(told["replica"].id);

await ask("resized", one.resize.put({ size, numNodes: 1 }));
const alone = (seen) => seen.status === "online" && !seen.standbyConnection;
told["one node"] = await until("one node is left", asked, alone);
console.log(JSON.stringify(told));
