package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/framegate/framegate/cmd/framegate/demo"
	"github.com/framegate/framegate/internal/strictyaml"
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
	app, err := demo.New(slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	keys, remove, err := publishKeys(app.Keys())
	if err != nil {
		return err
	}
	defer remove()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	cfg, err := proxy.Single(address, "ws://"+ln.Addr().String(), []string{"localhost", demo.OtherHost})
	if err == nil {
		err = setDemoPolicies(cfg, keys)
	}
	if err != nil {
		return err
	}
	server := &http.Server{Handler: app.Handler(), ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go serveApp(server, ln, served)

	cfg.TLS.Storage.File = storage
	sink := proxy.NewLogSink(out)
	defer sink.Close()
	p := &process{cfg: cfg, log: slog.New(demoHandler{sink}), sink: sink, started: func(s *proxy.Server) { introduce(sink, s.Addrs()[0]) }}
	err = p.run()

	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	err = errors.Join(err, app.Close(ctx), server.Shutdown(ctx))
	<-served
	return err
}

// serveApp is the goroutine of the embedded application; runDemo waits for it.
func serveApp(s *http.Server, ln net.Listener, served chan<- error) { served <- s.Serve(ln) }

// publishKeys writes the application's public key to a file, for the gateway.
func publishKeys(keys []byte) (file string, remove func(), err error) {
	dir, err := os.MkdirTemp("", "framegate-demo-")
	if err != nil {
		return "", nil, err
	}
	file = filepath.Join(dir, "keys.json")
	remove = func() { os.RemoveAll(dir) }
	if err = os.WriteFile(file, keys, 0o600); err != nil {
		remove()
	}
	return file, remove, err
}

// demoPolicies are about each handshake, and have a limit that the page can go
// over. KEYS is the file with the keys of tokens.
const demoPolicies = `
policies:
  own-pages:
    origin: {}                          # without a list: pages of the same host
  members:
    jwt:
      issuer: framegate-demo
      audience: chat
      jwks_file: "${KEYS}"
      from: [subprotocol, header]
      claims_to_headers: {sub: X-Demo-User}
  messages:
    client: {max_message: 64KiB, types: [text]}
    upstream: {max_message: 1MiB}
`

// setDemoPolicies puts them on the WebSocket of a configuration of one route,
// whose pages everybody may read.
func setDemoPolicies(cfg *proxy.Config, keys string) error {
	var file struct {
		Policies map[string]policy.Config `yaml:"policies"`
	}
	_, errs := strictyaml.Decode("built-in policies", []byte(demoPolicies), func(string) (string, bool) { return keys, true }, &file)
	chat := cfg.Routes[0]
	chat.Name, chat.Paths, chat.Policies = "chat", []string{"/ws/*"}, []string{"own-pages", "members", "messages"}
	cfg.Routes, cfg.Policies = append(cfg.Routes, chat), file.Policies
	return errs.Err()
}

func introduce(out io.Writer, addr net.Addr) {
	_, port, _ := net.SplitHostPort(addr.String())
	fmt.Fprintf(out, `
  Framegate is running in front of a small chat application.

  Open    https://localhost:%[1]s
          The certificate is signed by the gateway's own development CA:
          accept the browser's warning, or run "framegate trust".

  Try     sign in, open the page twice and talk to yourself
          connect without signing in: 401
          open it as another site, https://%[2]s:%[1]s: 403
          /close 4321 good bye    the application closes with its own code
          /die                    the application drops the connection: the page sees 1011
          the list "Try the gateway" does these and more

  Below is what the gateway decides for each connection. Ctrl-C ends.

`, port, demo.OtherHost)
}
