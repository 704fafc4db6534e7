package tlsmgr

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

const (
	sealVersion = 1
	sealHeader  = 1 + 8 // version, time in milliseconds
	sealNonce   = 12    // of AES-GCM
	sealDomain  = "framegate certificate store v1\x00"
)

// A sealer encrypts entries with AES-256-GCM. What is sealed opens only under the name that it was sealed for, and shows when it was.
type sealer struct{ keys []cipher.AEAD }

// newSealer makes a sealer of keys of 32 bytes: the first one seals, all open.
func newSealer(keys [][]byte) (*sealer, error) {
	s := &sealer{}
	for _, key := range keys {
		if len(key) != 32 {
			return nil, fmt.Errorf("a key of %d bytes, wanted 32", len(key))
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return nil, err
		}
		s.keys = append(s.keys, aead)
	}
	if len(s.keys) == 0 {
		return nil, errors.New("no encryption key")
	}
	return s, nil
}

// associated is what a sealed value is bound to: its name and its header.
func associated(name string, header []byte) []byte {
	return append(append([]byte(sealDomain), name...), header...)
}

// seal encrypts the value of name. A nonce is random: one key seals some 2^32 values before two may meet.
func (s *sealer) seal(name string, value []byte, now time.Time) []byte {
	sealed := make([]byte, sealHeader+sealNonce, sealHeader+sealNonce+len(value)+16)
	sealed[0] = sealVersion
	binary.BigEndian.PutUint64(sealed[1:], uint64(now.UnixMilli()))
	nonce := sealed[sealHeader:]
	rand.Read(nonce) // never fails: crypto/rand ends the process instead
	return s.keys[0].Seal(sealed, nonce, value, associated(name, sealed[:sealHeader]))
}

// open decrypts the value of name, and says when it was sealed.
func (s *sealer) open(name string, sealed []byte) (value []byte, at time.Time, err error) {
	if len(sealed) < sealHeader+sealNonce || sealed[0] != sealVersion {
		return nil, time.Time{}, fmt.Errorf("entry %q is not one of this store", name)
	}
	header, nonce := sealed[:sealHeader], sealed[sealHeader:sealHeader+sealNonce]
	for _, key := range s.keys {
		if value, err = key.Open(nil, nonce, sealed[sealHeader+sealNonce:], associated(name, header)); err == nil {
			return value, time.UnixMilli(int64(binary.BigEndian.Uint64(header[1:]))), nil
		}
	}
	return nil, time.Time{}, fmt.Errorf("entry %q does not open with these encryption keys", name)
}
