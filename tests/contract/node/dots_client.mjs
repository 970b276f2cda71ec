// DigitalOcean's own TypeScript client for a running service, and what a script does with it: ask, and note.
//
// The folder of the package @digitalocean/dots is the first argument; the rest is in the environment.

import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [folder] = process.argv.slice(2);
const { createDigitalOceanClient, DigitalOceanApiKeyAuthenticationProvider } = await import(
  pathToFileURL(join(folder, "index.js"))
);
const { FetchRequestAdapter } = await import(
  pathToFileURL(createRequire(join(folder, "/")).resolve("@microsoft/kiota-http-fetchlibrary"))
);

const adapter = new FetchRequestAdapter(
  new DigitalOceanApiKeyAuthenticationProvider(process.env.DIGITALOCEAN_TOKEN),
);
adapter.baseUrl = process.env.DIGITALOCEAN_API_URL;
export const { databases } = createDigitalOceanClient(adapter).v2;
export const told = {};

// Wait for a call and note its answer under a name.
export async function ask(what, call) {
  try {
    told[what] = (await call) ?? null;
  } catch (error) {
    throw new Error(`${what}: ${error.message}`, { cause: error });
  }
  return told[what];
}

// Wait for a call that is to be refused and note the error under a name.
export async function refused(what, call) {
  told[what] = await call.then(
    () => "answered",
    (error) => ({ status: error.responseStatusCode, id: error.id, message: error.messageEscaped ?? error.message }),
  );
}

// Ask until an answer is as it should be, for two minutes at most.
export async function until(what, call, holds) {
  const deadline = Date.now() + 120_000;
  for (;;) {
    const answer = await call();
    if (holds(answer)) return answer;
    if (Date.now() > deadline) throw new Error(`in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

export async function untilOnline(id) {
  const asked = () => databases.byDatabase_cluster_uuid(id).get();
  return (await until(`cluster ${id} is online`, asked, ({ database }) => database.status === "online")).database;
}
