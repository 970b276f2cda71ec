// A tour of the databases by godo, the Go client that doctl and the Terraform provider are made of, against a running
// service; prints every answer as JSON.  The endpoint and the token are in the environment, and so is the CA, where
// every Go program looks for it: SSL_CERT_FILE.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/digitalocean/godo"
	"golang.org/x/oauth2"
)

var told = map[string]interface{}{}

// must ends the program with what has gone wrong: godo decodes strictly, and such an error is one of doctl, too.
func must(what string, err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
		os.Exit(1)
	}
}

func ask(what string, answer interface{}, err error) {
	must(what, err)
	told[what] = answer
}

func done(what string, response *godo.Response, err error) {
	must(what, err)
	told[what] = response.StatusCode
}

func refused(what string, err error) {
	var refusal *godo.ErrorResponse
	if !errors.As(err, &refusal) {
		must(what, fmt.Errorf("it was to be refused, and the error is %v", err))
	}
	told[what] = map[string]interface{}{
		"status":  refusal.Response.StatusCode,
		"message": refusal.Message,
	}
	if refusal.RequestID == "" {
		must(what, errors.New("the refusal has no request id"))
	}
}

func untilOnline(ctx context.Context, databases godo.DatabasesService, id string) *godo.Database {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		cluster, _, err := databases.Get(ctx, id)
		must("get", err)
		if cluster.Status == "online" {
			return cluster
		}
	}
	must("get", errors.New("the cluster does not come online"))
	return nil
}

func main() {
	ctx := context.Background()
	token := oauth2.StaticTokenSource(&oauth2.Token{AccessToken: os.Getenv("DIGITALOCEAN_TOKEN")})
	client, err := godo.New(oauth2.NewClient(ctx, token), godo.SetBaseURL(os.Getenv("DIGITALOCEAN_API_URL")))
	must("client", err)
	databases := client.Databases
	page := &godo.ListOptions{Page: 1, PerPage: 200}

	account, _, err := client.Account.Get(ctx)
	ask("account", account, err)
	created, response, err := databases.Create(ctx, &godo.DatabaseCreateRequest{
		Name: "backend", EngineSlug: "pg", SizeSlug: "db-s-1vcpu-1gb", Region: "nyc1", NumNodes: 1,
		Tags: []string{"production"},
	})
	ask("created", created, err)
	told["limits"] = response.Rate
	id := created.ID
	told["online"] = untilOnline(ctx, databases, id)
	clusters, _, err := databases.List(ctx, page)
	ask("clusters", clusters, err)

	user, _, err := databases.CreateUser(ctx, id, &godo.DatabaseCreateUserRequest{Name: "app"})
	ask("user added", user, err)
	user, _, err = databases.GetUser(ctx, id, "app")
	ask("user", user, err)
	user, _, err = databases.ResetUserAuth(ctx, id, "app", &godo.DatabaseResetUserAuthRequest{})
	ask("user reset", user, err)
	users, _, err := databases.ListUsers(ctx, id, page)
	ask("users", users, err)
	database, _, err := databases.CreateDB(ctx, id, &godo.DatabaseCreateDBRequest{Name: "orders"})
	ask("database added", database, err)
	database, _, err = databases.GetDB(ctx, id, "orders")
	ask("database", database, err)
	listed, _, err := databases.ListDBs(ctx, id, page)
	ask("databases", listed, err)

	request := &godo.DatabaseCreatePoolRequest{
		User: "app", Name: "backend-pool", Size: 2, Database: "orders", Mode: "transaction",
	}
	pool, _, err := databases.CreatePool(ctx, id, request)
	ask("pool added", pool, err)
	// An empty user is what godo sends for none.
	pool, _, err = databases.CreatePool(ctx, id, &godo.DatabaseCreatePoolRequest{
		Name: "inbound", Size: 1, Database: "orders", Mode: "session",
	})
	ask("inbound pool added", pool, err)
	pool, _, err = databases.GetPool(ctx, id, "backend-pool")
	ask("pool", pool, err)
	pools, _, err := databases.ListPools(ctx, id, page)
	ask("pools", pools, err)
	_, _, err = databases.CreatePool(ctx, id, request)
	refused("a pool that is there", err)

	// New rules are sent with empty ids and the year 1, and kept ones with that year, too.
	wanted := []*godo.DatabaseFirewallRule{
		{Type: "ip_addr", Value: "127.0.0.1"},
		{Type: "tag", Value: "production"},
	}
	response, err = databases.UpdateFirewallRules(ctx, id, &godo.DatabaseUpdateFirewallRulesRequest{Rules: wanted})
	done("firewall replaced", response, err)
	rules, _, err := databases.GetFirewallRules(ctx, id)
	ask("firewall", rules, err)
	for number := range rules {
		wanted[number].UUID = rules[number].UUID
	}
	response, err = databases.UpdateFirewallRules(ctx, id, &godo.DatabaseUpdateFirewallRulesRequest{Rules: wanted})
	done("firewall sent back", response, err)
	rules, _, err = databases.GetFirewallRules(ctx, id)
	ask("firewall again", rules, err)

	response, err = databases.UpdateMaintenance(
		ctx, id, &godo.DatabaseUpdateMaintenanceRequest{Day: "tuesday", Hour: "14:00"},
	)
	done("window", response, err)
	response, err = databases.Resize(ctx, id, &godo.DatabaseResizeRequest{SizeSlug: "db-s-1vcpu-2gb", NumNodes: 1})
	done("resized", response, err)
	untilOnline(ctx, databases, id)
	response, err = databases.Migrate(ctx, id, &godo.DatabaseMigrateRequest{Region: "ams3"})
	done("migrated", response, err)
	told["at the end"] = untilOnline(ctx, databases, id)

	added, _, err := databases.CreateReplica(
		ctx, id, &godo.DatabaseCreateReplicaRequest{Name: "reads", Region: "ams3", Size: "db-s-1vcpu-2gb"},
	)
	ask("replica added", added, err)
	replicas, _, err := databases.ListReplicas(ctx, id, page)
	ask("replicas", replicas, err)
	response, err = databases.DeleteReplica(ctx, id, "reads")
	done("replica deleted", response, err)
	_, _, err = databases.GetReplica(ctx, id, "none")
	refused("a replica", err)
	_, _, err = databases.GetSQLMode(ctx, id)
	refused("a mode of MySQL", err)

	tour(ctx, client, id)

	response, err = databases.DeletePool(ctx, id, "inbound")
	done("pool deleted", response, err)
	response, err = databases.DeletePool(ctx, id, "backend-pool")
	must("pool deleted", err)
	_, _, err = databases.GetPool(ctx, id, "backend-pool")
	refused("the pool that was deleted", err)
	response, err = databases.DeleteDB(ctx, id, "orders")
	done("database deleted", response, err)
	response, err = databases.DeleteUser(ctx, id, "app")
	done("user deleted", response, err)
	response, err = databases.Delete(ctx, id)
	done("cluster deleted", response, err)
	_, _, err = databases.Get(ctx, id)
	refused("the cluster that was deleted", err)
	_, _, err = databases.Get(ctx, "this-cluster-id-does-not-exist")
	refused("an id that is none", err)

	must("print", json.NewEncoder(os.Stdout).Encode(told))
}

