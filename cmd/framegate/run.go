package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/framegate/framegate/proxy"
)

const defaultConfig = "gateway.yaml"

func runCommand() *cobra.Command {
	var file, pidFile string
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the gateway",
		Long: `Run the gateway until SIGTERM or SIGINT. SIGTERM drains as the configuration says; SIGINT drains at once; a second signal ends the process.
SIGHUP reloads the configuration, and so does a change of its files. SIGUSR2 starts the program anew, which takes over the listening sockets; this process serves the connections that it
has on, and ends with the last of them.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			load := func() (*proxy.Loaded, error) { return proxy.Load(file, os.LookupEnv) }
			loaded, err := load()
			if err != nil {
				return failed(err)
			}
			sink := proxy.NewLogSink(os.Stderr)
			defer sink.Close()
			log := proxy.NewLogger(loaded.Config.Log, sink)
			for _, w := range loaded.Warnings {
				log.Warn("configuration", "warning", w.Error())
			}
			p := &process{cfg: loaded.Config, load: load, loaded: loaded, log: log, sink: sink, pidFile: pidFile}
			return failed(p.run())
		},
	}
	cmd.Flags().StringVar(&file, "config", defaultConfig, "configuration file")
	cmd.Flags().StringVar(&pidFile, "pid-file", "", "file to write the process number to, also after an upgrade")
	return cmd
}
