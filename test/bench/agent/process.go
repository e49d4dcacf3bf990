//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/felid-net/felid/internal/lab"
)

// process is a running agent.
type process struct {
	cmd    *exec.Cmd
	start  time.Time
	client http.Client
}

// usage is what an agent has used so far.
type usage struct {
	cpu       time.Duration // its own and that of programs it ran
	kids      time.Duration // of the programs alone
	kidFaults int           // their memory faults: 0 if there was no program
	peak      int           // VmHWM, kB
	rss       int           // kB
}

// start runs the world's agent in the node's namespace.
func (w *world) start() (*process, error) {
	// Inside, a poll needs one connection: many would burden the agent that is measured.
	transport := &http.Transport{DialContext: dialNode}
	p := &process{cmd: w.command(), start: time.Now(), client: http.Client{Timeout: 5 * time.Second, Transport: transport}}
	return p, lab.Within(nodeSpace, p.cmd.Start)
}

// stop ends the agent as a person would, and waits.
func (p *process) stop() error {
	p.client.CloseIdleConnections()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return p.cmd.Wait()
}

// readyUsage waits until the agent says that everything is in force: how long that took since exec, and what it used.
func (p *process) readyUsage() (startOf, error) {
	deadline := p.start.Add(2 * time.Minute)
	last := errors.New("not asked")
	for time.Now().Before(deadline) {
		_, err := p.get("/readyz")
		if err == nil {
			wall := time.Since(p.start)
			u, err := p.usage()
			return startOf{wall, u}, err
		}
		last = err
		time.Sleep(3 * time.Millisecond)
	}
	return startOf{}, fmt.Errorf("not ready: %w", last)
}

// dialNode connects inside the node's namespace.
func dialNode(ctx context.Context, network, addr string) (c net.Conn, err error) {
	err = lab.Within(nodeSpace, func() (err error) {
		var d net.Dialer
		c, err = d.DialContext(ctx, network, addr)
		return err
	})
	return c, err
}

// settle waits until the agent has tidied up after its start: until it works for less than 2 % of a second.
func (p *process) settle() error {
	for deadline := time.Now().Add(time.Minute); ; {
		before, err := p.usage()
		if err != nil {
			return err
		}
		time.Sleep(time.Second)
		after, err := p.usage()
		if err != nil || after.cpu-before.cpu < 20*time.Millisecond {
			return err
		}
		if time.Now().After(deadline) {
			return errors.New("the agent is not at rest a minute after its start")
		}
	}
}

// get asks the agent; an answer other than 200 is an error.
func (p *process) get(path string) (string, error) {
	resp, err := p.client.Get("http://" + listen + path)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", resp.Status, strings.TrimSpace(string(body)))
	}
	return string(body), err
}

// metrics reads /metrics: those that are one number without labels.
func (p *process) metrics() (map[string]float64, error) {
	body, err := p.get("/metrics")
	if err != nil {
		return nil, err
	}
	values := map[string]float64{}
	for line := range strings.Lines(body) {
		name, text, _ := strings.Cut(strings.TrimSpace(line), " ")
		if v, err := strconv.ParseFloat(text, 64); err == nil {
			values[name] = v
		}
	}
	return values, nil
}

// usage reads /proc (proc(5): times in ticks of 10 ms).
func (p *process) usage() (u usage, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return usage{}, err
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+2:]))
	number := func(i int) int { // by the numbers of proc(5), where state is 3
		n, _ := strconv.Atoi(fields[i-3])
		return n
	}
	const tick = 10 * time.Millisecond
	u.kids = time.Duration(number(16)+number(17)) * tick
	u.cpu = time.Duration(number(14)+number(15))*tick + u.kids
	u.kidFaults = number(11) + number(13)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	for line := range strings.Lines(string(status)) {
		_, _ = fmt.Sscanf(line, "VmHWM: %d kB", &u.peak)
		_, _ = fmt.Sscanf(line, "VmRSS: %d kB", &u.rss)
	}
	return u, err
}
