package tlsmgr

import (
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/framegate/framegate/internal/strictyaml"
	"github.com/framegate/framegate/ratelimit"
)

// RedisStorageConfig is the section tls.storage.redis.
type RedisStorageConfig struct {
	EncryptionKeys []string `yaml:"encryption_keys" required:"true" min:"1" doc:"Keys of 32 bytes in base64 or hex (openssl rand -base64 32), better as ${file:...}. Whatever is kept is encrypted with the first one; the others can still read."`
	URL            string   `yaml:"url" doc:"Another Redis than that of the section redis, such as rediss://user:password@redis.example.com:6379/0."`
	CA             string   `yaml:"ca" doc:"PEM file with the certificates that the server of url may be signed by; without it, those of the system."`
	Prefix         string   `yaml:"prefix" doc:"What the names of all keys begin with. Default: that of the section redis, else framegate:."`

	DangerouslyAllowPlaintext bool `yaml:"dangerously_allow_plaintext" doc:"Allows redis:// to other machines in url: the password can be read on the way. Keys stay encrypted."`
}

const (
	defaultPrefix = "framegate:"

	// redisTimeout is how long Redis may take for a certificate: no handshake waits for it.
	redisTimeout = 2 * time.Second
)

func (c StorageConfig) validate(shared *ratelimit.RedisConfig, report func(path, format string, args ...any)) {
	if c.Redis != nil {
		c.Redis.compile(shared, func(path, format string, args ...any) { report(strictyaml.Join("redis", path), format, args...) })
	}
}

// compile returns the options of the client, the prefix of its keys, and the keys of the encryption.
func (c RedisStorageConfig) compile(shared *ratelimit.RedisConfig, report func(path, format string, args ...any)) (o *redis.Options, prefix string, keys [][]byte) {
	for i, text := range c.EncryptionKeys {
		key, ok := parseKey(text)
		if !ok {
			report(fmt.Sprintf("encryption_keys[%d]", i), "is not a key of 32 bytes in base64 or hex, wanted what `openssl rand -base64 32` prints")
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		report("encryption_keys", "missing, wanted at least one key")
	}
	own := ratelimit.RedisConfig{
		URL: c.URL, CA: c.CA, Prefix: cmp.Or(c.Prefix, defaultPrefix), DangerouslyAllowPlaintext: c.DangerouslyAllowPlaintext,
		Timeout: strictyaml.Duration(redisTimeout), Nodes: 1, LeasePercent: 1,
	}
	switch {
	case c.URL == "" && shared == nil:
		report("url", "missing, wanted the URL of a Redis here or in the section redis")
		return nil, "", nil
	case c.URL == "":
		if c.CA != "" || c.DangerouslyAllowPlaintext {
			report("url", "missing, wanted the URL that ca or dangerously_allow_plaintext is for")
		}
		own.URL, own.CA, own.DangerouslyAllowPlaintext = shared.URL, shared.CA, shared.DangerouslyAllowPlaintext
		own.Prefix = cmp.Or(c.Prefix, shared.Prefix, defaultPrefix)
		if shared.Problem() != nil {
			return nil, "", nil // reported where it stands
		}
	}
	o = own.Options(report)
	o.PoolSize = 8
	return o, own.Prefix, keys
}

// parseKey reads 32 bytes.
func parseKey(text string) ([]byte, bool) {
	for _, decode := range []func(string) ([]byte, error){hex.DecodeString, base64.StdEncoding.DecodeString, base64.RawURLEncoding.DecodeString} {
		if key, err := decode(text); err == nil && len(key) == 32 {
			return slices.Clip(key), true
		}
	}
	return nil, false
}
