// Copyright (c) 2026, the dcta.fleet authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import "encoding/json"

const (
	completionID = "chatcmpl-stand-in"
	answerModel  = "gpt-3.5-turbo-0301"
)

// completionRequest is what the program reads of a client's request.
type completionRequest struct {
	Model    string `json:"model"`
	Stream   bool   `json:"stream"`
	Messages []struct {
		Role    string `json:"role"`
		Content string `json:"content"`
	} `json:"messages"`
}

type delta struct {
	Role    string `json:"role,omitempty"`
	Content string `json:"content,omitempty"`
}

// chunk returns one event of a streamed answer; an empty finish reason becomes null.
func chunk(piece delta, finish string) []byte {
	choice := map[string]any{"index": 0, "delta": piece, "finish_reason": nil}
	if finish != "" {
		choice["finish_reason"] = finish
	}
	body, _ := json.Marshal(map[string]any{
		"id": completionID, "object": "chat.completion.chunk", "created": 0, "model": answerModel,
		"choices": []any{choice},
	})
	return append(append([]byte("data: "), body...), "\n\n"...)
}

// completion returns the body of a plain answer; the program knows neither token counts nor a finish reason there.
func completion(text string) map[string]any {
	return map[string]any{
		"id": completionID, "object": "chat.completion", "created": 0, "model": answerModel,
		"usage": map[string]int{"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
		"choices": []any{map[string]any{
			"index": 0, "message": map[string]string{"role": "assistant", "content": text}, "finish_reason": nil,
		}},
	}
}
