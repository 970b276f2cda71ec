import java.sql.DriverManager;
import java.sql.SQLException;

/** pgJDBC.  Cases: plain; always-prepared (prepareThreshold=1, and statements freed by closing them). */
class Jdbc {
    public static void main(String[] arguments) throws Exception {
        int client = Integer.parseInt(System.getenv("CLIENT")), rounds = Integer.parseInt(System.getenv("ROUNDS"));
        String url = String.format("jdbc:postgresql://%s:%s/%s?sslmode=require&user=%s&password=%s", System.getenv("PGHOST"),
            System.getenv("PGPORT"), System.getenv("PGDATABASE"), System.getenv("PGUSER"), System.getenv("PGPASSWORD"));
        if (arguments[0].equals("always-prepared")) url += "&prepareThreshold=1&preparedStatementCacheQueries=1";
        int right = 0, wrong = 0, failed = 0;
        String first = "";
        try (var db = DriverManager.getConnection(url)) {
            Thread.sleep(Math.max(0, (long) (Double.parseDouble(System.getenv("AT")) * 1000) - System.currentTimeMillis()));
            for (int i = 0; i < rounds; i++) {
                for (int text = 0; text < 2; text++) {
                    try (var statement = db.prepareStatement("SELECT ?::int + " + client + " * 1000 + " + text + " * 100000")) {
                        for (int n = 0; n < 3; n++) {
                            statement.setInt(1, i);
                            try (var rows = statement.executeQuery()) {
                                rows.next();
                                if (rows.getInt(1) == i + client * 1000 + text * 100000) right++; else wrong++;
                            }
                        }
                    } catch (SQLException error) {
                        if (first.isEmpty()) first = error.getMessage().replaceAll("\\s+", " ");
                        failed++;
                    }
                }
            }
        }
        System.out.println(right + " " + wrong + " " + failed + " " + first);
    }
}
