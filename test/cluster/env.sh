# Sourced by every lab script. Every setting can be overridden from the environment.
LAB_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

LAB_CACHE=${LAB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/felid/cluster} # what build makes: bin/, cni/, images/; kept between runs
LAB_RUN=${LAB_RUN:-/tmp/k8s-lab-run}         # what lab/up makes: pids, pki, logs, node disks
LAB_NAME=${LAB_NAME:-lab}                    # prefix of namespaces, links and nodes (4 characters at most)

LAB_K8S=${LAB_K8S:-v1.36.3}                  # must match mod/k8s/go.mod

LAB_NET=${LAB_NET:-172.30.0}                 # /24 that the nodes live in
LAB_POD_CIDR=${LAB_POD_CIDR:-10.244.0.0/16}
LAB_SVC_CIDR=${LAB_SVC_CIDR:-10.96.0.0/16}
LAB_SVC_API=${LAB_SVC_API:-10.96.0.1}
LAB_SVC_DNS=${LAB_SVC_DNS:-10.96.0.10}
LAB_PROXY_MODE=${LAB_PROXY_MODE:-iptables}   # kube-proxy: iptables or nftables

LAB_CP_NODE=${LAB_CP_NODE:-}                 # 1: the control plane is a (tainted) node too, so the API server reaches pods

LAB_CNI=${LAB_CNI:-$LAB_DIR/hooks/reference} # hook that installs the CNI under test (see README.md)
LAB_MANIFESTS=${LAB_MANIFESTS:-}             # directory or file applied with kubectl before nodes are awaited
LAB_IMAGES=${LAB_IMAGES:-}                   # extra image archives (space separated) loaded in every node

BIN=$LAB_CACHE/bin
IMAGES=$LAB_CACHE/images
PKI=$LAB_RUN/pki
CP_IP=$LAB_NET.1          # control plane: etcd, apiserver, controller-manager, scheduler
ROOT_IP=$LAB_NET.253      # this machine's own leg on the node network
WAN_IP=$LAB_NET.254       # the nodes' default gateway, a host outside the cluster
API=https://$CP_IP:6443
export KUBECONFIG=$LAB_RUN/admin.kubeconfig
export PATH=$BIN:$PATH:/usr/sbin:/sbin

PAUSE_IMAGE=registry.k8s.io/pause:3.10.2
AGNHOST_IMAGE=registry.k8s.io/e2e-test-images/agnhost:2.63.0,registry.k8s.io/e2e-test-images/agnhost:2.43 # Kubernetes e2e, cyclonus
BUSYBOX_IMAGE=registry.k8s.io/e2e-test-images/busybox:1.37.0-1
COREDNS_IMAGE=registry.k8s.io/coredns/coredns:lab

node_ip() { if [ "$1" = 0 ]; then echo "$CP_IP"; else echo "$LAB_NET.$((10 + $1))"; fi; }
node_name() { if [ "$1" = 0 ]; then echo "$LAB_NAME-cp"; else echo "$LAB_NAME-n$1"; fi; }
nodes() { ls "$LAB_RUN/nodes" 2>/dev/null | sort -V; }
say() { printf '[%4ds] %s\n' "$SECONDS" "$*" >&2; }
die() { echo "$0: $*" >&2; exit 1; }
alive() { [ -s "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null; }

# start NAME COMMAND...: a control-plane program in its network namespace, with a pid file and a log
start() {
	local name=$1; shift
	alive "$LAB_RUN/$name.pid" && return 0
	setsid nsenter --net="/run/netns/$LAB_NAME-cp" "$@" >"$LAB_RUN/log/$name.log" 2>&1 </dev/null &
	echo $! >"$LAB_RUN/$name.pid"
}
# stop PIDFILE: end the process that wrote it
stop() {
	[ -s "$1" ] || return 0
	local pid i; pid=$(cat "$1")
	kill "$pid" 2>/dev/null
	for i in $(seq 20); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
	kill -9 "$pid" 2>/dev/null
	rm -f "$1"
}
