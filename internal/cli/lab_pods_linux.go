package cli

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	v3 "github.com/felid-net/felid/api/v3"
	"github.com/felid-net/felid/datastore/local"
	"github.com/felid-net/felid/internal/lab"
)

// openLabStore opens the store that the lab's nodes share.
func openLabStore(l *lab.Lab, app *App) (*local.Store, error) {
	dir, _ := strings.CutPrefix(l.Store(), "local:")
	return local.Open(dir, local.Options{Log: slog.New(slog.NewTextHandler(app.Err, &slog.HandlerOptions{Level: slog.LevelWarn}))})
}

// addPods applies files to the lab's store, and gives every Pod in them a sandbox that the plugin connects.
func addPods(ctx context.Context, app *App, l *lab.Lab, files []string) ([]*corev1.Pod, error) {
	if len(files) == 0 {
		return nil, nil
	}
	store, err := openLabStore(l, app)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	found, err := applyFiles(ctx, app, store, files)
	if err != nil {
		return nil, err
	}
	next := 0
	pods := podsOf(found)
	for _, pod := range pods {
		node := pod.Spec.NodeName
		if node == "" {
			node = l.Nodes[next%len(l.Nodes)].Name
			next++
		}
		if _, err := l.AddPod(ctx, node, pod.Namespace, pod.Name, tcpPorts(pod)); err != nil {
			return nil, err
		}
	}
	return pods, nil
}

// podsOf are the Pod objects among what was read.
func podsOf(found *local.Objects) []*corev1.Pod {
	var pods []*corev1.Pod
	for _, raw := range found.Raw {
		pod := &corev1.Pod{}
		if err := yaml.Unmarshal(raw.JSON, pod); err == nil && pod.Kind == "Pod" {
			pods = append(pods, pod)
		}
	}
	return pods
}

// applyFiles applies files to a store, quietly.
func applyFiles(ctx context.Context, app *App, store *local.Store, files []string) (*local.Objects, error) {
	in := &input{app: app, files: files}
	found, faults, err := in.read()
	if err != nil {
		return nil, err
	}
	if v3.Failed(faults) {
		return nil, errors.Join(asErrors(faults)...)
	}
	quiet := *app
	quiet.Out = io.Discard
	v := verb{name: "apply", done: "applied", mode: local.PutApply}
	return found, v.all(ctx, &quiet, store, found)
}

func tcpPorts(pod *corev1.Pod) []uint16 {
	var ports []uint16
	for _, c := range pod.Spec.Containers {
		for _, p := range c.Ports {
			if p.Protocol == "" || p.Protocol == corev1.ProtocolTCP {
				ports = append(ports, uint16(p.ContainerPort))
			}
		}
	}
	return ports
}

// labelPod changes labels of a Pod and stores it again; an empty value removes one.
func labelPod(ctx context.Context, store *local.Store, pod *corev1.Pod, labels map[string]string) error {
	for key, value := range labels {
		if value == "" {
			delete(pod.Labels, key)
		} else {
			pod.Labels[key] = value
		}
	}
	data, err := json.Marshal(pod)
	if err != nil {
		return err
	}
	_, err = store.PutRaw(ctx, local.Raw{Origin: "Pod " + pod.Namespace + "/" + pod.Name, JSON: data}, local.PutReplace)
	return err
}
