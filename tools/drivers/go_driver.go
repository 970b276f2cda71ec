// database/sql with lib/pq, or pgx with DRIVER=pgx.  Cases are the parameters of the connection string, or "plain".
package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

func main() {
	client, _ := strconv.Atoi(os.Getenv("CLIENT"))
	rounds, _ := strconv.Atoi(os.Getenv("ROUNDS"))
	at, _ := strconv.ParseFloat(os.Getenv("AT"), 64)
	options := ""
	if os.Args[1] != "plain" {
		options = " " + os.Args[1]
	}
	dsn := fmt.Sprintf("host=%s port=%s user=%s password=%s dbname=%s sslmode=require%s", os.Getenv("PGHOST"),
		os.Getenv("PGPORT"), os.Getenv("PGUSER"), os.Getenv("PGPASSWORD"), os.Getenv("PGDATABASE"), options)
	db, err := sql.Open(driver, dsn)
	if err != nil {
		panic(err)
	}
	connection, err := db.Conn(context.Background())
	if err != nil {
		panic(err)
	}
	time.Sleep(time.Until(time.UnixMilli(int64(at * 1000))))
	right, wrong, failed, first := 0, 0, 0, ""
	for i := 0; i < rounds; i++ {
		for text := 0; text < 3; text++ {
			var answer int
			query := fmt.Sprintf("SELECT $1::int + %d * 1000 + %d * 100000", client, text)
			err := connection.QueryRowContext(context.Background(), query, i).Scan(&answer)
			if err != nil {
				failed++
				if first == "" {
					first = strings.Join(strings.Fields(err.Error()), " ")
				}
			} else if answer == i+client*1000+text*100000 {
				right++
			} else {
				wrong++
			}
		}
	}
	fmt.Println(right, wrong, failed, first)
}
