// What Terraform's digitalocean_database_online_migration does, by godo: it starts a migration into the cluster in
// CLUSTER, waits for it for 90 seconds, reads it, and stops it when it is destroyed.  The methods are of a later godo
// than Debian's, so their requests are written out here.  The provider waits half a minute before it starts and asks
// every ten seconds; here is asked every second.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/digitalocean/godo"
	"golang.org/x/oauth2"
)

type source struct {
	Host         string `json:"host"`
	Port         int    `json:"port"`
	DatabaseName string `json:"dbname"`
	Username     string `json:"username"`
	Password     string `json:"password"`
}

// Without any, IgnoreDBs is sent as null.
type start struct {
	Source     *source  `json:"source"`
	DisableSSL bool     `json:"disable_ssl"`
	IgnoreDBs  []string `json:"ignore_dbs"`
}

type status struct {
	ID        string `json:"id"`
	Status    string `json:"status"`
	CreatedAt string `json:"created_at"`
}

var client *godo.Client

func must(what string, err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
		os.Exit(1)
	}
}

func call(method, path string, body, into interface{}) (int, error) {
	request, err := client.NewRequest(context.Background(), method, path, body)
	must("request", err)
	response, err := client.Do(context.Background(), request, into)
	if response == nil {
		must("call", err)
	}
	return response.StatusCode, err
}

func main() {
	ctx := context.Background()
	token := oauth2.StaticTokenSource(&oauth2.Token{AccessToken: os.Getenv("DIGITALOCEAN_TOKEN")})
	var err error
	client, err = godo.New(oauth2.NewClient(ctx, token), godo.SetBaseURL(os.Getenv("DIGITALOCEAN_API_URL")))
	must("client", err)
	port, err := strconv.Atoi(os.Getenv("SOURCE_PORT"))
	must("port", err)
	path := "/v2/databases/" + os.Getenv("CLUSTER") + "/online-migration"
	told := map[string]interface{}{}

	// A resource of which nothing is there is taken out of the state.
	code, err := call(http.MethodGet, path, nil, new(status))
	if err == nil {
		must("read before", errors.New("there is a migration"))
	}
	told["before"] = code

	_, _, err = client.Databases.Get(ctx, os.Getenv("CLUSTER"))
	must("cluster", err)
	wanted := &start{Source: &source{"127.0.0.1", port, "postgres", "postgres", os.Getenv("SOURCE_PASSWORD")}}
	wanted.DisableSSL = true
	code, err = call(http.MethodPut, path, wanted, new(status))
	must("start", err)
	told["started"] = code

	seen := new(status)
	for began := time.Now(); seen.Status != "syncing" && seen.Status != "done"; time.Sleep(time.Second) {
		if time.Since(began) > 90*time.Second {
			must("wait", fmt.Errorf("it is %s", seen.Status))
		}
		seen = new(status)
		_, err = call(http.MethodGet, path, nil, seen)
		must("read", err)
		if seen.Status == "error" {
			_, err = call(http.MethodPut, path, wanted, new(status))
			must("start again", err)
		}
	}
	told["created"] = seen

	code, err = call(http.MethodDelete, path+"/"+seen.ID, nil, nil)
	must("destroy", err)
	told["destroyed"] = code
	must("print", json.NewEncoder(os.Stdout).Encode(told))
}
