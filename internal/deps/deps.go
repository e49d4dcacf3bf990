// Package deps keeps modules in go.mod whose first user is being written. It goes when the last of them has one.
package deps

import (
	_ "go.etcd.io/etcd/client/v3"
	_ "k8s.io/client-go/dynamic"
	_ "k8s.io/client-go/kubernetes"
	_ "k8s.io/client-go/metadata"
	_ "k8s.io/client-go/tools/clientcmd"
	_ "k8s.io/client-go/tools/leaderelection/resourcelock"
	_ "k8s.io/client-go/tools/watch"
	_ "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)
