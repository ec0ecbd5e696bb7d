// Copyright (c) 2026, the dcta.fleet authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// backEnd is a chat back end that remembers what it was asked.
type backEnd struct {
	*httptest.Server
	authorization []string
	asked         []conversation
	answer        func(w http.ResponseWriter, asked conversation)
}

func backEndLine(text, finish string) string {
	details := "null"
	if finish != "" {
		details = `{"type":"` + finish + `"}`
	}
	return fmt.Sprintf(`data: {"message":{"id":"m","author":{"role":"assistant"},"content":{"content_type":"text",`+
		`"parts":[%q]},"end_turn":null,"metadata":{"message_type":"next","finish_details":%s},"recipient":"all"},`+
		`"conversation_id":"c","error":null}`, text, details) + "\n\n"
}

func startBackEnd(t *testing.T) *backEnd {
	t.Helper()
	b := &backEnd{}
	b.answer = func(w http.ResponseWriter, _ conversation) {
		skipped := strings.Replace(backEndLine("skipped", ""), `"assistant"`, `"system"`, 1)
		io.WriteString(w, skipped+backEndLine("", "")+backEndLine("Good", "")+backEndLine("Good day", "")+backEndLine("Good day", "stop")+"data: [DONE]\n\n")
	}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var asked conversation
		if err := json.NewDecoder(r.Body).Decode(&asked); err != nil {
			t.Error(err)
		}
		b.asked = append(b.asked, asked)
		b.authorization = append(b.authorization, r.Header.Get("Authorization"))
		b.answer(w, asked)
	}))
	t.Cleanup(b.Close)
	startService(t)
	before := conversationURL
	conversationURL = b.URL
	t.Cleanup(func() { conversationURL = before })
	return b
}

func startProgram(t *testing.T, files map[string]string) *httptest.Server {
	t.Helper()
	return startVariant(t, objects, files)
}

func startVariant(t *testing.T, profile profile, files map[string]string) *httptest.Server {
	t.Helper()
	inFolder(t, files)
	p := newProgram(profile, systemClock)
	p.access = log.New(io.Discard, "", 0)
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	return server
}

func ask(t *testing.T, server *httptest.Server, method, path, body, authorization string) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequest(method, server.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if authorization != "" {
		request.Header.Set("Authorization", authorization)
	}
	response, err := server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(text)
}

const (
	question = `{"model":"gpt-3.5-turbo","messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Hi"}]}`
	streamed = `{"model":"gpt-3.5-turbo","stream":true,"messages":[{"role":"user","content":"Hi"}]}`
	path     = "/v1/chat/completions"
)

func TestAPlainAnswerHoldsTheWholeText(t *testing.T) {
	backEnd := startBackEnd(t)
	server := startProgram(t, map[string]string{tokenFile: oneToken})
	response, text := ask(t, server, "POST", path, question, "")
	if response.StatusCode != 200 || !strings.Contains(text, `"content":"Good day"`) {
		t.Fatalf("%d %s", response.StatusCode, text)
	}
	asked := backEnd.asked[0]
	if backEnd.authorization[0] != "Bearer one" || asked.Action != "next" || asked.Model != defaultBackEndModel ||
		asked.Messages[0].Author.Role != "critic" || asked.Messages[1].Content.Parts[0] != "Hi" {
		t.Fatalf("the back end was asked %+v", asked)
	}
}

func TestAStreamHoldsRolePiecesReasonAndEnd(t *testing.T) {
	startBackEnd(t)
	server := startProgram(t, map[string]string{tokenFile: oneToken})
	response, text := ask(t, server, "POST", path, streamed, "")
	if kind := response.Header.Get("Content-Type"); kind != "text/event-stream" {
		t.Fatalf("content type %q", kind)
	}
	events := strings.Split(strings.TrimSpace(text), "\n\n")
	for index, want := range []string{
		`"delta":{"role":"assistant"}`, `"delta":{"content":"Good"}`, `"delta":{"content":" day"}`, `"delta":{}`,
		`"finish_reason":"stop"`, "data: [DONE]",
	} {
		if index >= len(events) || !strings.Contains(events[index], want) {
			t.Fatalf("event %d lacks %s in %q", index, want, events)
		}
	}
}

func TestAnAnswerCutForLengthIsContinued(t *testing.T) {
	backEnd := startBackEnd(t)
	backEnd.answer = func(w http.ResponseWriter, asked conversation) {
		if asked.Action == "continue" {
			io.WriteString(w, backEndLine("", "")+backEndLine(" day", "stop")+"data: [DONE]\n\n")
			return
		}
		io.WriteString(w, backEndLine("", "")+backEndLine("Good", "max_tokens")+"data: [DONE]\n\n")
	}
	server := startProgram(t, map[string]string{tokenFile: twoTokens})
	if _, text := ask(t, server, "POST", path, question, ""); !strings.Contains(text, `"content":"Good day"`) {
		t.Fatal(text)
	}
	if next := backEnd.asked[1]; next.ConversationID != "c" || next.ParentMessageID != "m" || len(next.Messages) > 0 {
		t.Fatalf("the back end was asked %+v", next)
	}
	if backEnd.authorization[1] != "Bearer one" {
		t.Fatal("the continuation went out with another token")
	}
}

