package main

import (
	"github.com/spf13/cobra"

	"github.com/framegate/framegate/internal/strictyaml"
	"github.com/framegate/framegate/proxy"
)

const schemaID = "https://framegate.dev/schema/gateway.json"

func schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of gateway.yaml, for editors",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := strictyaml.Schema(&proxy.Config{}, "Framegate configuration", schemaID)
			if err != nil {
				return failed(err)
			}
			_, err = cmd.OutOrStdout().Write(b)
			return failed(err)
		},
	}
}
