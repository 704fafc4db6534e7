package policy

import (
	"strings"
	"testing"

	"github.com/framegate/framegate/internal/strictyaml"
)

const (
	kib = strictyaml.Size(1 << 10)
	mib = strictyaml.Size(1 << 20)
)

func TestShape(t *testing.T) {
	all := map[string]Config{
		"empty":     {},
		"nothing":   {Client: &ShapeConfig{}},
		"small":     {Client: &ShapeConfig{MaxMessage: 64 * kib}},
		"large":     {Client: &ShapeConfig{MaxMessage: 16 * mib}},
		"frames":    {Client: &ShapeConfig{MaxFrame: 2 * mib}},
		"tiny":      {Client: &ShapeConfig{MaxFrame: 1 * kib, MaxFragments: 4}},
		"many":      {Client: &ShapeConfig{MaxFragments: 5000}},
		"full":      {Client: &ShapeConfig{MaxFrame: 3 * mib, MaxMessage: 4 * mib, MaxFragments: 8, Types: []string{"binary", "text"}}},
		"texts":     {Client: &ShapeConfig{Types: []string{"text"}}},
		"blobs":     {Client: &ShapeConfig{Types: []string{"binary"}}},
		"ratio":     {Client: &ShapeConfig{MaxRatio: 20}},
		"lax":       {Client: &ShapeConfig{MaxRatio: 500}},
		"enormous":  {Client: &ShapeConfig{MaxMessage: 1<<63 - 1}},
		"for peers": {Upstream: &ShapeConfig{MaxFrame: 1 * kib}},
	}
	tests := []struct {
		names string
		want  Shape
	}{
		{"", Shape{1 << 20, 1 << 20, 1024, 100, 1 << 20, true, true}},
		{"empty", Shape{1 << 20, 1 << 20, 1024, 100, 1 << 20, true, true}},
		{"nothing", Shape{1 << 20, 1 << 20, 1024, 100, 1 << 20, true, true}},
		{"small", Shape{1 << 20, 64 << 10, 1024, 100, 1 << 20, true, true}},
		{"large", Shape{16 << 20, 16 << 20, 1024, 100, 1 << 20, true, true}},
		{"frames", Shape{2 << 20, 1 << 20, 1024, 100, 1 << 20, true, true}},
		{"many", Shape{1 << 20, 1 << 20, 5000, 100, 1 << 20, true, true}},
		{"full", Shape{3 << 20, 4 << 20, 8, 100, 1 << 20, true, true}},
		{"texts", Shape{1 << 20, 1 << 20, 1024, 100, 1 << 20, true, false}},
		{"blobs", Shape{1 << 20, 1 << 20, 1024, 100, 1 << 20, false, true}},
		{"enormous", Shape{1<<63 - 1, 1<<63 - 1, 1024, 100, 1 << 20, true, true}},
		{"for peers", Shape{1 << 20, 1 << 20, 1024, 100, 1 << 20, true, true}},
		// The strictest of several, in any order, where a policy that is silent does not bring the default in.
		{"large,empty", Shape{16 << 20, 16 << 20, 1024, 100, 1 << 20, true, true}},
		{"nothing,large", Shape{16 << 20, 16 << 20, 1024, 100, 1 << 20, true, true}},
		{"large,small", Shape{1 << 20, 64 << 10, 1024, 100, 1 << 20, true, true}},
		{"large,full", Shape{3 << 20, 4 << 20, 8, 100, 1 << 20, true, true}},
		{"full,large,tiny", Shape{1 << 10, 4 << 20, 4, 100, 1 << 20, true, true}},
		{"large,frames", Shape{2 << 20, 16 << 20, 1024, 100, 1 << 20, true, true}},
		{"many,tiny", Shape{1 << 10, 1 << 20, 4, 100, 1 << 20, true, true}},
		{"ratio", Shape{1 << 20, 1 << 20, 1024, 20, 64 << 10, true, true}},
		{"ratio,lax,large", Shape{16 << 20, 16 << 20, 1024, 20, 64 << 10, true, true}},
		{"lax", Shape{1 << 20, 1 << 20, 1024, 500, 64 << 10, true, true}},
		{"full,texts", Shape{3 << 20, 4 << 20, 8, 100, 1 << 20, true, false}},
	}
	for _, tt := range tests {
		var names []string
		if tt.names != "" {
			names = strings.Split(tt.names, ",")
		}
		if got := mustCompile(t, all, names...).Shape(true); got != tt.want {
			t.Errorf("%q: got %+v, want %+v", tt.names, got, tt.want)
		}
	}
}

func TestShapeOfEachSide(t *testing.T) {
	p := mustCompile(t, map[string]Config{"p": {
		Client:   &ShapeConfig{MaxMessage: 64 * kib, Types: []string{"text"}},
		Upstream: &ShapeConfig{MaxMessage: 2 * mib, MaxFragments: 1},
	}}, "p")
	if got, want := p.Shape(true), (Shape{1 << 20, 64 << 10, 1024, 100, 1 << 20, true, false}); got != want {
		t.Errorf("client: got %+v, want %+v", got, want)
	}
	if got, want := p.Shape(false), (Shape{2 << 20, 2 << 20, 1, 100, 1 << 20, true, true}); got != want {
		t.Errorf("upstream: got %+v, want %+v", got, want)
	}
}

func TestShapeRefuses(t *testing.T) {
	tests := []struct {
		config  ShapeConfig
		path    string
		message string
	}{
		{ShapeConfig{MaxFrame: -1}, "max_frame", "max_frame is -1, want a size"},
		{ShapeConfig{MaxMessage: -1}, "max_message", "max_message is -1, want a size"},
		{ShapeConfig{MaxRatio: -1}, "max_ratio", "max_ratio is -1, want a number above zero"},
		{ShapeConfig{MaxFragments: -1}, "max_fragments", "max_fragments is -1, want a number above zero"},
		{ShapeConfig{Types: []string{}}, "types", "types is empty, want text, binary or both"},
		{ShapeConfig{Types: []string{"text", "Binary"}}, "types[1]", `unknown message type "Binary", want text or binary`},
	}
	for _, tt := range tests {
		for side, c := range map[string]Config{"client": {Client: &tt.config}, "upstream": {Upstream: &tt.config}} {
			var r reports
			Compile(map[string]Config{"p": c}, testEnv(t), r.add)
			r.expect(t, side, "p."+side+"."+tt.path, tt.message)
		}
	}
}
