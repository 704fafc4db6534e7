package strictyaml_test

import (
	"fmt"
	"os"
	"strings"

	"github.com/framegate/framegate/internal/strictyaml"
)

type config struct {
	Routes    []route             `yaml:"routes" required:"true" doc:"Where requests go."`
	Upstreams map[string]upstream `yaml:"upstreams" doc:"The servers behind the gateway."`
}

type route struct {
	Name     string              `yaml:"name" required:"true"`
	Upstream string              `yaml:"upstream" required:"true"`
	HTTP     string              `yaml:"http" enum:"pass,deny" default:"pass"`
	Idle     strictyaml.Duration `yaml:"idle_timeout" default:"5m"`
}

type upstream struct {
	Servers []string `yaml:"servers" required:"true" min:"1"`
}

func Example() {
	const file = `
routes:
  - name: chat
    upstreem: chat
    idle_timeout: 300
  - name: api
    upstream: api
    http: pas
upstreams:
  chat: {servers: [ftp://127.0.0.1]}
`
	var c config
	doc, errs := strictyaml.Decode("gateway.yaml", []byte(file), os.LookupEnv, &c)
	// The packages of the sections check further, and need to know only the path in their own section.
	for name, u := range c.Upstreams {
		report := doc.Report(strictyaml.Key("upstreams", name), &errs)
		for i, server := range u.Servers {
			if !strings.HasPrefix(server, "ws://") {
				report(fmt.Sprintf("servers[%d]", i), "want a URL such as ws://127.0.0.1:9000, not %q", server)
			}
		}
	}
	errs.Sort()
	fmt.Println(errs)
	// Output:
	// gateway.yaml:4:5: routes[0].upstreem: unknown key, did you mean "upstream"?
	// gateway.yaml:5:19: routes[0].idle_timeout: want a duration such as 5s, 1m30s or 250ms, not "300"
	// gateway.yaml:8:11: routes[1].http: want one of pass, deny, not "pas"; did you mean "pass"?
	// gateway.yaml:10:20: upstreams.chat.servers[0]: want a URL such as ws://127.0.0.1:9000, not "ftp://127.0.0.1"
}
