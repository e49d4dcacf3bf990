package cni

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/utils"
)

// Config is the plugin's configuration: what an entry of a conflist says, and what a runtime adds to it.
type Config struct {
	CNIVersion string
	Name       string // of the network
	Type       string
	// Socket of the agent; DefaultSocket unless given.
	Socket string
	// MTU of the pod's interface; 0: the agent's.
	MTU int
	// Gate (mode "gate"): another plugin, earlier in the list, connects the container; felid only holds ADD up until policy is in force.
	Gate bool
	// Labels (args.cni.labels) are those of an endpoint that has no Pod object.
	Labels map[string]string
	// PrevResult is what ADD answered, as the runtime gives it back to CHECK and DEL.
	PrevResult json.RawMessage
	// ValidAttachments is given to GC; nil when it is not there.
	ValidAttachments []types.GCAttachment
}

// ParseConfig reads a configuration. Error 6: not JSON; 7: wrong, all faults named; 2: asks for what felid cannot do.
func ParseConfig(data []byte) (*Config, *Error) {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, types.NewError(types.ErrDecodingFailure, "network configuration is not a JSON object: "+err.Error(), "")
	}
	c := &Config{Socket: DefaultSocket}
	var faults []error
	for _, key := range slices.Sorted(maps.Keys(raw)) {
		if err := c.set(key, raw[key]); err != nil {
			var unsupported *Error
			if errors.As(err, &unsupported) {
				return nil, unsupported
			}
			faults = append(faults, err)
		}
	}
	if err := utils.ValidateNetworkName(c.Name); err != nil && raw["name"] != nil || c.Name == "" {
		faults = append(faults, fmt.Errorf("name: %q is not a network's name; valid: letters, digits, '_', '.', '-', the first a letter or digit", c.Name))
	}
	if len(faults) > 0 {
		return nil, types.NewError(types.ErrInvalidNetworkConfig, "network configuration: "+joinFaults(faults), "")
	}
	return c, nil
}