func TestRefusalsKeepTheirStatusOnlyWithJSON(t *testing.T) {
	backEnd := startBackEnd(t)
	server := startProgram(t, map[string]string{tokenFile: oneToken})
	for _, row := range []struct {
		status int
		body   string
		want   int
		text   string
	}{
		{401, `{"detail":{"code":"token_expired"}}`, 401, `"message":{"code":"token_expired"},"param":null,"type":"401 Unauthorized"`},
		{429, `{"detail":"slow down"}`, 429, `"message":"slow down","param":null,"type":"429 Too Many Requests"`},
		{403, "<html>blocked</html>", 500, `"message":"Unknown error","param":null,"type":"internal_server_error"`},
		{302, "", 500, `"message":"Unknown error"`},
	} {
		backEnd.answer = func(w http.ResponseWriter, _ conversation) {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(row.status)
			io.WriteString(w, row.body)
		}
		response, text := ask(t, server, "POST", path, question, "")
		if response.StatusCode != row.want || !strings.Contains(text, row.text) {
			t.Errorf("%d became %d %s", row.status, response.StatusCode, text)
		}
		if response.Header.Get("Retry-After") != "" || response.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%d came with the headers %v", row.status, response.Header)
		}
	}
	backEnd.Close()
	if response, text := ask(t, server, "POST", path, question, ""); response.StatusCode != 500 || text != `{"error":"error sending request"}` {
		t.Errorf("a lost back end became %d %s", response.StatusCode, text)
	}
}

func TestWithoutTokensTheRequestGoesOutAnonymously(t *testing.T) {
	backEnd := startBackEnd(t)
	server := startProgram(t, nil)
	if response, _ := ask(t, server, "POST", path, question, ""); response.StatusCode != 200 || backEnd.authorization[0] != "" {
		t.Fatalf("%d with %q", response.StatusCode, backEnd.authorization[0])
	}
}

func TestAClientsAccessTokenReplacesTheOperators(t *testing.T) {
	backEnd := startBackEnd(t)
	server := startProgram(t, map[string]string{tokenFile: oneToken, keyFile: "key\n"})
	for _, authorization := range []string{"Bearer key", "Bearer " + tokenPrefix + "theirs"} {
		ask(t, server, "POST", path, question, authorization)
	}
	if got := strings.Join(backEnd.authorization, ", "); got != "Bearer one, Bearer "+tokenPrefix+"theirs" {
		t.Fatal(got)
	}
}

func TestOnlyAnEmptyEnableHistoryKeepsHistoryOn(t *testing.T) {
	backEnd := startBackEnd(t)
	server := startProgram(t, nil)
	for index, setting := range []string{"", "false", "true"} {
		t.Setenv("ENABLE_HISTORY", setting)
		ask(t, server, "POST", path, question, "")
		if got := backEnd.asked[index].HistoryDisabled; got != (setting != "") {
			t.Errorf("ENABLE_HISTORY=%q: disabled is %v", setting, got)
		}
	}
}

func TestAdminRoutesWantTheBarePassword(t *testing.T) {
	t.Setenv("ADMIN_PASSWORD", "secret")
	startBackEnd(t)
	server := startProgram(t, map[string]string{tokenFile: oneToken})
	for _, row := range []struct {
		path, body, authorization string
		status                    int
		text                      string
	}{
		{"/admin/tokens", twoTokens, "", 401, "Unauthorized"},
		{"/admin/tokens", twoTokens, "Bearer secret", 401, "Unauthorized"},
		{"/admin/tokens", `["two"]`, "secret", 400, "tokens not provided"},
		{"/admin/tokens", `[{"token":"<two>"}]`, "secret", 200, "tokens updated"},
		{"/admin/password", "", "secret", 400, "password not provided"},
		{"/admin/password", `{"password":"other"}`, "secret", 200, "password updated"},
		{"/admin/tokens", "[]", "secret", 401, "Unauthorized"},
	} {
		if response, text := ask(t, server, "PATCH", row.path, row.body, row.authorization); response.StatusCode != row.status || text != row.text {
			t.Errorf("%+v: %d %q", row, response.StatusCode, text)
		}
	}
	if got := fileText(t, tokenFile); got != `[{"token":"\u003ctwo\u003e","puid":""}]` {
		t.Fatalf("the file holds %s", got)
	}
}

func TestOtherRoutesAnswerAsTheProgramDoes(t *testing.T) {
	server := startProgram(t, map[string]string{keyFile: "key\n"})
	for _, row := range []struct {
		method, path, body, authorization string
		status                            int
	}{
		{"GET", "/ping", "", "", 200},
		{"OPTIONS", path, "", "", 200},
		{"GET", "/v1/models", "", "", 401},
		{"GET", "/v1/models", "", "Bearer key", 500},
		{"POST", path, "no JSON", "Bearer key", 400},
		{"GET", path, "", "", 404},
		{"GET", "/unknown", "", "", 404},
	} {
		response, text := ask(t, server, row.method, row.path, row.body, row.authorization)
		if response.StatusCode != row.status || !json.Valid([]byte(text)) {
			t.Errorf("%+v: %d %q", row, response.StatusCode, text)
		}
	}
}

func TestEveryAnswerTellsWhichBytesArrived(t *testing.T) {
	server := startProgram(t, nil)
	body := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	sum := sha256.Sum256(body)
	for _, target := range []string{"/v1/a%2Fb/../c//d?", "/v1/%0a%00?x=%2B+&x", "//v1/./chat", "/v1/chat/completions/"} {
		connection, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer connection.Close()
		fmt.Fprintf(connection, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer x\r\nContent-Length: %d\r\n\r\n", target, len(body))
		connection.Write(body)
		response, err := http.ReadResponse(bufio.NewReader(connection), nil)
		if err != nil {
			t.Fatal(err)
		}
		header := response.Header
		if header.Get("X-Stand-In-Target") != target || header.Get("X-Stand-In-Body-Sha256") != hex.EncodeToString(sum[:]) ||
			header.Get("X-Stand-In-Authorization") != "present" {
			t.Errorf("%s arrived as %v", target, header)
		}
	}
}
