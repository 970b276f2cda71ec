// postgres.js.  Cases: plain; no-prepare (prepare: false).
import postgres from "postgres";
const client = Number(process.env.CLIENT), e = process.env;
const db = postgres({ host: e.PGHOST, port: Number(e.PGPORT), user: e.PGUSER, password: e.PGPASSWORD, database: e.PGDATABASE,
  ssl: { rejectUnauthorized: false }, max: 1, prepare: process.argv[2] !== "no-prepare" });
let right = 0, wrong = 0, failed = 0, first = "";
await db`SELECT 1`;
await new Promise((done) => setTimeout(done, Math.max(0, Number(e.AT) * 1000 - Date.now())));
for (let i = 0; i < Number(e.ROUNDS); i++) {
  for (let text = 0; text < 3; text++) {
    try {
      const [row] = await db.unsafe(`SELECT $1::int + ${client} * 1000 + ${text} * 100000 AS answer`, [i],
        { prepare: process.argv[2] !== "no-prepare" });
      if (row.answer === i + client * 1000 + text * 100000) right++; else wrong++;
    } catch (error) { first = first || error.message; failed++; }
  }
}
console.log(right, wrong, failed, first);
await db.end();
