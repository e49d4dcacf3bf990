package config

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Config is everything that can be configured. A field's tag gives its key in the file; flag and variable follow from it. Tags windows and
// windowsOneof replace default and oneof for an agent on Windows; a field with tag os is of no use to an agent on another system, and must keep
// its default there.
type Config struct {
	Node      string `felid:"node" help:"name of this node (default: the host's name, in lower case)"`
	Datastore string `felid:"datastore" help:"where resources are: kube, kube:KUBECONFIG, etcd:URL[,URL...] or local:DIR"`

	Kubeconfig string `felid:"kubeconfig" help:"file with the address of the API server and credentials for it, for datastore kube (default: as kubectl finds it, or what a pod is given)"`
	Context    string `felid:"context" help:"context of the kubeconfig, for datastore kube (default: its current one)"`
	EtcdCert   string `felid:"etcdCert" help:"file with the certificate, in PEM, by which etcd knows this client"`
	EtcdKey    string `felid:"etcdKey" help:"file with the key of etcdCert"`
	EtcdCA     string `felid:"etcdCa" help:"file with the certificates of those who may sign etcd's (default: whom the system trusts)"`

	Socket   string `felid:"socket" windows:"\\\\.\\pipe\\felid" default:"/run/felid/cni.sock" help:"unix socket, or on Windows the named pipe, that the CNI plugin calls"`
	StateDir string `felid:"stateDir" windows:"C:\\ProgramData\\felid" default:"/var/lib/felid" help:"folder for what must survive a restart"`
	// CNIBinDir and CNIConfDir are written by the agent when it is ready; empty: somebody else installs the plugin.
	CNIBinDir    string `felid:"cniBinDir" help:"the host's folder of CNI plugins, into which the agent writes its own; empty: it does not"`
	CNIConfDir   string `felid:"cniConfDir" help:"the host's folder of CNI configuration, into which the agent writes its own when it enforces; empty: it does not"`
	StartupTaint string `felid:"startupTaint" default:"felid.dev/agent-not-ready" help:"key of the taint that the agent takes off its node when it enforces; empty: none"`

	Listen string `felid:"listen" default:"127.0.0.1:9199" help:"address for /healthz, /readyz, /status and /metrics; empty: none"`

	Network            string `felid:"network" windows:"guest" windowsOneof:"guest" default:"owner" oneof:"owner,guest" help:"owner: felid is the network, and accepts what policy allows; guest: beside another CNI, it marks and returns"`
	InterfacePrefix    string `felid:"interfacePrefix" os:"linux" default:"fld" help:"how the names of pods' interfaces on the host begin (at most 4 characters where felid makes them)"`
	HostToWorkload     string `felid:"hostToWorkload" default:"All" oneof:"All,Policy,ProbePorts" help:"what a node may send to its own pods: All, what Policy allows, or besides that to the ProbePorts that their probes name"`
	WorkloadToHost     string `felid:"workloadToHost" default:"Pass" oneof:"Allow,Deny,Pass" help:"what becomes of packets from a pod to its node that policy allows; Pass leaves them to the host's own rules"`
	PolicyChangeAction string `felid:"policyChangeAction" os:"linux" default:"Continue" oneof:"Continue,CutDenied" help:"what becomes of connections that stand when policy changes: they Continue, or those that it denies by now are cut"`
	// FailsafeInbound and FailsafeOutbound stay open on host endpoints; see HostPorts.
	FailsafeInbound  string `felid:"failsafeInbound" os:"linux" default:"tcp:22,tcp:179,tcp:2379,tcp:2380,tcp:5473,tcp:6443,tcp:6666,tcp:6667,udp:68" help:"ports of this host that no policy on a host endpoint closes: PROTOCOL:PORT or PROTOCOL:PORT@NET, comma-separated, or none"`
	FailsafeOutbound string `felid:"failsafeOutbound" os:"linux" default:"tcp:179,tcp:2379,tcp:2380,tcp:5473,tcp:6443,tcp:6666,tcp:6667,udp:53,udp:67" help:"ports elsewhere that no policy on a host endpoint closes to this host: as failsafeInbound"`
	NodeAddress      string `felid:"nodeAddress" help:"addresses of this node, comma-separated, that other nodes reach it by (default: what the Node object says)"`
	IPv6             bool   `felid:"ipv6" default:"true" help:"route and police IPv6; otherwise pods' IPv6 is dropped"`
	MTU              int    `felid:"mtu" os:"linux" default:"0" help:"MTU of pods' interfaces; 0: 1500"`

	IptablesBackend  string        `felid:"iptablesBackend" os:"linux" default:"auto" oneof:"auto,nft,legacy" help:"variant of iptables; auto follows what the host's other rules use, else nft"`
	IptablesLockFile string        `felid:"iptablesLockFile" os:"linux" help:"lock file of iptables-legacy (default: the program's own)"`
	MarkMask         string        `felid:"markMask" os:"linux" default:"0xffff0000" help:"packet mark bits that felid may use"`
	LogGroup         int           `felid:"logGroup" os:"linux" default:"1" help:"NFLOG group of Log rules and verdicts"`
	LogRateLimit     string        `felid:"logRateLimit" os:"linux" help:"how often each Log rule logs: 10/second, /minute or /hour; empty: each packet"`
	LogRateBurst     int           `felid:"logRateBurst" os:"linux" default:"5" help:"how many packets a Log rule logs at once before logRateLimit counts"`
	LogVerdicts      bool          `felid:"logVerdicts" os:"linux" default:"false" help:"log through NFLOG what every rule, tier and profile decides about each new connection; see felid explain"`
	DenyEvents       bool          `felid:"denyEvents" os:"linux" default:"false" help:"tell of connections that policy denies by events of the pods, some a minute; costs one more match for each rule that denies, in front of it"`
	DenyEventGroup   int           `felid:"denyEventGroup" os:"linux" default:"2" help:"NFLOG group that the agent listens to for denyEvents; nobody else may"`
	Probe            bool          `felid:"probe" os:"windows" default:"true" help:"try at a start, on a network of the probe's own, what felid takes for granted about HNS, unless this build has passed; sets and IPv6 are used only where they were proven"`
	DriftInterval    time.Duration `felid:"driftInterval" default:"5s" help:"how often cheap signs of foreign changes are looked at"`
	ReadInterval     time.Duration `felid:"readInterval" default:"4m" help:"how often the kernel is read back whole"`

	LeaseNamespace    string        `felid:"leaseNamespace" default:"felid-system" help:"namespace of the Lease by which controllers elect"`
	AutoHostEndpoints string        `felid:"autoHostEndpoints" default:"Config" oneof:"Config,Enabled,Disabled" help:"whether the controller makes a host endpoint of each node; Config: as KubeControllersConfiguration default says"`
	LeakGracePeriod   time.Duration `felid:"leakGracePeriod" default:"0s" help:"how long an address must have had nobody until the controller frees it; 0s: as KubeControllersConfiguration default says, or 15m; negative: never"`

	LogLevel  string `felid:"logLevel" default:"info" oneof:"debug,info,warn,error" help:"lowest level that is logged"`
	LogFormat string `felid:"logFormat" default:"text" oneof:"text,json" help:"form of log lines"`
	// LogFile and LogFileSize are for where nobody reads standard error: a Windows service has none.
	LogFile     string `felid:"logFile" help:"file that log lines go to; empty: standard error, or, as a Windows service, felid.log in stateDir"`
	LogFileSize int    `felid:"logFileSize" default:"20" help:"how large logFile may get, in MiB; it is then renamed to end in .1, and what had that name goes"`
}

