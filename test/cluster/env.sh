# shellcheck shell=bash disable=SC2034
# Sourced by every script of this folder. Every setting LAB_* can be given in the environment.
LAB_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

LAB_CACHE=${LAB_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/felid/cluster} # what build makes: bin/, cni/, images/; kept between runs
LAB_RUN=${LAB_RUN:-/tmp/felid-cluster}       # what up makes: pids, keys, logs, disks of nodes
# shellcheck source=/dev/null
[ ! -s "$LAB_RUN/settings" ] || . "$LAB_RUN/settings" # the cluster that is up decides
LAB_NAME=${LAB_NAME:-lab}                    # what names of namespaces, links and nodes begin with (4 characters at most)

LAB_FAMILY=${LAB_FAMILY:-dual}               # dual (IPv4 is the first), ipv4 or ipv6
LAB_NET=${LAB_NET:-172.30.0}                 # /24 that the nodes live in
LAB_NET6=${LAB_NET6:-fd00:172:30::}          # /64 that they live in too
LAB_POD_CIDR=${LAB_POD_CIDR:-10.244.0.0/16}
LAB_POD_CIDR6=${LAB_POD_CIDR6:-fd00:10:244::/56}
LAB_SVC_CIDR=${LAB_SVC_CIDR:-10.96.0.0/16}   # its first address is the API's, its tenth the DNS server's
LAB_SVC_CIDR6=${LAB_SVC_CIDR6:-fd00:10:96::/112}
LAB_PROXY_MODE=${LAB_PROXY_MODE:-iptables}   # kube-proxy: iptables or nftables
LAB_NO_PROXY=${LAB_NO_PROXY:-}               # 1: no kube-proxy

LAB_NODES=${LAB_NODES:-2}
LAB_CP_NODE=${LAB_CP_NODE:-}                 # 1: the control plane is a (tainted) node too, so the API server reaches pods
LAB_APISERVER_FLAGS=${LAB_APISERVER_FLAGS:-}

LAB_CNI=${LAB_CNI:-$LAB_DIR/hooks/reference} # hook that installs the CNI under test (see README.md)
# 1: the controller manager gives each node a part of the pods' CIDR; empty for a CNI that hands out addresses itself
LAB_NODE_CIDRS=${LAB_NODE_CIDRS-$([ "${LAB_CNI##*/}" = felid ] || echo 1)}
LAB_MANIFESTS=${LAB_MANIFESTS:-}             # directory or file applied with kubectl before nodes are awaited
LAB_IMAGES=${LAB_IMAGES:-}                   # extra image archives (space separated) loaded in every node
LAB_BIND=${LAB_BIND:-}                       # extra directories (space separated) that are the machine's own in every node
LAB_PATIENCE=${LAB_PATIENCE:-600}            # seconds to wait for each thing that must come: a busy machine is no failure

BIN=$LAB_CACHE/bin
IMAGES=$LAB_CACHE/images
PKI=$LAB_RUN/pki
export KUBECONFIG=$LAB_RUN/admin.kubeconfig
export PATH=$BIN:$PATH:/usr/sbin:/sbin
export LAB_FAMILY LAB_NODE_CIDRS

PAUSE_IMAGE=registry.k8s.io/pause:3.10.2
AGNHOST_IMAGE=registry.k8s.io/e2e-test-images/agnhost:2.63.0,registry.k8s.io/e2e-test-images/agnhost:2.43 # Kubernetes e2e, cyclonus
BUSYBOX_IMAGE=registry.k8s.io/e2e-test-images/busybox:1.37.0-1
COREDNS_IMAGE=registry.k8s.io/coredns/coredns:lab

say() { printf '[%4ds] %s\n' "$SECONDS" "$*" >&2; }
die() { echo "$0: $*" >&2; exit 1; }

case $LAB_FAMILY in
dual) FAMILIES="4 6" ;;
ipv4) FAMILIES=4 ;;
ipv6) FAMILIES=6 ;;
*) die "LAB_FAMILY is $LAB_FAMILY; valid: dual, ipv4, ipv6" ;;
esac

# Machines of the cluster have a number, which is the last part of their addresses: 1 control plane, 11 12 ... nodes,
# 253 this machine's own leg, 254 the nodes' default gateway, a host outside the cluster.
# address FAMILY NUMBER
address() { if [ "$1" = 4 ]; then echo "$LAB_NET.$2"; else echo "$LAB_NET6$2"; fi; }
# each FOUR SIX: that of each family which the cluster has, the first family first, separated by commas
each() { case $LAB_FAMILY in dual) echo "$1,$2" ;; ipv4) echo "$1" ;; ipv6) echo "$2" ;; esac; }
# addresses NUMBER: all of a machine, separated by commas
addresses() { each "$(address 4 "$1")" "$(address 6 "$1")"; }
# of FAMILY LIST: the element of a list separated by commas that is of this family
of() { local a; for a in ${2//,/ }; do case $1$a in 6*:* | 4*.*) echo "$a" ;; esac; done; }
# quoted LIST: as a YAML or JSON list has it, without the brackets
quoted() { sed 's/,/", "/g; s/.*/"&"/' <<<"$1"; }
# host ADDRESS: as it is written in a URL
host() { case $1 in *:*) echo "[$1]" ;; *) echo "$1" ;; esac; }

node_number() { if [ "$1" = 0 ]; then echo 1; else echo $((10 + $1)); fi; }
node_name() { if [ "$1" = 0 ]; then echo "$LAB_NAME-cp"; else echo "$LAB_NAME-n$1"; fi; }
nodes() { find "$LAB_RUN/nodes" -mindepth 1 -maxdepth 1 -printf '%f\n' 2>/dev/null | sort -V; }
alive() { [ -s "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null; }

POD_CIDRS=$(each "$LAB_POD_CIDR" "$LAB_POD_CIDR6")
SVC_CIDRS=$(each "$LAB_SVC_CIDR" "$LAB_SVC_CIDR6")
SVC_API=$(each "${LAB_SVC_CIDR%0/*}1" "${LAB_SVC_CIDR6%/*}1")
SVC_DNS=$(each "${LAB_SVC_CIDR%0/*}10" "${LAB_SVC_CIDR6%/*}a")
CP_IPS=$(addresses 1) CP_IP=${CP_IPS%%,*}
WAN_IPS=$(addresses 254)
API=https://$(host "$CP_IP"):6443

# until_ok WHAT COMMAND...: wait for the command to succeed, LAB_PATIENCE seconds at most
until_ok() {
	local what=$1 end=$((SECONDS + LAB_PATIENCE)); shift
	until "$@" >/dev/null 2>&1; do
		[ "$SECONDS" -lt "$end" ] || { echo "$0: $what: not after $LAB_PATIENCE s" >&2; return 1; }
		sleep 0.2
	done
}

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
	local pid; pid=$(cat "$1")
	kill "$pid" 2>/dev/null
	for _ in $(seq 20); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
	kill -9 "$pid" 2>/dev/null
	rm -f "$1"
}
