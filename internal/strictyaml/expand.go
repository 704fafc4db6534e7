package strictyaml

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxSecretFile bounds what ${file:...} reads.
const maxSecretFile = 1 << 20

// expansion is the text of a scalar after its ${...} were replaced.
type expansion struct {
	text     string
	expanded bool     // not just an escaped $${
	foreign  bool     // not just ${VAR:-default} with its default, which anybody can read in the file
	pieces   []string // what was put in
	failed   bool     // reported already
}

// expand returns the text of the scalar n, and looks its variables up once.
func (d *decoder) expand(n *node, path string) *expansion {
	if n.expansion != nil {
		return n.expansion
	}
	e := &expansion{text: n.text}
	n.expansion = e
	if !strings.Contains(n.text, "${") {
		return e
	}
	d.doc.files = append(d.doc.files, filesOf(n.text)...)
	if err := e.replace(n.text, d.lookup); err != nil {
		e.failed = true
		d.add(n.at, path, err.Error())
	}
	if e.foreign {
		d.doc.secrets = append(append(d.doc.secrets, e.text), e.pieces...)
	}
	return e
}

// filesOf lists the files that a text names by ${file:...}.
func filesOf(text string) (files []string) {
	for _, piece := range strings.Split(text, "${file:")[1:] {
		file, _, _ := strings.Cut(piece, "}")
		files = append(files, file)
	}
	return files
}

// replace puts the values of all ${...} of s into e. What was put in is never looked at again.
func (e *expansion) replace(s string, lookup func(string) (string, bool)) error {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, "${")
		if !found {
			b.WriteString(s)
			e.text = b.String()
			return nil
		}
		if strings.HasSuffix(before, "$") {
			b.WriteString(before + "{")
			s = after
			continue
		}
		b.WriteString(before)
		body, rest, closed := strings.Cut(after, "}")
		switch {
		case !closed:
			return errors.New("${ without }; write $${ for a literal ${")
		case strings.Contains(body, "${"):
			return errors.New("a ${...} inside another one is not supported")
		}
		value, foreign, err := evaluate(body, lookup)
		if err != nil {
			return err
		}
		if !utf8.ValidString(value) {
			return fmt.Errorf("${%s} yields a value that is not UTF-8", body)
		}
		b.WriteString(value)
		e.expanded, e.foreign, e.pieces, s = true, e.foreign || foreign, append(e.pieces, value), rest
	}
}

// evaluate returns what ${body} stands for, and whether it is foreign to the file. As in a shell, :- and :? also apply to
// a variable that is set but empty.
func evaluate(body string, lookup func(string) (string, bool)) (value string, foreign bool, err error) {
	if path, ok := strings.CutPrefix(body, "file:"); ok {
		value, err = readSecret(path)
		return value, true, err
	}
	name := body[:len(body)-len(strings.TrimLeftFunc(body, inName))]
	rest := body[len(name):]
	fallback, hasFallback := strings.CutPrefix(rest, ":-")
	message, hasMessage := strings.CutPrefix(rest, ":?")
	if name == "" || name[0] >= '0' && name[0] <= '9' || rest != "" && !hasFallback && !hasMessage {
		return "", false, fmt.Errorf("want ${VAR}, ${VAR:-default}, ${VAR:?message} or ${file:/path}, not %s", quote("${"+body+"}"))
	}
	value, set := lookup(name)
	switch {
	case set && (value != "" || rest == ""):
		return value, true, nil
	case hasFallback:
		return fallback, false, nil
	case message != "":
		return "", false, fmt.Errorf("environment variable %s: %s", name, message)
	case set:
		return "", false, fmt.Errorf("environment variable %s is empty", name)
	}
	return "", false, fmt.Errorf("environment variable %s is not set", name)
}

func inName(r rune) bool {
	return r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}

// readSecret returns the content of a file without the newline at its end. Its errors never hold the content.
func readSecret(path string) (string, error) {
	if !filepath.IsAbs(path) || strings.ContainsFunc(path, unicode.IsControl) {
		return "", fmt.Errorf("want an absolute path in ${file:/path}, not %s", quote(path))
	}
	content, err := readRegular(path)
	if err != nil {
		return "", fmt.Errorf("expanding ${file:%s}: %w", path, err)
	}
	if len(content) > maxSecretFile {
		return "", fmt.Errorf("expanding ${file:%s}: larger than %v", path, Size(maxSecretFile))
	}
	text := strings.TrimSuffix(string(content), "\n")
	if len(text) < len(content) {
		text = strings.TrimSuffix(text, "\r")
	}
	return text, nil
}

// readRegular reads one byte more than allowed at most. Only regular files are read: a pipe could block the start, a
// device never end.
func readRegular(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, cause(err)
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, cause(err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	return content, cause(err)
}

// cause takes the operation and the path off an error about a file, which the message around it names already.
func cause(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}