// Validate says what is wrong with the values, all of it.
func (c *Config) Validate() error {
	var errs []error
	bad := func(key, problem, valid string) {
		errs = append(errs, fmt.Errorf("%s: %s; valid: %s", key, problem, valid))
	}
	if !nodeName.MatchString(c.Node) {
		bad("node", fmt.Sprintf("%q is not a node's name", c.Node), "lower-case letters, digits, '-' and '.', at most 253")
	}
	if n := len(c.InterfacePrefix); n == 0 || n > 8 {
		bad("interfacePrefix", fmt.Sprintf("%q has %d characters", c.InterfacePrefix, n), "1 to 8 characters")
	}
	if c.MTU != 0 && (c.MTU < 1280 || c.MTU > 65535) {
		bad("mtu", strconv.Itoa(c.MTU)+" is out of range", "0, or 1280 to 65535")
	}
	if _, err := c.Mark(); err != nil {
		bad("markMask", err.Error(), "a number such as 0xffff0000 with at least 5 bits set")
	}
	if c.LogGroup < 1 || c.LogGroup > 65535 {
		bad("logGroup", strconv.Itoa(c.LogGroup)+" is out of range", "1 to 65535")
	}
	if c.DenyEventGroup < 1 || c.DenyEventGroup > 65535 || c.DenyEventGroup == c.LogGroup {
		bad("denyEventGroup", strconv.Itoa(c.DenyEventGroup)+" is out of range, or logGroup", "1 to 65535, and not logGroup")
	}
	if !logRate.MatchString(c.LogRateLimit) {
		bad("logRateLimit", fmt.Sprintf("%q is not a rate", c.LogRateLimit), "1 to 10000, then /second, /minute or /hour; or empty")
	}
	if c.LogRateBurst < 1 || c.LogRateBurst > 10000 {
		bad("logRateBurst", strconv.Itoa(c.LogRateBurst)+" is out of range", "1 to 10000")
	}
	for key, text := range map[string]string{"failsafeInbound": c.FailsafeInbound, "failsafeOutbound": c.FailsafeOutbound} {
		if _, err := HostPorts(text); err != nil {
			bad(key, err.Error(), "PROTOCOL:PORT or PROTOCOL:PORT@NET, comma-separated, such as tcp:22@10.0.0.0/8, or none")
		}
	}
	if c.Listen != "" {
		if _, _, err := net.SplitHostPort(c.Listen); err != nil {
			bad("listen", err.Error(), "HOST:PORT")
		}
	}
	if c.LogFileSize < 1 || c.LogFileSize > 10<<10 {
		bad("logFileSize", strconv.Itoa(c.LogFileSize)+" is out of range", "1 to 10240")
	}
	if c.DriftInterval < time.Second || c.ReadInterval < time.Second {
		bad("driftInterval, readInterval", "shorter than a second", "1s or more")
	}
	return errors.Join(errs...)
}

