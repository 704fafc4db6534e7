package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/framegate/framegate/proxy"
	"github.com/framegate/framegate/tlsmgr"
)

func certsCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "certs",
		Short: "List, export or renew the certificates that ACME has given",
		Long:  "List, export or renew the certificates of `certificates: auto`, in the store that the configuration names. Gateways may run meanwhile.",
		Args:  cobra.NoArgs,
		RunE:  func(*cobra.Command, []string) error { return errors.New("certs needs one of list, export and renew") },
	}
	cmd.PersistentFlags().StringVar(&file, "config", defaultConfig, "configuration file")
	cmd.AddCommand(certsListCommand(&file), certsExportCommand(&file), certsRenewCommand(&file))
	return cmd
}

// withInventory opens the store of a configuration for do.
func withInventory(file string, log *slog.Logger, do func(context.Context, *proxy.Config, *tlsmgr.Inventory) error) error {
	loaded, err := proxy.Load(file, os.LookupEnv)
	if err != nil {
		return failed(err)
	}
	v, err := tlsmgr.OpenInventory(loaded.Config.TLS, loaded.Config.Redis, log)
	if err != nil {
		return failed(err)
	}
	defer v.Close()
	return failed(do(context.Background(), loaded.Config, v))
}

func certsListCommand(file *string) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "Show the certificates of the store",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withInventory(*file, nil, func(ctx context.Context, _ *proxy.Config, v *tlsmgr.Inventory) error {
				all, err := v.List(ctx)
				if err != nil {
					return err
				}
				w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
				fmt.Fprintln(w, "NAME\tENDS\tDAYS LEFT\tCA\tSERIAL")
				for _, s := range all {
					days := int(time.Until(s.NotAfter).Hours() / 24)
					fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\n", s.Name, s.NotAfter.UTC().Format(time.RFC3339), days, s.CA, s.Serial)
				}
				return w.Flush()
			})
		},
	}
}

func certsExportCommand(file *string) *cobra.Command {
	var certFile, keyFile string
	cmd := &cobra.Command{
		Use:   "export NAME",
		Short: "Write the newest certificate of a name, with its intermediates, and its key to files",
		Long:  "Print the newest certificate of a name, with its intermediates, in PEM, or write it to a file; with --key also write its private key.",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withInventory(*file, nil, func(ctx context.Context, _ *proxy.Config, v *tlsmgr.Inventory) error {
				chain, key, err := v.Export(ctx, args[0])
				if err != nil {
					return err
				}
				if keyFile != "" {
					if err := writePrivate(keyFile, key); err != nil {
						return err
					}
				}
				if certFile != "" {
					return os.WriteFile(certFile, chain, 0o644)
				}
				_, err = cmd.OutOrStdout().Write(chain)
				return err
			})
		},
	}
	cmd.Flags().StringVar(&certFile, "cert", "", "write the certificate to this file instead")
	cmd.Flags().StringVar(&keyFile, "key", "", "write the private key to this file, readable by you alone")
	return cmd
}

// writePrivate writes a file that only its owner may read, also where it was
// there with another mode.
func writePrivate(name string, data []byte) error {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(file.Chmod(0o600), write(file, data)); err != nil {
		return errors.Join(err, file.Close())
	}
	return file.Close()
}

func write(file *os.File, data []byte) error {
	_, err := file.Write(data)
	return err
}

func certsRenewCommand(file *string) *cobra.Command {
	return &cobra.Command{
		Use:   "renew NAME...",
		Short: "Order new certificates now, whether they are due or not",
		Long: "Order new certificates now, whether they are due or not. A running gateway with the same store answers the CA, and serves the\n" +
			"new certificate within about a minute. CAs limit how many they give for a name in a week.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn}))
			return withInventory(*file, log, func(ctx context.Context, cfg *proxy.Config, v *tlsmgr.Inventory) error {
				http, secure, hosts := cfg.Certified()
				var errs []error
				for _, name := range args {
					if !slices.Contains(hosts, name) {
						errs = append(errs, fmt.Errorf("%q is not among the hosts that have certificates by ACME: %v", name, hosts))
						continue
					}
					if err := v.Renew(ctx, name, http, secure); err != nil {
						errs = append(errs, err)
						continue
					}
					fmt.Fprintf(cmd.OutOrStdout(), "%s: renewed\n", name)
				}
				return errors.Join(errs...)
			})
		},
	}
}
