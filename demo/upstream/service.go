// Copyright (c) 2026, the dcta.fleet authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
)

const permitHeader = "Openai-Sentinel-Chat-Requirements-Token"

// serviceURL is what the variant of 2025 asks around its chats; the real program knows one name only.
var serviceURL = valueOr(os.Getenv("STANDIN_SERVICE_URL"), "https://chatgpt.com")

// access is the part of the service's paths that tells accounts from everybody.
func access(token secret) string {
	if token.Token == "" {
		return "/backend-anon"
	}
	return "/backend-api"
}

// service is the chat service as the variant of 2025 knows it.
type service struct {
	frontPage sync.Once
}

// permit asks what a chat requires and returns what has to go with it. Only an answer that is no JSON and a demand for a
// login count as a refusal: with any other the program goes on, and the chat itself is refused.
func (s *service) permit(ctx context.Context, client *http.Client, token secret) (permit string, ok bool) {
	s.frontPage.Do(func() {
		// The program looks for names of scripts there, and goes on without.
		if response, err := client.Get(serviceURL + "/?oai-dm=1"); err == nil {
			response.Body.Close()
		}
	})
	address := serviceURL + access(token) + "/sentinel/chat-requirements"
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader("{}"))
	if err != nil {
		return "", false
	}
	request.Header.Set("Content-Type", "application/json")
	authorize(request, token)
	response, err := client.Do(request)
	if err != nil {
		return "", false
	}
	defer response.Body.Close()
	var answer struct {
		Token      string `json:"token"`
		ForceLogin bool   `json:"force_login"`
	}
	if json.NewDecoder(response.Body).Decode(&answer) != nil || answer.ForceLogin {
		return "", false
	}
	return answer.Token, true
}

// loginPage asks the service where a login begins, and for the page there.
func loginPage(client *http.Client) (string, error) {
	var answer map[string]string
	token, err := client.Get(serviceURL + "/api/auth/csrf")
	if err != nil {
		return "", err
	}
	defer token.Body.Close()
	if token.StatusCode != http.StatusOK || json.NewDecoder(token.Body).Decode(&answer) != nil {
		return "", errors.New(token.Status)
	}
	form := url.Values{"callbackUrl": {"/"}, "csrfToken": {answer["csrfToken"]}, "json": {"true"}}
	begin, err := client.PostForm(serviceURL+"/api/auth/signin/openai", form)
	if err != nil {
		return "", err
	}
	defer begin.Body.Close()
	if begin.StatusCode != http.StatusOK || json.NewDecoder(begin.Body).Decode(&answer) != nil {
		return "", errors.New(begin.Status)
	}
	page, err := client.Get(answer["url"])
	if err != nil {
		return "", err
	}
	defer page.Body.Close()
	if page.StatusCode != http.StatusOK {
		return "", errors.New(page.Status)
	}
	return answer["url"], nil
}