// tour asks for what stands beside the databases, as the Terraform provider does.
func tour(ctx context.Context, client *godo.Client, id string) {
	page := &godo.ListOptions{Page: 1, PerPage: 200}
	tag, _, err := client.Tags.Create(ctx, &godo.TagCreateRequest{Name: "staging"})
	ask("tag added", tag, err)
	resources := []godo.Resource{{ID: id, Type: godo.DatabaseResourceType}}
	response, err := client.Tags.TagResources(ctx, "staging", &godo.TagResourcesRequest{Resources: resources})
	done("tagged", response, err)
	tag, _, err = client.Tags.Get(ctx, "staging")
	ask("tag", tag, err)
	cluster, _, err := client.Databases.Get(ctx, id)
	ask("with the tag", cluster, err)
	response, err = client.Tags.UntagResources(ctx, "staging", &godo.UntagResourcesRequest{Resources: resources})
	done("untagged", response, err)
	response, err = client.Tags.Delete(ctx, "staging")
	done("tag deleted", response, err)

	network, _, err := client.VPCs.Create(ctx, &godo.VPCCreateRequest{Name: "inner", RegionSlug: "nyc1"})
	ask("network added", network, err)
	networks, _, err := client.VPCs.List(ctx, page)
	ask("networks", networks, err)
	response, err = client.VPCs.Delete(ctx, network.ID)
	done("network deleted", response, err)

	project, _, err := client.Projects.Create(ctx, &godo.CreateProjectRequest{
		Name: "shop", Purpose: "Service or API", Environment: "Production",
	})
	ask("project added", project, err)
	assigned, _, err := client.Projects.AssignResources(ctx, project.ID, "do:dbaas:"+id)
	ask("assigned", assigned, err)
	inside, _, err := client.Projects.ListResources(ctx, project.ID, page)
	ask("of the project", inside, err)
	standard, _, err := client.Projects.GetDefault(ctx)
	ask("default project", standard, err)
	_, _, err = client.Projects.AssignResources(ctx, standard.ID, "do:dbaas:"+id)
	must("assigned back", err)
	response, err = client.Projects.Delete(ctx, project.ID)
	done("project deleted", response, err)
	if response.StatusCode != http.StatusNoContent {
		must("project deleted", fmt.Errorf("the status is %d", response.StatusCode))
	}
}
