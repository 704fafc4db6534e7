package main

import (
	"fmt"
	"net"
	"os"

	"github.com/spf13/cobra"

	"github.com/framegate/framegate/proxy"
)

func proxyCommand() *cobra.Command {
	var to, listen, storage string
	var hosts []string
	cmd := &cobra.Command{
		Use:     "proxy --to URL",
		Short:   "Put the gateway in front of one upstream, without a configuration file",
		Example: "  framegate proxy --to localhost:3000\n  framegate proxy --to wss://app.internal --listen :8443 --host app.example.com",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			server, err := serverOf(to)
			if err != nil {
				return err
			}
			address, err := listenOn(listen)
			if err != nil {
				return err
			}
			cfg, err := proxy.Single(address, server, hosts)
			if err != nil {
				return failed(err)
			}
			cfg.TLS.Storage.File = storage
			sink := proxy.NewLogSink(os.Stderr)
			defer sink.Close()
			p := &process{cfg: cfg, log: proxy.NewLogger(cfg.Log, sink), sink: sink}
			p.started = func(s *proxy.Server) {
				_, port, _ := net.SplitHostPort(s.Addrs()[0].String())
				for _, host := range hosts {
					fmt.Fprintf(cmd.OutOrStdout(), "https://%s -> %s\n", net.JoinHostPort(host, port), server)
				}
			}
			return failed(p.run())
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "the upstream, such as localhost:3000, wss://app.internal or unix:///run/app.sock")
	cmd.Flags().StringVar(&listen, "listen", "localhost:8443", "address to listen on")
	cmd.Flags().StringArrayVar(&hosts, "host", []string{"localhost"}, "host name that clients use; may be given several times")
	cmd.Flags().StringVar(&storage, "storage", "", "directory for the internal CA")
	cmd.MarkFlagRequired("to")
	return cmd
}
