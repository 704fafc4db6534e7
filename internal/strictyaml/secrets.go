package strictyaml

import (
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"runtime"
)

// The kinds of secrets that a field may hold, by its tag secret.
const (
	secretValue    = "true"     // the value
	secretUserinfo = "userinfo" // the password in a URL
)

// everybody are the permission bits that a file with a secret should not have. The file's group may be one for just that.
const everybody fs.FileMode = 0o007

// Warnings lists what is allowed and better done otherwise: secrets that lie open.
func (d *Document) Warnings() Errors { return d.warnings }

func (d *Document) warn(at Position, path, format string, args ...any) {
	d.warnings = append(d.warnings, &Error{d.file, at.Line, at.Column, path, fmt.Sprintf(format, args...)})
}

// guard warns of a secret that is written in the file itself, which is copied, versioned and shown, or that comes from a file which everybody on
// this machine may read.
func (d *decoder) guard(n *node, path, kind string) {
	for i, item := range n.items {
		d.guard(item, index(path, i), kind)
	}
	e := n.expansion
	if n.kind != scalar || e == nil || e.failed || !isSecret(e.text, kind) {
		return
	}
	if !e.foreign {
		d.doc.warn(n.at, path, "this secret is in the file itself, better ${file:/run/secrets/NAME} or ${NAME} of the environment")
	}
	for _, file := range filesOf(n.text) {
		if mode, open := OpenToEverybody(file); open {
			d.doc.warn(n.at, path, "%s is open to everybody on this machine (mode %#o), want 0600, or 0640 for a group", quote(file), mode)
		}
	}
}

// OpenToEverybody reports whether a file that is there has any permission for everybody on this machine. Windows has no such modes.
func OpenToEverybody(file string) (mode fs.FileMode, open bool) {
	info, err := os.Stat(file)
	if err != nil || runtime.GOOS == "windows" {
		return 0, false
	}
	return info.Mode().Perm(), info.Mode().Perm()&everybody != 0
}

func isSecret(text, kind string) bool {
	if kind == secretValue {
		return text != ""
	}
	u, err := url.Parse(text)
	if err != nil || u.User == nil {
		return false
	}
	_, has := u.User.Password()
	return has
}
