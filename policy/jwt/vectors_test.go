package jwt

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// vectorDir holds the Wycheproof vectors. It lies beside the repository, and is read where it is.
const vectorDir = "../../../shared/vectors/wycheproof"

type vectorGroup struct {
	Comment         string
	Private, Public json.RawMessage
	Tests           []vector
}

type vector struct {
	ID       int `json:"tcId"`
	Comment  string
	JWS, JWE json.RawMessage
	Result   string
}

// compact returns the token of a vector: a string, or in the JSON serialization an object.
func (v vector) compact() string {
	var s string
	if json.Unmarshal(v.JWS, &s) == nil {
		return s
	}
	return string(v.JWS)
}

// valid returns the valid tokens of a group.
func (g vectorGroup) valid() []string {
	var list []string
	for _, v := range g.Tests {
		if v.Result == "valid" {
			list = append(list, v.compact())
		}
	}
	return list
}

func readVectors(t *testing.T, name string) []vectorGroup {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(vectorDir, name))
	if err != nil {
		t.Fatalf("the Wycheproof vectors are missing, want them in shared/vectors/wycheproof beside this checkout: %v", err)
	}
	var file struct{ TestGroups []vectorGroup }
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return file.TestGroups
}

// vectorKeys makes the set of a group's keys, as a verifier would be given them: its public ones, or else its secrets. What is refused is left
// out.
func vectorKeys(group vectorGroup) *KeySet {
	given := group.Public
	if given == nil {
		given = group.Private
	}
	var set struct{ Keys []json.RawMessage }
	json.Unmarshal(given, &set)
	if set.Keys == nil {
		set.Keys = []json.RawMessage{given}
	}
	if keys, err := parseSecrets(set.Keys); err == nil {
		return keys
	}
	document, _ := json.Marshal(map[string]any{"keys": set.Keys})
	keys, _ := ParseKeySet(document)
	return keys
}

// parseSecrets makes a set of symmetric keys only.
func parseSecrets(raws []json.RawMessage) (*KeySet, error) {
	s := &KeySet{}
	for _, raw := range raws {
		members, err := decodeObject(raw, len(raw))
		if err != nil || members["kty"] != "oct" {
			return nil, errKeyType
		}
		if k, err := parseKey(raw, members); err == nil {
			s.keys = append(s.keys, k)
		}
	}
	s.dropDuplicates()
	return s, nil
}

// verifyJWS verifies a JWS in its compact form whose payload need not be claims.
func verifyJWS(compact string, keys *KeySet) ([]byte, error) {
	t, err := parse(compact)
	if err != nil {
		return nil, err
	}
	payload, _, err := keys.verify(t)
	return payload, err
}

// contradictory are the valid vectors that go against their own key, whose alg is another one than the token's or none that exists (ES521), or
// against RFC 7515, section 2, with a letter that base64url does not have.
var contradictory = []int{346, 347, 350, 351, 372, 373}

// TestWycheproof counts. Two of the 421 invalid vectors (367 and 370) are, byte for byte and with the same key, the valid vector 357: whoever
// refuses these refuses that.
func TestWycheproof(t *testing.T) {
	var refused, accepted, twins int
	for _, name := range []string{"json_web_signature_test.json", "json_web_key_test.json", "json_web_crypto_test.json"} {
		for _, group := range readVectors(t, name) {
			keys, valid := vectorKeys(group), group.valid()
			for _, test := range group.Tests {
				if test.JWS == nil {
					continue // a JWE
				}
				_, err := verifyJWS(test.compact(), keys)
				switch {
				case test.Result == "invalid" && slices.Contains(valid, test.compact()):
					twins++
				case err == nil && test.Result == "valid":
					accepted++
				case err != nil && test.Result == "invalid":
					refused++
				case err == nil || name != "json_web_signature_test.json" || !slices.Contains(contradictory, test.ID):
					t.Errorf("%s, %s, test %d (%s): error %v, want it %s", name, group.Comment, test.ID, test.Comment, err, test.Result)
				}
			}
		}
	}
	if refused != 419 || twins != 2 || accepted != 49 {
		t.Errorf("%d invalid vectors refused, %d as good as valid ones, %d valid ones accepted, want 419, 2 and 49", refused, twins, accepted)
	}
}

// TestWycheproofEncryption shows that no JWE is taken for a token.
func TestWycheproofEncryption(t *testing.T) {
	refused := 0
	for _, name := range []string{"json_web_encryption_test.json", "json_web_crypto_test.json"} {
		for _, group := range readVectors(t, name) {
			for _, test := range group.Tests {
				if test.JWE == nil {
					continue
				}
				var compact string
				json.Unmarshal(test.JWE, &compact) // one in the JSON serialization is empty
				if _, err := parse(compact); err == nil {
					t.Errorf("%s, test %d: a JWE was read as a signed token", name, test.ID)
				}
				refused++
			}
		}
	}
	if refused != 173 {
		t.Errorf("%d vectors, want 173", refused)
	}
}
