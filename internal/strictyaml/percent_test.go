package strictyaml

import "testing"

func TestParsePercent(t *testing.T) {
	for text, want := range map[string]Percent{"0%": 0, "1%": 1, "50%": 50, "100%": 100} {
		got, err := ParsePercent(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "%", "50", "101%", "-1%", "+1%", "05%", "00%", "0.5%", "50 %", "50%%", "99999999999999999999%", "٥%", "half"} {
		if got, err := ParsePercent(text); err == nil || got != 0 {
			t.Errorf("%q was parsed as %v", text, got)
		}
	}
	if got := Percent(25).Share(); got != 0.25 {
		t.Errorf("25%% is %v", got)
	}
}
