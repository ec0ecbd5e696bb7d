// Copyright (c) 2026, the dcta.fleet authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
)

const (
	oldConversationURL  = "https://chat.openai.com/backend-api/conversation"
	defaultBackEndModel = "text-davinci-002-render-sha"
	maxParts            = 3
)

// conversationURL is read before main loads .env, so .env cannot set it.
var conversationURL = os.Getenv("API_REVERSE_PROXY")

type author struct {
	Role string `json:"role"`
}

type content struct {
	Type  string   `json:"content_type"`
	Parts []string `json:"parts"`
}

type message struct {
	ID      string  `json:"id"`
	Author  author  `json:"author"`
	Content content `json:"content"`
}

// conversation is the body that the back end reads.
type conversation struct {
	Action          string    `json:"action"`
	Messages        []message `json:"messages"`
	ParentMessageID string    `json:"parent_message_id,omitempty"`
	ConversationID  string    `json:"conversation_id,omitempty"`
	Model           string    `json:"model"`
	HistoryDisabled bool      `json:"history_and_training_disabled"`
}

// newUUID returns a random UUID (RFC 9562 section 5.4).
func newUUID() string {
	var raw [16]byte
	if _, err := rand.Read(raw[:]); err != nil {
		panic(err)
	}
	raw[6], raw[8] = raw[6]&0x0f|0x40, raw[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", raw[:4], raw[4:6], raw[6:8], raw[8:10], raw[10:])
}

func translate(request completionRequest, historyOn bool) conversation {
	result := conversation{
		Action: "next", ParentMessageID: newUUID(), Model: defaultBackEndModel, HistoryDisabled: !historyOn,
	}
	if strings.HasPrefix(request.Model, "gpt-4") {
		result.Model = request.Model
	}
	for _, entry := range request.Messages {
		role := entry.Role
		if role == "system" {
			role = "critic"
		}
		result.Messages = append(result.Messages, message{
			ID: newUUID(), Author: author{Role: role}, Content: content{Type: "text", Parts: []string{entry.Content}},
		})
	}
	return result
}

// addressOf returns where a variant posts the conversation of a token.
func addressOf(profile profile, token secret) string {
	switch {
	case conversationURL != "":
		return conversationURL
	case profile.asksService:
		return serviceURL + access(token) + "/conversation"
	}
	return oldConversationURL
}

// send posts a conversation; without a token it goes out without Authorization.
func send(
	ctx context.Context, client *http.Client, address string, body conversation, token secret, permit string,
) (*http.Response, error) {
	encoded, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(encoded))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	if permit != "" {
		request.Header.Set(permitHeader, permit)
	}
	authorize(request, token)
	return client.Do(request)
}

func authorize(request *http.Request, token secret) {
	request.Header.Set("Accept", "*/*")
	if token.PUID != "" {
		request.Header.Set("Cookie", "_puid="+token.PUID+";")
	}
	if token.Token != "" {
		request.Header.Set("Authorization", "Bearer "+token.Token)
	}
}

// refuseAs passes a refusal of the back end on and tells whether there was one.
func refuseAs(w http.ResponseWriter, response *http.Response) bool {
	if response.StatusCode == http.StatusOK {
		return false
	}
	var refusal map[string]any
	if json.NewDecoder(response.Body).Decode(&refusal) != nil {
		answerJSON(w, http.StatusInternalServerError, map[string]any{"error": map[string]any{
			"message": "Unknown error", "type": "internal_server_error", "param": nil, "code": "500", "details": "",
		}})
		return true
	}
	answerJSON(w, response.StatusCode, map[string]any{"error": map[string]any{
		"message": refusal["detail"], "type": response.Status, "param": nil, "code": "error",
	}})
	return true
}
