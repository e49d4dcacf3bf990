package cni

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/google/go-cmp/cmp"
)

func TestMessages(t *testing.T) {
	var buf bytes.Buffer
	sent := &Request{Verb: Add, ContainerID: "c", Netns: "/n", IfName: "eth0", Config: json.RawMessage("{\n\"a\": \"\\n\"}")}
	if err := WriteMessage(&buf, sent); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(buf.String(), "\n"); n != 1 {
		t.Errorf("a message of %d lines", n)
	}
	got := new(Request)
	if err := ReadMessage(&buf, got); err != nil {
		t.Fatal(err)
	}
	sent.Config = json.RawMessage(`{"a":"\n"}`)
	if diff := cmp.Diff(sent, got); diff != "" {
		t.Error(diff)
	}
}

func TestReadMessageRefuses(t *testing.T) {
	if err := ReadMessage(strings.NewReader(""), new(Request)); !errors.Is(err, io.EOF) {
		t.Errorf("nothing: %v", err)
	}
	if err := ReadMessage(strings.NewReader(`{"verb":"ADD"}`), new(Request)); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("half a message: %v", err)
	}
	if err := ReadMessage(strings.NewReader(strings.Repeat(" ", 2*MaxMessage)), new(Request)); !errors.Is(err, errTooLong) {
		t.Errorf("too long: %v", err)
	}
	if err := ReadMessage(strings.NewReader("hello\n"), new(Request)); err == nil || !strings.Contains(err.Error(), "not a message of felid-cni") {
		t.Errorf("not JSON: %v", err)
	}
	if err := WriteMessage(io.Discard, strings.Repeat("x", MaxMessage)); !errors.Is(err, errTooLong) {
		t.Errorf("writing too much: %v", err)
	}
}

func TestValidate(t *testing.T) {
	good := Request{Verb: Add, ContainerID: "c1", Netns: "/var/run/netns/x", IfName: "eth0"}
	change := func(f func(*Request)) *Request { r := good; f(&r); return &r }
	tests := []struct {
		name string
		req  *Request
		code uint // 0: valid
	}{
		{"ADD", &good, 0},
		{"DEL without netns", change(func(r *Request) { r.Verb, r.Netns = Del, "" }), 0},
		{"GC", &Request{Verb: GC}, 0},
		{"STATUS", &Request{Verb: Status}, 0},
		{"no verb", change(func(r *Request) { r.Verb = "" }), 4},
		{"VERSION", change(func(r *Request) { r.Verb = "VERSION" }), 4},
		{"no container", change(func(r *Request) { r.ContainerID = "" }), 4},
		{"container with a slash", change(func(r *Request) { r.ContainerID = "a/b" }), 4},
		{"no interface", change(func(r *Request) { r.IfName = "" }), 4},
		{"long interface", change(func(r *Request) { r.IfName = "abcdefghijklmnop" }), 4},
		{"interface with a zero", change(func(r *Request) { r.IfName = "a\x00b" }), 4},
		{"ADD without netns", change(func(r *Request) { r.Netns = "" }), 4},
		{"CHECK without netns", change(func(r *Request) { r.Verb, r.Netns = Check, "" }), 4},
	}
	for _, tt := range tests {
		err := tt.req.Validate()
		if (err == nil) != (tt.code == 0) || err != nil && err.Code != tt.code {
			t.Errorf("%s: %v, want code %d", tt.name, err, tt.code)
		}
	}
}

// answerWith is an agent that sends text to whoever connects, and closes.
func answerWith(t *testing.T, text string) (socket string) {
	socket = newSocket(t)
	l := listenOn(t, socket)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = ReadMessage(conn, new(Request))
			_, _ = io.WriteString(conn, text)
			_ = conn.Close()
		}
	}()
	return socket
}

func TestCallSaysTryAgainWhenTheAgentIsAway(t *testing.T) {
	nobody := newSocket(t)
	closes, garbage, half := answerWith(t, ""), answerWith(t, "hello\n"), answerWith(t, `{"result":`)
	for _, verb := range verbs {
		want := types.ErrTryAgainLater
		if verb == Status {
			want = types.ErrPluginNotAvailable
		}
		for _, socket := range []string{nobody, closes, garbage, half} {
			_, err := Call(context.Background(), socket, &Request{Verb: verb})
			var e *Error
			if !errors.As(err, &e) || e.Code != want || !strings.Contains(e.Msg, socket) {
				t.Errorf("%s: %v, want code %d naming the socket", verb, err, want)
			}
		}
	}
}

func TestCallGivesTheAgentsAnswer(t *testing.T) {
	resp, err := Call(context.Background(), answerWith(t, `{"result":{"ips":[]}}`+"\n"), &Request{Verb: Add})
	if err != nil || string(resp.Result) != `{"ips":[]}` {
		t.Errorf("%+v, %v", resp, err)
	}
	_, err = Call(context.Background(), answerWith(t, `{"error":{"code":7,"msg":"no"}}`+"\n"), &Request{Verb: Add})
	var e *Error
	if !errors.As(err, &e) || e.Code != 7 || e.Msg != "no" {
		t.Errorf("%v", err)
	}
}

func TestPrintError(t *testing.T) {
	var out bytes.Buffer
	printError(&out, "0.4.0", types.NewError(7, "wrong", "more"))
	if want := `{"cniVersion":"0.4.0","code":7,"msg":"wrong","details":"more"}` + "\n"; out.String() != want {
		t.Errorf("got %s want %s", out.String(), want)
	}
}

func FuzzReadMessage(f *testing.F) {
	f.Add([]byte(`{"verb":"ADD","containerID":"c","netns":"/n","ifName":"eth0","config":{"name":"n"}}` + "\n"))
	f.Add([]byte("{}\n{}\n"))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, data []byte) {
		req := new(Request)
		if ReadMessage(bytes.NewReader(data), req) != nil {
			return
		}
		if err := req.Validate(); err != nil && err.Msg == "" {
			t.Errorf("an error without text: %+v", err)
		}
		// What was read can be sent on, and reads the same.
		var buf bytes.Buffer
		if req.Config == nil {
			req.Config = json.RawMessage("null")
		}
		if err := WriteMessage(&buf, req); errors.Is(err, errTooLong) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		again := new(Request)
		if err := ReadMessage(&buf, again); err != nil || again.Verb != req.Verb || again.ContainerID != req.ContainerID {
			t.Errorf("%+v read again as %+v: %v", req, again, err)
		}
	})
}