func joinFaults(faults []error) string {
	texts := make([]string, len(faults))
	for i, err := range faults {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

// own are the keys that felid defines.
var own = []string{"mode", "mtu", "socket"}

// set takes one key of the configuration.
func (c *Config) set(key string, value json.RawMessage) error {
	switch key {
	case "cniVersion":
		return decode(key, value, &c.CNIVersion, "a string")
	case "name":
		return decode(key, value, &c.Name, "a string")
	case "type":
		return decode(key, value, &c.Type, "a string")
	case "socket":
		return c.setSocket(value)
	case "mtu":
		return c.setMTU(value)
	case "mode":
		return c.setMode(value)
	case "ipam":
		return checkIPAM(value)
	case "args":
		return c.setArgs(value)
	case "runtimeConfig":
		return checkRuntimeConfig(value)
	case "prevResult":
		c.PrevResult = value
		return nil
	case "cni.dev/valid-attachments":
		return c.setAttachments(key, value)
	case "capabilities", "cniVersions", "disableCheck", "disableGC", "loadOnlyInlinedPlugins", "dns", "felid.dev/source":
		return nil // for the runtime, for whoever reads the result, or for the agent that wrote the list (package cni/install)
	}
	if strings.HasPrefix(key, "cni.dev/") {
		return nil
	}
	return fmt.Errorf("unknown key %q; felid's own are %s", key, strings.Join(own, ", "))
}

func decode(key string, value json.RawMessage, into any, valid string) error {
	if err := json.Unmarshal(value, into); err != nil {
		return fmt.Errorf("%s: %s is not %s", key, shorten(value), valid)
	}
	return nil
}

func (c *Config) setSocket(value json.RawMessage) error {
	if err := decode("socket", value, &c.Socket, "a path"); err != nil {
		return err
	}
	return checkSocket(c.Socket, pipes)
}

func (c *Config) setAttachments(key string, value json.RawMessage) error {
	err := decode(key, value, &c.ValidAttachments, "a list of {containerID, ifname}")
	if c.ValidAttachments == nil {
		// A runtime without pods may send null: the key is there, the list is empty.
		c.ValidAttachments = []types.GCAttachment{}
	}
	return err
}

func (c *Config) setMTU(value json.RawMessage) error {
	const valid = "0 (the agent's), or 1280 to 65535"
	if err := decode("mtu", value, &c.MTU, valid); err != nil {
		return err
	}
	// 1280 is the least that IPv6 allows (RFC 8200, section 5).
	if c.MTU != 0 && (c.MTU < 1280 || c.MTU > 65535) {
		return fmt.Errorf("mtu: %d is not %s", c.MTU, valid)
	}
	return nil
}

func (c *Config) setMode(value json.RawMessage) error {
	var mode string
	if err := decode("mode", value, &mode, "a string"); err != nil {
		return err
	}
	if c.Gate = mode == "gate"; !c.Gate && mode != "network" {
		return fmt.Errorf("mode: %q is not valid; valid: network (the default), gate", mode)
	}
	return nil
}

func checkIPAM(value json.RawMessage) error {
	var ipam map[string]json.RawMessage
	if err := decode("ipam", value, &ipam, "an object"); err != nil {
		return err
	}
	for key, v := range ipam {
		if key != "type" {
			return fmt.Errorf("ipam: unknown key %q; valid: type", key)
		}
		var name string
		if err := decode("ipam.type", v, &name, "a string"); err != nil {
			return err
		}
		if name != "" && name != "felid-ipam" {
			return fmt.Errorf("ipam.type: %q is not felid-ipam; felid assigns addresses itself", name)
		}
	}
	return nil
}

// setArgs takes args.cni, as the conventions of CNI define it. What else is in args is for others.
func (c *Config) setArgs(value json.RawMessage) error {
	var args struct {
		CNI struct {
			Labels []struct{ Key, Value string }
			IPs    json.RawMessage
		} `json:"cni"`
	}
	if err := decode("args", value, &args, "an object with cni.labels as a list of {key, value}"); err != nil {
		return err
	}
	if len(args.CNI.IPs) > 0 {
		return unsupported("args.cni.ips", args.CNI.IPs)
	}
	c.Labels = make(map[string]string, len(args.CNI.Labels))
	for i, l := range args.CNI.Labels {
		field := fmt.Sprintf("args.cni.labels[%d].key", i)
		if _, twice := c.Labels[l.Key]; twice {
			return fmt.Errorf("%s: %q is given twice", field, l.Key)
		}
		if err := checkLabelKey(l.Key); err != nil {
			return fmt.Errorf("%s: %w", field, err)
		}
		c.Labels[l.Key] = l.Value
	}
	return nil
}

// checkLabelKey refuses labels by which a container could pose as a pod of some namespace or service account.
func checkLabelKey(key string) error {
	if key == "" {
		return errors.New("is empty")
	}
	for _, reserved := range []string{"projectcalico.org/", "pcns.", "pcsa."} {
		if strings.HasPrefix(key, reserved) {
			return fmt.Errorf("%q: labels that begin %q are felid's to give", key, reserved)
		}
	}
	return nil
}

// checkRuntimeConfig refuses what a runtime passes on because "capabilities" asked for it, and felid would not do.
func checkRuntimeConfig(value json.RawMessage) error {
	var wishes map[string]json.RawMessage
	if err := decode("runtimeConfig", value, &wishes, "an object"); err != nil {
		return err
	}
	for _, key := range []string{"ips", "mac", "portMappings", "bandwidth", "ipRanges", "infinibandGUID", "deviceID"} {
		if wish, ok := wishes[key]; ok {
			return unsupported("runtimeConfig."+key, wish)
		}
	}
	return nil
}

func unsupported(field string, value json.RawMessage) *Error {
	return types.NewError(types.ErrUnsupportedField, fmt.Sprintf("network configuration: %s: %s is not supported by felid", field, shorten(value)), "")
}

// shorten keeps an error readable, whatever it quotes.
func shorten(value json.RawMessage) string {
	if len(value) > 80 {
		return string(value[:80]) + "…"
	}
	return string(value)
}
