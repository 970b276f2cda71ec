// node-postgres.  Cases: plain; named (a prepared statement for each text).
const pg = require("pg");
const kind = process.argv[2], client = Number(process.env.CLIENT);
(async () => {
  const db = new pg.Client({ ssl: { rejectUnauthorized: false } });
  await db.connect();
  let right = 0, wrong = 0, failed = 0, first = "";
  await new Promise((done) => setTimeout(done, Math.max(0, Number(process.env.AT) * 1000 - Date.now())));
  for (let i = 0; i < Number(process.env.ROUNDS); i++) {
    for (let text = 0; text < 3; text++) {
      try {
        const sql = `SELECT $1::int + ${client} * 1000 + ${text} * 100000 AS answer`;
        const query = kind === "named" ? { name: `q${text}`, text: sql, values: [i] } : { text: sql, values: [i] };
        const { rows } = await db.query(query);
        if (rows[0].answer === i + client * 1000 + text * 100000) right++; else wrong++;
      } catch (error) { first = first || error.message; failed++; }
    }
  }
  console.log(right, wrong, failed, first);
  await db.end();
})();
