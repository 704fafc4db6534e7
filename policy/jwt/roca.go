package jwt

import "math/big"

// rocaPrimes are those by which a modulus is told that was made by the Infineon library of CVE-2017-15361.
var rocaPrimes = []int64{
	3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109, 113, 127, 131, 137, 139,
	149, 151, 157, 163, 167,
}

// isROCA says whether n has the fingerprint of keys that can be factored: its primes are of the form k*M + (65537^a mod M), where M is a
// product of small primes, and so n is a power of 65537 modulo each of them. Of other moduli one in 2^27 looks like that
// (Nemec et al., The Return of Coppersmith's Attack, 2017, section 3).
func isROCA(n *big.Int) bool {
	for _, prime := range rocaPrimes {
		residue := new(big.Int).Mod(n, big.NewInt(prime)).Int64()
		if !isPowerOf65537(residue, prime) {
			return false
		}
	}
	return true
}

func isPowerOf65537(residue, prime int64) bool {
	power := int64(1)
	for range prime {
		if power == residue {
			return true
		}
		power = power * 65537 % prime
	}
	return false
}
