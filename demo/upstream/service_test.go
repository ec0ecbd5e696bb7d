// Copyright (c) 2026, the dcta.fleet authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// chatService is the service under its own name; it remembers what it was asked.
type chatService struct {
	*httptest.Server
	requests     []string
	requirements func(w http.ResponseWriter)
	loginPage    string
}

func startService(t *testing.T) *chatService {
	t.Helper()
	s := &chatService{requirements: func(w http.ResponseWriter) { io.WriteString(w, `{"token":"permit"}`) }}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen := r.Method + " " + r.URL.Path
		if authorization := r.Header.Get("Authorization"); authorization != "" {
			seen += " " + authorization
		}
		s.requests = append(s.requests, seen)
		switch r.URL.Path {
		case "/api/auth/csrf":
			io.WriteString(w, `{"csrfToken":"csrf"}`)
		case "/api/auth/signin/openai":
			if r.ParseForm(); r.Form.Get("csrfToken") != "csrf" {
				t.Errorf("a login begins with %v", r.Form)
			}
			fmt.Fprintf(w, `{"url":%q}`, s.loginPage)
		case "/backend-api/sentinel/chat-requirements", "/backend-anon/sentinel/chat-requirements":
			s.requirements(w)
		case "/backend-api/conversation":
			s.requests[len(s.requests)-1] += " with " + r.Header.Get(permitHeader)
			io.WriteString(w, backEndLine("", "")+backEndLine("Good day", "stop")+"data: [DONE]\n\n")
		}
	}))
	t.Cleanup(s.Close)
	before := serviceURL
	serviceURL = s.URL
	t.Cleanup(func() { serviceURL = before })
	return s
}

var mapFiles = map[string]string{tokenFile: mapOf("one"), accountFile: "one:-\n"}

func TestTheMapAsksTheServiceBeforeEachChat(t *testing.T) {
	service := startService(t)
	server := startVariant(t, accounts, mapFiles)
	for chat := 0; chat < 2; chat++ {
		if response, text := ask(t, server, "POST", path, question, ""); response.StatusCode != 200 || !strings.Contains(text, "Good day") {
			t.Fatalf("%d %s", response.StatusCode, text)
		}
	}
	asked := "POST /backend-api/sentinel/chat-requirements Bearer token.of.one, POST /backend-api/conversation Bearer token.of.one with permit"
	if got := strings.Join(service.requests, ", "); got != "GET /, "+asked+", "+asked {
		t.Fatal(got)
	}
}

func TestWithAReverseProxyTheMapStillAsksTheServiceWhatAChatRequires(t *testing.T) {
	backEnd := startBackEnd(t)
	service := startService(t)
	server := startVariant(t, accounts, mapFiles)
	if response, _ := ask(t, server, "POST", path, question, ""); response.StatusCode != 200 || len(backEnd.asked) != 1 {
		t.Fatalf("%d, %d chats", response.StatusCode, len(backEnd.asked))
	}
	if got := strings.Join(service.requests, ", "); got != "GET /, POST /backend-api/sentinel/chat-requirements Bearer token.of.one" {
		t.Fatal(got)
	}
}

func TestTheOtherVariantsAskTheServiceNothing(t *testing.T) {
	startBackEnd(t)
	service := startService(t)
	for _, profile := range []profile{texts, objects} {
		server := startVariant(t, profile, nil)
		if response, _ := ask(t, server, "POST", path, question, ""); response.StatusCode != 200 || len(service.requests) != 0 {
			t.Fatalf("%s: %d, asked %v", profile.name, response.StatusCode, service.requests)
		}
	}
}

func TestWhatTheServiceSaysOfAChatDecidesWhetherTheMapBeginsIt(t *testing.T) {
	backEnd := startBackEnd(t)
	service := startService(t)
	server := startVariant(t, accounts, mapFiles)
	for _, row := range []struct {
		status int
		body   string
		want   int
		chats  int
	}{
		{403, "<html>blocked</html>", 500, 0},
		{200, "", 500, 0},
		{200, `{"force_login":true}`, 500, 0},
		// The answer of the chat itself then counts.
		{401, `{"detail":{"code":"token_expired"}}`, 200, 1},
	} {
		backEnd.asked = nil
		service.requirements = func(w http.ResponseWriter) {
			w.WriteHeader(row.status)
			io.WriteString(w, row.body)
		}
		response, text := ask(t, server, "POST", path, question, "")
		if response.StatusCode != row.want || len(backEnd.asked) != row.chats ||
			row.want == 500 && text != `{"error":"unable to check chat requirement"}` {
			t.Errorf("%+v became %d %s after %d chats", row, response.StatusCode, text, len(backEnd.asked))
		}
	}
	service.Close()
	if response, _ := ask(t, server, "POST", path, question, ""); response.StatusCode != 500 {
		t.Errorf("%d without a service", response.StatusCode)
	}
}

func TestWithoutATokenTheMapAsksAsEverybody(t *testing.T) {
	startBackEnd(t)
	service := startService(t)
	ask(t, startVariant(t, accounts, nil), "POST", path, question, "")
	if got := strings.Join(service.requests, ", "); got != "GET /, POST /backend-anon/sentinel/chat-requirements" {
		t.Fatal(got)
	}
}

func TestALoginOfTheMapBeginsAtTheService(t *testing.T) {
	service := startService(t)
	service.loginPage = "http://127.0.0.1:1/nobody-listens"
	inFolder(t, map[string]string{tokenFile: mapOf("one"), accountFile: "one:-\ntwo:-\n"})
	open(accounts, systemClock)
	if got := strings.Join(service.requests, ", "); got != "GET /api/auth/csrf, POST /api/auth/signin/openai" {
		t.Fatal(got)
	}
}

func TestOnlyTheMapNeedsAnEmptyPieceOfItsMessageFirst(t *testing.T) {
	backEnd := startBackEnd(t)
	other := strings.Replace(backEndLine("of another message", ""), `"id":"m"`, `"id":"n"`, 1)
	private := strings.Replace(backEndLine("for a tool", ""), `"all"`, `"python"`, 1)
	for _, row := range []struct {
		lines            string
		asList, asTheMap string
	}{
		{backEndLine("", "") + backEndLine("Good day", "stop"), "Good day", "Good day"},
		{backEndLine("Good", "") + backEndLine("Good day", "stop"), "Good day", ""},
		{backEndLine("", "") + backEndLine("Good day", "") + other, "of another message", "Good day"},
		{backEndLine("", "") + backEndLine("Good day", "") + private, "for a tool", "Good day"},
	} {
		backEnd.answer = func(w http.ResponseWriter, _ conversation) { io.WriteString(w, row.lines+"data: [DONE]\n\n") }
		for profile, want := range map[string]string{objects.name: row.asList, accounts.name: row.asTheMap} {
			server := startVariant(t, profiles[profile], map[bool]map[string]string{true: mapFiles}[profile == accounts.name])
			response, text := ask(t, server, "POST", path, question, "")
			if response.StatusCode != 200 || !strings.Contains(text, fmt.Sprintf(`"content":%q`, want)) {
				t.Errorf("%s: %d %s instead of %q", profile, response.StatusCode, text, want)
			}
		}
	}
}