var nodeName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`)

var logRate = regexp.MustCompile(`^(([1-9][0-9]{0,3}|10000)/(second|minute|hour))?$`)

// Mark is MarkMask as a number.
func (c *Config) Mark() (uint32, error) {
	v, err := strconv.ParseUint(c.MarkMask, 0, 32)
	if err != nil {
		return 0, fmt.Errorf("%q is not a 32-bit number", c.MarkMask)
	}
	bits := 0
	for m := v; m != 0; m &= m - 1 {
		bits++
	}
	if bits < 5 {
		return 0, fmt.Errorf("%q has %d bits set", c.MarkMask, bits)
	}
	return uint32(v), nil
}

// OnKubernetes tells whether the datastore is the API server of a cluster.
func (c *Config) OnKubernetes() bool {
	return c.Datastore == "kube" || strings.HasPrefix(c.Datastore, "kube:")
}

// Logger is what the configuration says, writing to standard error.
func (c *Config) Logger() *slog.Logger { return c.loggerTo(os.Stderr) }

// OpenLogger is what the configuration says, writing to LogFile, if there is one. Close it last.
func (c *Config) OpenLogger() (*slog.Logger, io.Closer, error) {
	if c.LogFile == "" {
		return c.Logger(), io.NopCloser(nil), nil
	}
	f, err := openLogFile(c.LogFile, int64(c.LogFileSize)<<20)
	if err != nil {
		return nil, nil, fmt.Errorf("logFile: %w", err)
	}
	return c.loggerTo(f), f, nil
}

// ProtectStateDir sees to it that nobody but administrators can write to StateDir, where the system leaves that open.
func (c *Config) ProtectStateDir() error {
	if err := protectStateDir(c.StateDir); err != nil {
		return fmt.Errorf("stateDir: %w", err)
	}
	return nil
}

func (c *Config) loggerTo(w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.LogLevel)); err != nil {
		level = slog.LevelInfo
	}
	opts := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// defaultNode is the host's name, as Kubernetes names nodes.
func defaultNode() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return strings.ToLower(name)
}
