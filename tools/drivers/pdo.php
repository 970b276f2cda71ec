<?php // PDO.  Cases: plain; disable-prepares (PDO::PGSQL_ATTR_DISABLE_PREPARES); emulate (PDO::ATTR_EMULATE_PREPARES).
$case = $argv[1];
$client = (int) getenv("CLIENT");
$options = [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION];
if ($case === "disable-prepares") $options[PDO::PGSQL_ATTR_DISABLE_PREPARES] = true;
if ($case === "emulate") $options[PDO::ATTR_EMULATE_PREPARES] = true;
$db = new PDO("pgsql:", getenv("PGUSER"), getenv("PGPASSWORD"), $options);
$right = $wrong = $failed = 0;
$first = "";
$pause = (float) getenv("AT") - microtime(true);
if ($pause > 0) usleep((int) ($pause * 1e6));
for ($i = 0; $i < (int) getenv("ROUNDS"); $i++) {
    try {
        if ($i % 2) $db->beginTransaction();
        for ($text = 0; $text < 2; $text++) {
            $statement = $db->prepare("SELECT CAST(? AS int) + $client * 1000 + $text * 100000");
            for ($n = 0; $n < 3; $n++) {
                $statement->execute([$i]);
                $statement->fetchColumn() == $i + $client * 1000 + $text * 100000 ? $right++ : $wrong++;
            }
            unset($statement); // frees it
        }
        if ($i % 2) $db->commit();
    } catch (PDOException $error) {
        $first = $first ?: $error->getMessage();
        $failed++;
        if ($db->inTransaction()) $db->rollBack();
    }
}
echo "$right $wrong $failed ", preg_replace('/\s+/', " ", $first), "\n";
