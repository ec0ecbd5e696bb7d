// Copyright (c) 2026, the dcta.fleet authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	patience = 10 * time.Second
	nowhere  = "http://127.0.0.1:1"
)

// TestMain lets the test binary be the program itself, in a process of its own, and lets no test ask the real service.
func TestMain(m *testing.M) {
	if os.Getenv("STANDIN_BE_THE_PROGRAM") != "" {
		main()
		os.Exit(0)
	}
	serviceURL = nowhere
	os.Exit(m.Run())
}

// process is the program running on a free port.
type process struct {
	*exec.Cmd
	address        string
	stdout, stderr bytes.Buffer
}

func startProcess(t *testing.T, address string, environment ...string) *process {
	t.Helper()
	host, port, _ := net.SplitHostPort(address)
	p := &process{Cmd: exec.Command(os.Args[0]), address: address}
	p.Env = append([]string{
		"STANDIN_BE_THE_PROGRAM=1", "SERVER_HOST=" + host, "SERVER_PORT=" + port, "STANDIN_SERVICE_URL=" + serviceURL,
	}, environment...)
	p.Stdout, p.Stderr = &p.stdout, &p.stderr
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Process.Kill() })
	return p
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func (p *process) ready(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if response, err := http.Get("http://" + p.address + "/ping"); err == nil {
			response.Body.Close()
			return
		}
	}
	t.Fatalf("the program does not answer: %s", &p.stderr)
}

func (p *process) exitStatus(t *testing.T) int {
	t.Helper()
	late := time.AfterFunc(patience, func() { p.Process.Kill() })
	p.Wait()
	if !late.Stop() {
		t.Fatal("the program did not end in time")
	}
	return p.ProcessState.ExitCode()
}

func TestAPortInUseEndsWithStatusZeroAndOneLine(t *testing.T) {
	inFolder(t, nil)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	p := startProcess(t, listener.Addr().String())
	if status := p.exitStatus(t); status != 0 || strings.Count(p.stderr.String(), "\n") != 1 {
		t.Fatalf("status %d, stderr %q", status, &p.stderr)
	}
}

func TestABlankLineInTheAccountsFileEndsWithStatusTwo(t *testing.T) {
	inFolder(t, map[string]string{accountFile: "a@example.org:pw\n\n"})
	if status := startProcess(t, freeAddress(t)).exitStatus(t); status != 2 {
		t.Fatalf("status %d", status)
	}
}

func TestStopSignalsRefuseNewConnectionsAndFinishStreams(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		finish := make(chan struct{})
		backEnd := startBackEnd(t)
		backEnd.answer = func(w http.ResponseWriter, _ conversation) {
			io.WriteString(w, backEndLine("Good", ""))
			w.(http.Flusher).Flush()
			<-finish
			io.WriteString(w, backEndLine("Good day", "stop")+"data: [DONE]\n\n")
		}
		inFolder(t, map[string]string{tokenFile: oneToken})
		p := startProcess(t, freeAddress(t), "API_REVERSE_PROXY="+backEnd.URL)
		p.ready(t)
		response, err := http.Post("http://"+p.address+path, "application/json", strings.NewReader(streamed))
		if err != nil {
			t.Fatal(err)
		}
		p.Process.Signal(signal)
		refused := false
		for end := time.Now().Add(patience); !refused && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			connection, err := net.Dial("tcp", p.address)
			if refused = err != nil; !refused {
				connection.Close()
			}
		}
		close(finish)
		text, err := io.ReadAll(response.Body)
		if status := p.exitStatus(t); !refused || err != nil || !strings.HasSuffix(string(text), "data: [DONE]\n\n") || status != 0 {
			t.Errorf("%s: refused %v, error %v, status %d, text %q", signal, refused, err, status, text)
		}
	}
}

func TestDotenvSetsThePasswordButNotTheBackEnd(t *testing.T) {
	backEnd := startBackEnd(t)
	inFolder(t, map[string]string{".env": "ADMIN_PASSWORD=secret\nAPI_REVERSE_PROXY=http://127.0.0.1:1/\n", tokenFile: oneToken})
	p := startProcess(t, freeAddress(t), "API_REVERSE_PROXY="+backEnd.URL)
	p.ready(t)
	request, _ := http.NewRequest("PATCH", "http://"+p.address+"/admin/tokens", strings.NewReader(twoTokens))
	request.Header.Set("Authorization", "secret")
	if response, err := http.DefaultClient.Do(request); err != nil || response.StatusCode != 200 {
		t.Fatalf("%v %v", response, err)
	}

	inFolder(t, map[string]string{".env": "API_REVERSE_PROXY=" + backEnd.URL + "\nhttp_proxy=http://127.0.0.1:1\n"})
	q := startProcess(t, freeAddress(t))
	q.ready(t)
	response, err := http.Post("http://"+q.address+path, "application/json", strings.NewReader(question))
	if err != nil || response.StatusCode != 500 || len(backEnd.asked) != 0 {
		t.Fatalf("%v %v, the back end was asked %d times", response, err, len(backEnd.asked))
	}
}

func TestLogsNameProcessAddressAndRequests(t *testing.T) {
	inFolder(t, nil)
	p := startProcess(t, freeAddress(t))
	p.ready(t)
	p.Process.Signal(syscall.SIGTERM)
	p.exitStatus(t)
	start := fmt.Sprintf("%d %s\n", p.Process.Pid, p.address)
	if !strings.HasSuffix(p.stderr.String(), start) {
		t.Errorf("stderr is %q", &p.stderr)
	}
	line := regexp.MustCompile(`(?m)^\[GIN\] \d{4}/\d\d/\d\d - \d\d:\d\d:\d\d \| 200 \| +\S+ \| +127\.0\.0\.1 \| GET +"/ping"$`)
	if !line.MatchString(p.stdout.String()) {
		t.Errorf("stdout is %q", &p.stdout)
	}
}
