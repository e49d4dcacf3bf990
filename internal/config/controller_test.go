package config

import (
	"strings"
	"testing"
)

func TestValidateController(t *testing.T) {
	for text, change := range map[string]func(*Config){
		"":                 func(*Config) {},
		"listen: ":         func(c *Config) { c.Listen = "nowhere" },
		"leakGracePeriod:": func(c *Config) { c.LeakGracePeriod = leastGrace - 1 },
		"leaseNamespace: ": func(c *Config) { c.LeaseNamespace = "Not one" },
	} {
		c := Defaults()
		change(c)
		err := c.ValidateController()
		if (err == nil) != (text == "") || err != nil && !strings.HasPrefix(err.Error(), text) {
			t.Errorf("%q: %v", text, err)
		}
	}
	off := Defaults()
	off.Listen, off.LeakGracePeriod = "", -1
	if err := off.ValidateController(); err != nil {
		t.Errorf("nothing freed, nothing listened to: %v", err)
	}
}
