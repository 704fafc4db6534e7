package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/framegate/framegate/proxy"
	"github.com/framegate/framegate/ratelimit"
)

const defaultConfig = "gateway.yaml"

func runCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the gateway",
		Long:  "Run the gateway until SIGTERM or SIGINT. SIGTERM drains as the configuration says; SIGINT drains at once; a second signal ends the process.",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			loaded, err := proxy.Load(file, os.LookupEnv)
			if err != nil {
				return failed(err)
			}
			sink := proxy.NewLogSink(os.Stderr)
			defer sink.Close()
			log := proxy.NewLogger(loaded.Config.Log, sink)
			for _, w := range loaded.Warnings {
				log.Warn("configuration", "warning", w.Error())
			}
			return failed(serve(loaded.Config, log, sink, func(*proxy.Server) {}))
		},
	}
	cmd.Flags().StringVar(&file, "config", defaultConfig, "configuration file")
	return cmd
}

// serve runs a gateway, whose log goes to sink, until a signal ends it. started
// is called once it accepts connections.
func serve(cfg *proxy.Config, log *slog.Logger, sink *proxy.LogSink, started func(*proxy.Server)) error {
	signal.Ignore(syscall.SIGPIPE) // the connections outlive whoever reads the log
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)
	s, err := proxy.New(cfg, log, version(), nil)
	if err != nil {
		return fmt.Errorf("starting: %w", err)
	}
	s.CountDropped(sink)
	s.Start()
	started(s)
	drain := cfg.Drain
	if sig := <-signals; sig == os.Interrupt {
		drain.Delay, drain.Window, drain.Rate = 0, 0, ratelimit.Rate{} // somebody waits at a terminal
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go second(signals, log, sink)
	s.Drain(ctx, drain)
	s.Close()
	log.Info("stopped")
	return nil
}

// second ends the process at the second signal.
func second(signals <-chan os.Signal, log *slog.Logger, sink *proxy.LogSink) {
	<-signals
	log.Warn("ended by a second signal")
	sink.Close()
	os.Exit(exitOK)
}
