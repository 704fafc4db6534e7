package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/framegate/framegate/proxy"
)

func checkCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check [FILE]",
		Short: "Check a configuration and print all of its mistakes",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file := defaultConfig
			if len(args) == 1 {
				file = args[0]
			}
			loaded, err := proxy.Load(file, os.LookupEnv)
			if loaded != nil {
				for _, w := range loaded.Warnings {
					fmt.Fprintf(cmd.ErrOrStderr(), "%v (warning)\n", w)
				}
			}
			if err != nil {
				return failed(err)
			}
			c := loaded.Config
			fmt.Fprintf(cmd.OutOrStdout(), "%s: ok, %s, %s, %s\n", file, count(len(c.Listeners), "listener"), count(len(c.Routes), "route"), count(len(c.Upstreams), "upstream"))
			return nil
		},
	}
}

// count is "1 route" or "2 routes".
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
