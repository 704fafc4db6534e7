package tlsmgr

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/framegate/framegate/ratelimit"
)

// An Inventory is the store of ACME certificates as seen from outside of a running gateway, which it may be shared with.
type Inventory struct {
	cfg   Config
	store backend
	log   *slog.Logger
}

// Stored is a certificate of the store.
type Stored struct {
	Name     string    // or wildcard
	CA       string    // by which name the store knows the CA
	Serial   string    // in hexadecimal
	NotAfter time.Time // when it ends

	chain []byte // PEM
	key   string // of the store, of the private key
}

// OpenInventory opens the store of a configuration. shared is its section redis, nil without. A nil log discards.
func OpenInventory(cfg Config, shared *ratelimit.RedisConfig, log *slog.Logger) (*Inventory, error) {
	m, err := New(cfg, shared, log)
	if err != nil {
		return nil, err
	}
	b, _, err := m.openStore()
	return &Inventory{cfg, b, m.log}, err
}

// Close gives back what the inventory has open.
func (v *Inventory) Close() { v.store.close() }

// List returns all certificates, by name and, of one name, the newest first.
func (v *Inventory) List(ctx context.Context) (all []Stored, err error) {
	keys, err := v.store.List(ctx, "certificates", true)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		if path.Ext(key) != ".crt" {
			continue
		}
		s, err := v.read(ctx, key)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		all = append(all, s)
	}
	slices.SortStableFunc(all, func(a, b Stored) int {
		if c := strings.Compare(a.Name, b.Name); c != 0 {
			return c
		}
		return b.NotAfter.Compare(a.NotAfter)
	})
	return all, nil
}

// read reads the certificate at a key such as certificates/CA/NAME/NAME.crt.
func (v *Inventory) read(ctx context.Context, key string) (Stored, error) {
	chain, err := v.store.Load(ctx, key)
	if err != nil {
		return Stored{}, err
	}
	block, _ := pem.Decode(chain)
	if block == nil {
		return Stored{}, errors.New("no certificate in PEM")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return Stored{}, err
	}
	if len(leaf.DNSNames) == 0 {
		return Stored{}, errors.New("a certificate without a name")
	}
	return Stored{
		Name: leaf.DNSNames[0], CA: path.Base(path.Dir(path.Dir(key))), Serial: leaf.SerialNumber.Text(16), NotAfter: leaf.NotAfter,
		chain: chain, key: strings.TrimSuffix(key, ".crt") + ".key",
	}, nil
}

// Export returns the newest certificate of a name, with its intermediates, and its private key, in PEM.
func (v *Inventory) Export(ctx context.Context, name string) (chain, key []byte, err error) {
	all, err := v.List(ctx)
	if err != nil {
		return nil, nil, err
	}
	i := slices.IndexFunc(all, func(s Stored) bool { return s.Name == strings.ToLower(name) })
	if i < 0 {
		return nil, nil, fmt.Errorf("no certificate of %q in the store", name)
	}
	key, err = v.store.Load(ctx, all[i].key)
	return all[i].chain, key, err
}

// Renew orders a new certificate of a name, or its first one, whether it is due or not. Running gateways with this store answer the challenges, and
// serve the new certificate within about a minute. http and tls are the addresses of the listeners, as for Manager.Start.
func (v *Inventory) Renew(ctx context.Context, name, http, tls string) error {
	exact, parent, ok := canonicalPattern(name)
	if !ok {
		return fmt.Errorf("%q is not a name, wanted one such as chat.example.com", name)
	}
	if parent != "" {
		exact = "*." + parent
	}
	a := newAuto(v.cfg.ACME, borrowed{v.store}, nil, v.log, system{now: time.Now, retry: backOff})
	defer a.close()
	if err := a.addIssuers(endpoints{http, tls}); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, obtainTimeout)
	defer cancel()
	return a.magic.RenewCertSync(ctx, exact, true)
}

// borrowed is a backend that its user does not close.
type borrowed struct{ backend }

func (borrowed) close() {}
