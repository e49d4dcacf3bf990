package config

import (
	"errors"
	"fmt"
	"net"
	"time"
)

// leastGrace is the shortest grace period: a node that writes an address down and a pod's status that says so are seconds apart.
const leastGrace = time.Minute

// ValidateController says what is wrong with the values that a controller has, all of it.
func (c *Config) ValidateController() error {
	var errs []error
	if c.Listen != "" {
		if _, _, err := net.SplitHostPort(c.Listen); err != nil {
			errs = append(errs, fmt.Errorf("listen: %w; valid: HOST:PORT", err))
		}
	}
	if c.LeakGracePeriod > 0 && c.LeakGracePeriod < leastGrace {
		errs = append(errs, fmt.Errorf("leakGracePeriod: %s is too short; valid: 0s, negative, or %s and more", c.LeakGracePeriod, leastGrace))
	}
	if !nodeName.MatchString(c.LeaseNamespace) {
		errs = append(errs, fmt.Errorf("leaseNamespace: %q is not a namespace; valid: lower-case letters, digits and '-'", c.LeaseNamespace))
	}
	return errors.Join(errs...)
}
