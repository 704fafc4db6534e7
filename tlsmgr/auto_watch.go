package tlsmgr

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"io/fs"
	"time"

	"github.com/caddyserver/certmagic"
)

// watchLoop keeps the index up to date with what certmagic holds (renewed certificates, new OCSP staples) and certmagic with what the store
// holds (certificates that another gateway, or `framegate certs renew`, has got), and raises the alarm of certificates that end soon.
func (a *auto) watchLoop() {
	_ = a.cache.RenewManagedCertificates(a.ctx) // what expired while nobody ran; errors are logged
	every := time.NewTicker(a.sys.watchEvery)
	defer every.Stop()
	next, soon := 0, time.Time{}
	for {
		select {
		case <-a.wake: // certmagic tells of a certificate just before it takes it into service
			soon = a.sys.now().Add(10 * time.Second)
			every.Reset(min(a.sys.watchEvery, time.Second))
			continue
		case <-every.C:
		case <-a.ctx.Done():
			return
		}
		if !soon.IsZero() && a.sys.now().After(soon) {
			soon = time.Time{}
			every.Reset(a.sys.watchEvery)
		}
		next = a.compare(next)
		a.publish()
		a.alarm()
		a.notice.daily("clean", a.clean)
	}
}

// compare holds a sixth of the certificates against the store, and returns with which one to go on. A store that does not answer is left alone
// until the next time.
func (a *auto) compare(from int) (next int) {
	names := a.managed()
	if from >= len(names) {
		from = 0
	}
	to := min(len(names), from+len(names)/6+1)
	for _, name := range names[from:to] {
		if err := a.follow(name); err != nil {
			if a.ctx.Err() == nil {
				a.notice.say("store", func() {
					a.log.Warn("certificate store does not answer, certificates stay in service", "error", brief(err))
				})
			}
			break
		}
	}
	return to
}

// follow takes the certificate of a name from the store, if that has a newer one.
func (a *auto) follow(name string) error {
	held, all := a.current(name)
	if held.Empty() {
		return nil
	}
	ctx, cancel := context.WithTimeout(a.ctx, 10*time.Second)
	defer cancel()
	changed := false
	for _, issuer := range a.magic.Issuers {
		text, err := a.store.Load(ctx, certmagic.StorageKeys.SiteCert(issuer.IssuerKey(), name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		block, _ := pem.Decode(text)
		changed = changed || block != nil && !bytes.Equal(block.Bytes, held.Certificate.Certificate[0])
	}
	if !changed {
		return nil
	}
	if err := a.dropCopies(ctx, name); err != nil {
		return err
	}
	stored, err := a.magic.CacheManagedCertificate(ctx, name)
	if err != nil {
		return err
	}
	if stored.Hash() == held.Hash() {
		return nil // the other one is older, of another CA
	}
	if stored.Leaf.NotBefore.Before(held.Leaf.NotBefore) {
		a.cache.Remove([]string{stored.Hash()}) // a store that was set back
		return nil
	}
	for _, old := range all {
		if old.Hash() != stored.Hash() {
			a.cache.Remove([]string{old.Hash()})
		}
	}
	a.log.Info("certificate in service, from the store", "name", name, "not_after", stored.Leaf.NotAfter)
	return nil
}

// keepExpired is how long the store keeps certificates that have ended: those of hosts that are gone, and those that no CA renews.
const keepExpired = 60 * 24 * time.Hour

// clean removes from the store what nobody needs any more. Of several gateways one does it, once a day.
func (a *auto) clean() {
	ctx, cancel := context.WithTimeout(a.ctx, time.Minute)
	defer cancel()
	err := certmagic.CleanStorage(ctx, a.store, certmagic.CleanStorageOptions{
		Logger: a.zap, Interval: 24 * time.Hour, OCSPStaples: true, ExpiredCerts: true, ExpiredCertGracePeriod: keepExpired,
	})
	if err != nil && a.ctx.Err() == nil {
		a.log.Warn("certificate store not cleaned", "error", brief(err))
	}
}

// dropCopies makes certmagic read the certificate of a name from the store itself.
func (a *auto) dropCopies(ctx context.Context, name string) error {
	if a.copies == nil {
		return nil
	}
	for _, issuer := range a.magic.Issuers {
		if err := a.copies.Delete(ctx, certmagic.StorageKeys.CertsSitePrefix(issuer.IssuerKey(), name)); err != nil {
			return err
		}
	}
	return nil
}

// alarm logs certificates that end soon, each once a day.
func (a *auto) alarm() {
	now := a.sys.now()
	for name, leaf := range a.leaves() {
		if endsSoon(leaf, now) {
			a.notice.daily("alarm "+name, func() {
				a.log.Error("certificate ends soon and was not renewed", "name", name, "not_after", leaf.NotAfter, "days", int(leaf.NotAfter.Sub(now).Hours()/24))
			})
		}
	}
}
