// What 'doctl databases backups' and 'doctl databases fork' do, by godo: the backups of the cluster in CLUSTER, and a
// fork of it as of the newest of them; prints both as JSON.  The field backup_restore is of a later godo than Debian's,
// so its body is written out here, with all that doctl and the Terraform provider send beside it.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/digitalocean/godo"
	"golang.org/x/oauth2"
)

type restore struct {
	DatabaseName    string `json:"database_name,omitempty"`
	BackupCreatedAt string `json:"backup_created_at,omitempty"`
}

type create struct {
	Name               string   `json:"name,omitempty"`
	EngineSlug         string   `json:"engine,omitempty"`
	Version            string   `json:"version,omitempty"`
	SizeSlug           string   `json:"size,omitempty"`
	Region             string   `json:"region,omitempty"`
	NumNodes           int      `json:"num_nodes,omitempty"`
	PrivateNetworkUUID string   `json:"private_network_uuid"`
	Tags               []string `json:"tags,omitempty"`
	BackupRestore      *restore `json:"backup_restore,omitempty"`
	ProjectID          string   `json:"project_id"`
	StorageSizeMib     uint64   `json:"storage_size_mib,omitempty"`
	Rules              []string `json:"rules"`
}

type answer struct {
	Database *godo.Database `json:"database"`
}

func must(what string, err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
		os.Exit(1)
	}
}

func main() {
	ctx := context.Background()
	token := oauth2.StaticTokenSource(&oauth2.Token{AccessToken: os.Getenv("DIGITALOCEAN_TOKEN")})
	client, err := godo.New(oauth2.NewClient(ctx, token), godo.SetBaseURL(os.Getenv("DIGITALOCEAN_API_URL")))
	must("client", err)
	source, _, err := client.Databases.Get(ctx, os.Getenv("CLUSTER"))
	must("source", err)
	backups, _, err := client.Databases.ListBackups(ctx, source.ID, &godo.ListOptions{Page: 1, PerPage: 200})
	must("backups", err)

	// doctl prints a backup's time so, and takes it back from its user; it is sent in whole seconds.
	const shown = "2006-01-02 15:04:05 -0700 MST"
	printed := backups[len(backups)-1].CreatedAt.Format(shown)
	moment, err := time.Parse(shown, printed)
	must("time", err)
	request, err := client.NewRequest(ctx, http.MethodPost, "/v2/databases", &create{
		Name: "forked", EngineSlug: "pg", Version: source.VersionSlug, SizeSlug: source.SizeSlug,
		Region: source.RegionSlug, NumNodes: 1, Tags: []string{"copy"},
		BackupRestore: &restore{source.Name, moment.UTC().Format(time.RFC3339)},
	})
	must("request", err)
	made := new(answer)
	response, err := client.Do(ctx, request, made)
	must("fork", err)
	fork := made.Database
	for deadline := time.Now().Add(2 * time.Minute); fork.Status != "online"; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			must("fork", fmt.Errorf("it is %s", fork.Status))
		}
		fork, _, err = client.Databases.Get(ctx, made.Database.ID)
		must("get", err)
	}
	must("print", json.NewEncoder(os.Stdout).Encode(map[string]interface{}{
		"code": response.StatusCode, "printed": printed, "backups": backups, "created": made.Database, "online": fork,
	}))
}
