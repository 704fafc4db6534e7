package main

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/framegate/framegate/tlsmgr"
)

func trustCommand() *cobra.Command {
	var export, storage string
	cmd := &cobra.Command{
		Use:   "trust",
		Short: "Show or export the root of the internal development CA",
		Long: "Show the root certificate that signs for `certificates: internal`, and how to make this machine trust it; or write it to a file.\n" +
			"The root is made where there is none yet.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := tlsmgr.StorageConfig{File: storage}.Dir()
			if err != nil {
				return failed(err)
			}
			root, err := tlsmgr.RootPEM(dir)
			if err != nil {
				return failed(err)
			}
			if export != "" {
				return failed(os.WriteFile(export, root, 0o644))
			}
			text, err := explainTrust(root, filepath.Join(dir, "internal", "root.crt"))
			if err != nil {
				return failed(err)
			}
			fmt.Fprint(cmd.OutOrStdout(), text)
			return nil
		},
	}
	cmd.Flags().StringVar(&export, "export", "", "write the root as PEM to this file")
	cmd.Flags().StringVar(&storage, "storage", "", "directory of the store (tls.storage.file of the configuration)")
	return cmd
}

// explainTrust says what the root is and how each kind of client is made to
// trust it. The gateway changes no trust store by itself.
func explainTrust(root []byte, file string) (string, error) {
	block, _ := pem.Decode(root)
	if block == nil {
		return "", errors.New("the root is no PEM certificate")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(cert.Raw)
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n  subject  %s\n  expires  %s\n  sha256   %s\n\n", file, cert.Subject, cert.NotAfter.Format("2006-01-02"), hex.EncodeToString(sum[:]))
	fmt.Fprintf(&b, "To trust it on this machine:\n")
	fmt.Fprintf(&b, "  Debian, Ubuntu   sudo cp %s /usr/local/share/ca-certificates/framegate.crt && sudo update-ca-certificates\n", file)
	fmt.Fprintf(&b, "  macOS            security add-trusted-cert -k ~/Library/Keychains/login.keychain-db %s\n", file)
	fmt.Fprintf(&b, "  Chromium, Linux  certutil -d sql:$HOME/.pki/nssdb -A -t C,, -n framegate -i %s\n", file)
	fmt.Fprintf(&b, "  Node             NODE_EXTRA_CA_CERTS=%s\n", file)
	fmt.Fprintf(&b, "  curl             curl --cacert %s\n", file)
	return b.String(), nil
}
