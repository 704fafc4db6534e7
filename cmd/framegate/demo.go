package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/framegate/framegate/cmd/framegate/demo"
	"github.com/framegate/framegate/policy"
	"github.com/framegate/framegate/proxy"
)

func demoCommand() *cobra.Command {
	var listen, storage string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show the gateway at work in front of a chat application",
		Long:  "Start an embedded chat application behind the gateway, and print what the gateway decides for each connection. Nothing has to be installed.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			address, err := listenOn(listen)
			if err != nil {
				return err
			}
			return failed(runDemo(cmd.OutOrStdout(), address, storage))
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "localhost:8443", "address to listen on")
	cmd.Flags().StringVar(&storage, "storage", "", "directory for the internal CA")
	return cmd
}

// runDemo serves the application on a port of its own, which only the gateway
// knows, and the gateway in front of it.
func runDemo(out io.Writer, address, storage string) error {
	app := demo.New(slog.New(slog.DiscardHandler))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	cfg, err := proxy.Single(address, "ws://"+ln.Addr().String(), []string{"localhost"})
	if err != nil {
		return err
	}
	server := &http.Server{Handler: app.Handler(), ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go serveApp(server, ln, served)

	cfg.TLS.Storage.File = storage
	cfg.Policies = map[string]policy.Config{"demo": demoPolicy()}
	cfg.Routes[0].Policies = []string{"demo"}
	sink := proxy.NewLogSink(out)
	defer sink.Close()
	err = serve(cfg, slog.New(demoHandler{sink}), sink, func(s *proxy.Server) { introduce(sink, s.Addrs()[0]) })

	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	err = errors.Join(err, app.Close(ctx), server.Shutdown(ctx))
	<-served
	return err
}

// serveApp is the goroutine of the embedded application; runDemo waits for it.
func serveApp(s *http.Server, ln net.Listener, served chan<- error) { served <- s.Serve(ln) }

// demoPolicy has a limit that the page can go over.
func demoPolicy() policy.Config {
	return policy.Config{
		Client:   &policy.ShapeConfig{MaxMessage: 64 << 10, MaxFrame: 64 << 10, Types: []string{"text"}},
		Upstream: &policy.ShapeConfig{MaxMessage: 1 << 20},
	}
}

func introduce(out io.Writer, addr net.Addr) {
	_, port, _ := net.SplitHostPort(addr.String())
	fmt.Fprintf(out, `
  Framegate is running in front of a small chat application.

  Open    https://localhost:%[1]s
          The certificate is signed by the gateway's own development CA:
          accept the browser's warning, or run "framegate trust".

  Try     open the page twice and talk to yourself
          /close 4321 good bye    the application closes with its own code
          /die                    the application drops the connection: the page sees 1011
          the list "Try the gateway" does these and more: 1009, 1011, 4321

  Below is what the gateway decides for each connection. Ctrl-C ends.

`, port)
}
