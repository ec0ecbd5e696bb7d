// Copyright (c) 2026, the dcta.fleet authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"time"
)

const maxBody = 64 << 20

// program is the running program: its settings and what it read at the start.
type program struct {
	profile profile
	tokens  tokenStore
	proxies *proxyRing
	service *service
	keys    *keyRing
	access  *log.Logger

	mutex         sync.Mutex
	adminPassword string
}

// statusWriter remembers the status for the access log.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(data []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(data)
}

// Flush sends what was written so far.
func (w *statusWriter) Flush() {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	w.ResponseWriter.(http.Flusher).Flush()
}

func choose(condition bool, yes, no string) string {
	if condition {
		return yes
	}
	return no
}

func answerJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	encoded, _ := json.Marshal(body)
	w.Write(encoded)
}

func answerText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	io.WriteString(w, text)
}

// ServeHTTP tells in headers of every answer what arrived, so that tests can compare it with what was sent.
func (p *program) ServeHTTP(plain http.ResponseWriter, r *http.Request) {
	start := time.Now()
	w := &statusWriter{ResponseWriter: plain}
	header := w.Header()
	header.Set("Access-Control-Allow-Origin", "*")
	header.Set("Access-Control-Allow-Methods", "*")
	header.Set("Access-Control-Allow-Headers", "*")
	header.Set("X-Stand-In-Target", r.RequestURI)
	header.Set("X-Stand-In-Authorization", choose(r.Header.Get("Authorization") != "", "present", "absent"))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		answerJSON(w, http.StatusRequestEntityTooLarge, map[string]any{"error": "The body is too large or was cut."})
	} else {
		sum := sha256.Sum256(body)
		header.Set("X-Stand-In-Body-Sha256", hex.EncodeToString(sum[:]))
		p.route(w, r, body)
	}
	client, _, _ := net.SplitHostPort(r.RemoteAddr)
	target := r.URL.Path
	if r.URL.RawQuery != "" {
		target += "?" + r.URL.RawQuery
	}
	p.access.Printf("[GIN] %s | %3d | %13v | %15s | %-8s %q",
		time.Now().Format("2006/01/02 - 15:04:05"), w.status, time.Since(start), client, r.Method, target)
}

// route knows the paths by exact text: a ServeMux would redirect unclean ones and hide what arrived.
func (p *program) route(w http.ResponseWriter, r *http.Request, body []byte) {
	authorization := r.Header.Get("Authorization")
	defer func() {
		if failure := recover(); failure != nil {
			// The program's framework answers with nothing but a status.
			fmt.Fprintf(os.Stderr, "[Recovery] panic recovered: %v\n%s", failure, debug.Stack())
			w.WriteHeader(http.StatusInternalServerError)
		}
	}()
	if r.Method == "PATCH" && strings.HasPrefix(r.URL.Path, "/admin/") {
		p.administer(w, r.URL.Path[len("/admin/"):], authorization, body)
		return
	}
	if p.profile.hasAudio && r.Method == "POST" && strings.HasPrefix(r.URL.Path, "/v1/audio/") {
		if !p.keys.refuse(w, authorization) {
			p.speak(w, r.URL.Path[len("/v1/audio/"):])
		}
		return
	}
	switch r.Method + " " + r.URL.Path {
	case "GET /ping":
		answerJSON(w, http.StatusOK, map[string]string{"message": "pong"})
	case "OPTIONS /v1/chat/completions":
		w.Header().Set("Access-Control-Allow-Methods", "POST")
		answerJSON(w, http.StatusOK, map[string]string{"message": "pong"})
	case "POST /v1/chat/completions":
		if !p.keys.refuse(w, authorization) {
			p.complete(w, r, body)
		}
	case "GET /v1/models", "GET /v1/engines":
		if r.URL.Path == "/v1/engines" && p.profile.models != nil {
			notFound(w)
		} else if !p.keys.refuse(w, authorization) {
			p.list(w)
		}
	default:
		notFound(w)
	}
}

func notFound(w http.ResponseWriter) {
	answerJSON(w, http.StatusNotFound, map[string]string{"error": "There is no such page."})
}

