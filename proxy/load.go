package proxy

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/framegate/framegate/internal/strictyaml"
	"github.com/framegate/framegate/policy"
)

// A Loaded configuration was read and validated whole.
type Loaded struct {
	Config   *Config
	Warnings strictyaml.Errors
	Files    []string // that it was read from, and patterns of such
	Digest   string   // of all that was read
}

// Load reads the configuration file and the policy files that it names, and
// validates all of it. lookup is os.LookupEnv but in tests. The error is a
// strictyaml.Errors where the files hold mistakes: all of them at once.
func Load(file string, lookup func(string) (string, bool)) (*Loaded, error) {
	cfg := &Config{files: newFileBook()}
	data, err := os.ReadFile(file)
	cfg.files.note(file, data)
	if err != nil {
		return cfg.loaded(nil), fmt.Errorf("reading configuration %q: %w", file, withoutPath(err))
	}
	doc, errs := strictyaml.Decode(file, data, lookup, cfg)
	cfg.main, cfg.owner = doc, map[string]*strictyaml.Document{}
	cfg.dir, cfg.policyDirs = filepath.Dir(file), map[string]string{}
	l := &loader{lookup: lookup, cfg: cfg, errs: errs}
	l.policyFiles(cfg, cfg.dir)
	var more strictyaml.Errors
	l.more = &more
	compile(cfg, cfg.shared(), l.report, l.warn)
	l.errs = append(l.errs, elsewhere(more, errs)...)
	if slices.ContainsFunc(l.errs, func(e *strictyaml.Error) bool { return within(e.Path, "routes") }) {
		l.warnings = nil // what no route uses may be what a mistaken one means
	}
	l.errs.Sort()
	docs := []*strictyaml.Document{doc}
	for _, doc := range cfg.owner { // which may have several policies
		if !slices.Contains(docs, doc) {
			docs = append(docs, doc)
		}
	}
	for _, doc := range docs {
		l.warnings = append(l.warnings, doc.Warnings()...)
		cfg.files.read(doc.Files()...)
	}
	l.warnings.Sort()
	for _, u := range cfg.Upstreams {
		if u.TLS != nil {
			cfg.files.read(u.TLS.CA, u.TLS.Cert, u.TLS.Key)
		}
	}
	for _, l := range cfg.Listeners {
		cfg.files.readCA(l.ClientAuth)
	}
	for _, r := range cfg.Routes {
		cfg.files.readCA(r.ClientAuth)
	}
	cfg.files.read(cfg.Admin.TokenFile)
	return cfg.loaded(l.warnings), l.errs.Err()
}

// elsewhere drops the mistakes of a section that the decoder has complained
// about: they may only be its consequence. What stands before the complaint is
// none: there the key is given a second time, and the first one counts.
func elsewhere(more, errs strictyaml.Errors) strictyaml.Errors {
	return slices.DeleteFunc(more, func(e *strictyaml.Error) bool {
		return slices.ContainsFunc(errs, func(d *strictyaml.Error) bool {
			return d.File == e.File && (within(d.Path, e.Path) || within(e.Path, d.Path) && (d.Path == "" || !before(e, d)))
		})
	})
}

// before reports whether a mistake stands before another one of the same file.
func before(e, other *strictyaml.Error) bool {
	return cmp.Or(cmp.Compare(e.Line, other.Line), cmp.Compare(e.Column, other.Column)) < 0
}

// within reports whether a path is that of a section or of a value in it.
func within(path, section string) bool {
	rest, ok := strings.CutPrefix(path, section)
	return ok && (rest == "" || section == "" || rest[0] == '.' || rest[0] == '[')
}

// A loader collects what is wrong over several files.
type loader struct {
	lookup   func(string) (string, bool)
	cfg      *Config
	errs     strictyaml.Errors
	more     *strictyaml.Errors
	warnings strictyaml.Errors
}

// policyFiles adds the policies of policy_files to cfg.
func (l *loader) policyFiles(cfg *Config, dir string) {
	if cfg.Policies == nil {
		cfg.Policies = map[string]policy.Config{}
	}
	for i, pattern := range cfg.PolicyFiles {
		path := fmt.Sprintf("policy_files[%d]", i)
		if !filepath.IsAbs(pattern) {
			pattern = filepath.Join(dir, pattern)
		}
		cfg.files.pattern(pattern)
		files, err := filepath.Glob(pattern)
		files = slices.DeleteFunc(files, isPolicyTest)
		if err != nil || len(files) == 0 {
			l.errs = append(l.errs, cfg.main.Errorf(path, "%q names no file, want a file or a pattern such as policies/*.yaml", cfg.PolicyFiles[i]))
			continue
		}
		for _, file := range files {
			l.policyFile(cfg, path, file)
		}
	}
}

// isPolicyTest tells the tests of policies, which may lie beside them.
func isPolicyTest(file string) bool { return strings.HasSuffix(file, "_test.yaml") }

func (l *loader) policyFile(cfg *Config, path, file string) {
	data, err := os.ReadFile(file)
	cfg.files.note(file, data)
	if err != nil {
		l.errs = append(l.errs, cfg.main.Errorf(path, "cannot read %q", file))
		return
	}
	var more PolicyFile
	doc, errs := strictyaml.Decode(file, data, l.lookup, &more)
	l.errs = append(l.errs, errs...)
	for name, c := range more.Policies {
		if _, ok := cfg.Policies[name]; ok {
			l.errs = append(l.errs, errorAt(doc, strictyaml.Key("policies", name), "policy %q is defined already", name))
			continue
		}
		cfg.Policies[name], cfg.policyDirs[name] = c, filepath.Dir(file)
		cfg.owner[name] = doc
	}
}

// document returns the file in which a path of the merged configuration is.
func (cfg *Config) document(path string) *strictyaml.Document {
	for name, doc := range cfg.owner {
		if within(path, strictyaml.Key("policies", name)) {
			return doc
		}
	}
	return cfg.main
}

// errorAt makes an error at a path of the merged configuration.
func (cfg *Config) errorAt(path, format string, args ...any) *strictyaml.Error {
	return errorAt(cfg.document(path), path, format, args...)
}

func (l *loader) report(path, format string, args ...any) {
	*l.more = append(*l.more, l.cfg.errorAt(path, format, args...))
}

func (l *loader) warn(path, format string, args ...any) {
	w := l.cfg.errorAt(path, format, args...)
	if !slices.ContainsFunc(l.warnings, func(said *strictyaml.Error) bool { return *said == *w }) { // routes share policies
		l.warnings = append(l.warnings, w)
	}
}

// errorAt makes an error at the value of path, or at its key where the value
// begins on another line.
func errorAt(doc *strictyaml.Document, path, format string, args ...any) *strictyaml.Error {
	e := doc.Errorf(path, format, args...)
	if key := doc.KeyAt(path); key.Line < e.Line {
		e.Line, e.Column = key.Line, key.Column
	}
	return e
}
