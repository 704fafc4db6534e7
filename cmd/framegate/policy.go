package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/framegate/framegate/cmd/framegate/policytest"
	"github.com/framegate/framegate/proxy"
)

func policyCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "policy", Short: "Test and explain policies", Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return errors.New("want a subcommand: test or explain")
	}}
	cmd.AddCommand(policyTestCommand(), policyExplainCommand())
	return cmd
}

// errTests is the end of a run with failures, which have been told by then.
var errTests = errors.New("policy tests failed")

func policyTestCommand() *cobra.Command {
	var output string
	var verbose bool
	cmd := &cobra.Command{
		Use:   "test [FILE...]",
		Short: "Run tests of policies; without files, all *_test.yaml of this directory and below policies/",
		RunE: func(cmd *cobra.Command, files []string) error {
			write, ok := map[string]func(*policytest.Suite, io.Writer) error{
				"text":  func(s *policytest.Suite, w io.Writer) error { s.Text(w, verbose); return nil },
				"json":  (*policytest.Suite).JSON,
				"junit": (*policytest.Suite).JUnit,
			}[output]
			if !ok {
				return fmt.Errorf("unknown output %q, want text, json or junit", output)
			}
			if len(files) == 0 {
				if files = policyTestFiles(); len(files) == 0 {
					return failed(errors.New("no *_test.yaml here or in policies, want the names of files"))
				}
			}
			suite, err := policytest.Run(cmd.Context(), files, os.LookupEnv, time.Now())
			if err != nil {
				return failed(err)
			}
			if err := write(suite, cmd.OutOrStdout()); err != nil {
				return failed(err)
			}
			if suite.Failed() > 0 {
				return failed(errTests)
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text, json or junit")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "name the tests that pass too")
	return cmd
}

// policyTestFiles finds the tests where they are expected.
func policyTestFiles() (files []string) {
	for _, pattern := range []string{"*_test.yaml", "policies/*_test.yaml"} {
		found, _ := filepath.Glob(pattern) // the patterns are well-formed
		files = append(files, found...)
	}
	return files
}

func policyExplainCommand() *cobra.Command {
	var config string
	var headers, policies []string
	var forwardAuth policytest.Service
	r := policytest.Request{Headers: map[string]policytest.Values{}}
	cmd := &cobra.Command{
		Use:   "explain URL",
		Short: "Show what each rule says of one request",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.URL = args[0]
			for _, line := range headers {
				name, value, ok := strings.Cut(line, ":")
				if !ok {
					return fmt.Errorf("header %q has no colon, want NAME: VALUE", line)
				}
				r.Headers[name] = append(r.Headers[name], strings.TrimSpace(value))
			}
			if forwardAuth.Status != 0 {
				r.ForwardAuth = &forwardAuth
			}
			if err := r.Check(); err != nil {
				return err
			}
			loaded, err := proxy.Load(config, os.LookupEnv)
			if err != nil {
				return failed(err)
			}
			e, err := policytest.NewExplanation(cmd.Context(), loaded.Config, policies, &r, time.Now())
			if err != nil {
				return failed(err)
			}
			policytest.Explain(cmd.OutOrStdout(), e)
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&config, "config", defaultConfig, "the configuration")
	flags.StringArrayVarP(&headers, "header", "H", nil, "a header field, NAME: VALUE")
	flags.StringSliceVar(&policies, "policies", nil, "policies that judge, instead of those of the route")
	flags.StringSliceVar(&r.Subprotocols, "subprotocols", nil, "subprotocols that are offered")
	flags.StringVar(&r.Method, "method", "GET", "method of a plain request")
	flags.IntVar(&forwardAuth.Status, "forward-auth", 0, "the status that the services of forward_auth answer with; default: they cannot be reached")
	flags.StringVar(&r.Address, "address", "192.0.2.1", "the client's IP address")
	flags.StringVar(&r.Time, "time", "", "when the request comes, such as 2026-11-25T12:00:00Z; default: now")
	return cmd
}