// list answers with the fixed models, or fails as the program does where the official API cannot be asked.
func (p *program) list(w http.ResponseWriter) {
	if p.profile.models == nil {
		answerJSON(w, http.StatusInternalServerError, map[string]string{"error": "error sending request"})
		return
	}
	var models []any
	for _, name := range p.profile.models {
		models = append(models, map[string]any{"id": name, "object": "model", "created": 0, "owned_by": "stand-in"})
	}
	answerJSON(w, http.StatusOK, map[string]any{"object": "list", "data": models})
}

// speak stands for the two audio routes, which want an account.
func (p *program) speak(w http.ResponseWriter, name string) {
	switch account := p.tokens.next().account; {
	case name != "speech" && name != "transcriptions":
		notFound(w)
	case account == "":
		answerJSON(w, http.StatusInternalServerError, map[string]string{"error": "Logined user only"})
	case name == "speech":
		w.Header().Set("Content-Type", "audio/aac")
		io.WriteString(w, "the sound of a stand-in")
	default:
		answerJSON(w, http.StatusOK, map[string]string{"text": "the words of a stand-in"})
	}
}

func (p *program) administer(w http.ResponseWriter, name, authorization string, body []byte) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	known := false
	for _, route := range p.profile.adminRoutes {
		known = known || route == name
	}
	if !known {
		notFound(w)
		return
	}
	if authorization != p.adminPassword {
		answerText(w, http.StatusUnauthorized, "Unauthorized")
		return
	}
	// Only the first JSON value counts, as with the program: what follows it is not looked at.
	decoder := json.NewDecoder(bytes.NewReader(body))
	var settings map[string]any
	if name == "tokens" && !p.tokens.patch(decoder) || name != "tokens" && decoder.Decode(&settings) != nil {
		answerText(w, http.StatusBadRequest, name+" not provided")
		return
	}
	if name == "password" {
		// The program does not insist on the key either: without it the password becomes empty.
		p.adminPassword, _ = settings["password"].(string)
	}
	answerText(w, http.StatusOK, name+" updated")
}

// permit returns what has to go with a chat, where the variant asks for it.
func (p *program) permit(ctx context.Context, client *http.Client, token secret) (permit string, ok bool) {
	if !p.profile.asksService {
		return "", true
	}
	return p.service.permit(ctx, client, token)
}

func (p *program) complete(w http.ResponseWriter, r *http.Request, body []byte) {
	var request completionRequest
	if err := json.NewDecoder(bytes.NewReader(body)).Decode(&request); err != nil {
		answerJSON(w, http.StatusBadRequest, map[string]any{"error": map[string]any{
			"message": "The body is not the JSON of a chat completion.", "type": "invalid_request_error",
			"param": nil, "code": err.Error(),
		}})
		return
	}
	token := p.tokens.next()
	key, _ := cutBearer(r.Header.Get("Authorization"))
	if p.profile.usesClientToken && strings.HasPrefix(key, tokenPrefix) {
		token.Token = key
	}
	client := p.proxies.client()
	question := translate(request, p.profile.historyOn(os.Getenv("ENABLE_HISTORY")))
	text := ""
	for part := 0; part < maxParts; part++ {
		permit, ok := p.permit(r.Context(), client, token)
		if !ok && part > 0 {
			panic("the program does not look whether it may go on")
		}
		if !ok {
			answerJSON(w, http.StatusInternalServerError, map[string]string{"error": "unable to check chat requirement"})
			return
		}
		response, err := send(r.Context(), client, addressOf(p.profile, token), question, token, permit)
		if err != nil {
			answerJSON(w, http.StatusInternalServerError, map[string]string{"error": "error sending request"})
			return
		}
		if refuseAs(w, response) {
			response.Body.Close()
			return
		}
		w.Header().Set("Content-Type", choose(request.Stream, "text/event-stream", "application/json"))
		piece, cut := relay(w, response.Body, p.profile.startReading(), request.Stream)
		response.Body.Close()
		text += piece
		if cut == nil {
			break
		}
		fmt.Fprintln(os.Stderr, "Continuing conversation")
		question.Action, question.Messages = "continue", nil
		question.ConversationID, question.ParentMessageID = cut.ConversationID, cut.Message.ID
	}
	if request.Stream {
		io.WriteString(w, "data: [DONE]\n\n")
		return
	}
	encoded, _ := json.Marshal(completion(text))
	w.Write(encoded)
}
