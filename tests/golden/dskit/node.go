//go:build ignore

// A node of dskit's gossiped store, the reference that ours is held against: it joins, heartbeats one instance of a ring,
// and prints the ring whenever it changes.
//
//	go mod init node && go get github.com/grafana/dskit@latest
//	go mod edit -replace github.com/hashicorp/memberlist=<the replacement in dskit's own go.mod>
//	go mod tidy && go build -o node .
//
// record.py records with it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/go-kit/log"
	"github.com/grafana/dskit/flagext"
	"github.com/grafana/dskit/kv/codec"
	"github.com/grafana/dskit/kv/memberlist"
	"github.com/grafana/dskit/ring"
	"github.com/grafana/dskit/services"
	"github.com/prometheus/client_golang/prometheus"
)

type dns struct{ addrs []string }

func (d *dns) Resolve(ctx context.Context, addrs []string) error { d.addrs = addrs; return nil }
func (d *dns) Addresses() []string                               { return d.addrs }

func main() {
	port := flag.Int("port", 21050, "")
	join := flag.String("join", "", "")
	label := flag.String("label", "mimir-rw", "")
	name := flag.String("name", "dskit", "")
	compress := flag.Bool("compress", true, "")
	beat := flag.Int("beat", 2, "")
	flag.Parse()
	l := log.NewLogfmtLogger(os.Stderr)
	var cfg memberlist.KVConfig
	flagext.DefaultValues(&cfg)
	cfg.TCPTransport.BindAddrs = []string{"127.0.0.1"}
	cfg.TCPTransport.BindPort = *port
	cfg.AdvertiseAddr = "127.0.0.1"
	cfg.AdvertisePort = *port
	cfg.NodeName = *name
	cfg.RandomizeNodeName = false
	cfg.ClusterLabel = *label
	cfg.EnableCompression = *compress
	cfg.Codecs = []codec.Codec{ring.GetCodec()}
	if *join != "" {
		cfg.JoinMembers = strings.Split(*join, ",")
	}
	reg := prometheus.NewRegistry()
	svc := memberlist.NewKVInitService(&cfg, l, &dns{}, reg)
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	if err := services.StartAndAwaitRunning(ctx, svc); err != nil {
		panic(err)
	}
	kv, err := svc.GetMemberlistKV()
	if err != nil {
		panic(err)
	}
	client, err := memberlist.NewClient(kv, ring.GetCodec())
	if err != nil {
		panic(err)
	}
	go client.WatchKey(ctx, "collectors/ring", func(v interface{}) bool {
		d := v.(*ring.Desc)
		var names []string
		for n, i := range d.Ingesters {
			names = append(names, fmt.Sprintf("%s=%d/%d", n, i.State, len(i.Tokens)))
		}
		fmt.Println("RING", len(names), names)
		return true
	})
	for ctx.Err() == nil {
		err := client.CAS(ctx, "collectors/ring", func(in interface{}) (interface{}, bool, error) {
			d, ok := in.(*ring.Desc)
			if !ok || d == nil {
				d = ring.NewDesc()
			}
			if i, ok := d.Ingesters[*name]; ok {
				i.Timestamp = time.Now().Unix()
				d.Ingesters[*name] = i
			} else {
				d.AddIngester(*name, "127.0.0.1:9095", "zone-x", []uint32{1, 300, 70000, 4000000000}, ring.ACTIVE, time.Now(), false, time.Time{}, nil)
			}
			return d, true, nil
		})
		fmt.Println("CAS", err)
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(*beat) * time.Second):
		}
	}
	services.StopAndAwaitTerminated(context.Background(), svc)
}
