// Copyright (c) 2026, the dcta.fleet authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
)

// event is one line of the back end's answer, as far as the program looks at it.
type event struct {
	Message struct {
		ID       string  `json:"id"`
		Author   author  `json:"author"`
		Content  content `json:"content"`
		EndTurn  any     `json:"end_turn"`
		Metadata struct {
			MessageType   string `json:"message_type"`
			FinishDetails *struct {
				Type string `json:"type"`
			} `json:"finish_details"`
		} `json:"metadata"`
		Recipient string `json:"recipient"`
	} `json:"message"`
	ConversationID string `json:"conversation_id"`
	Error          any    `json:"error"`
}

// isAnswer tells whether an event holds text that is meant for the user.
func (e *event) isAnswer() bool {
	kind := e.Message.Metadata.MessageType
	return e.Message.Author.Role == "assistant" && len(e.Message.Content.Parts) > 0 && (kind == "next" || kind == "continue")
}

// reading chooses the events of one answer that a variant reads.
type reading interface {
	reads(current *event) bool
}

// everyMessage is the choice of 2023: all text of a turn that is not over.
type everyMessage struct{}

func (everyMessage) reads(current *event) bool {
	return current.isAnswer() && current.Message.EndTurn == nil
}

// oneMessage is the choice of 2025: the message that begins with an empty piece, and no other. Without such a piece
// nothing is read, and the answer is empty with status 200.
type oneMessage struct {
	id, conversation string
}

func (m *oneMessage) reads(current *event) bool {
	message := current.Message
	if m.conversation == "" {
		m.conversation = current.ConversationID
	}
	if message.ID == "" || current.ConversationID != m.conversation || !current.isAnswer() ||
		message.Recipient != "all" || message.Content.Type != "text" {
		return false
	}
	if message.ID != m.id {
		if m.id != "" || message.Content.Parts[0] != "" {
			return false
		}
		m.id = message.ID
	}
	if over, known := message.EndTurn.(bool); known && !over {
		m.id = ""
	}
	return true
}

// relay reads one answer of the back end, hands its pieces to a streaming client, and returns the text and, when the
// back end stopped for length, the last event.
func relay(w http.ResponseWriter, source io.Reader, choice reading, stream bool) (text string, cut *event) {
	flush := func() {
		if flusher, ok := w.(http.Flusher); ok {
			flusher.Flush()
		}
	}
	lines := bufio.NewReader(source)
	finish, first := "", true
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return text, cut
		}
		data := bytes.TrimPrefix(bytes.TrimSpace(line), []byte("data: "))
		if bytes.HasPrefix(data, []byte("[DONE]")) {
			if stream {
				w.Write(chunk(delta{}, finish))
			}
			continue
		}
		var current event
		if json.Unmarshal(data, &current) != nil || !choice.reads(&current) {
			continue
		}
		piece := delta{Content: strings.TrimPrefix(current.Message.Content.Parts[0], text)}
		text = current.Message.Content.Parts[0]
		if first {
			piece.Role, first = current.Message.Author.Role, false
		}
		if stream {
			if _, err := w.Write(chunk(piece, "")); err != nil {
				return text, nil
			}
		}
		// A plain answer is flushed as well: its status is out as soon as the first piece is in.
		flush()
		if details := current.Message.Metadata.FinishDetails; details != nil {
			finish = details.Type
			if finish == "max_tokens" {
				cut = &current
			}
		}
	}
}
