package main

import (
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

func healthcheckCommand() *cobra.Command {
	var address, path string
	cmd := &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask a running gateway whether it is well; exit code 0 or 1",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client := &http.Client{Timeout: 3 * time.Second}
			resp, err := client.Get("http://" + address + path)
			if err != nil {
				return failed(err)
			}
			defer resp.Body.Close()
			text, err := io.ReadAll(io.LimitReader(resp.Body, 1024))
			if err != nil {
				return failed(err)
			}
			fmt.Fprint(cmd.OutOrStdout(), string(text))
			if resp.StatusCode != http.StatusOK {
				return failed(fmt.Errorf("http://%s%s answered %s", address, path, resp.Status))
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&address, "address", "127.0.0.1:9901", "address of the admin listener")
	cmd.Flags().StringVar(&path, "path", "/healthz", "what to ask: /healthz or /readyz")
	return cmd
}
