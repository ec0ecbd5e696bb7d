// Copyright (c) 2026, the dcta.fleet authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
)

// loginAddress finds where a login of the program's own posts its password.
type loginAddress func(client *http.Client) (string, error)

// fixedLoginAddress is that of the variants of 2023 in a form of this stand-in.
func fixedLoginAddress(*http.Client) (string, error) {
	if address := os.Getenv("STANDIN_LOGIN_URL"); address != "" {
		return address, nil
	}
	return "", errors.New("this stand-in has nobody to log in to")
}

// logIn is the program's own login in a form of this stand-in: it posts a name and a password to one address. The answer
// 200 brings a token, and 202 asks for a code, which is asked on standard input, and posted, until it is right.
func logIn(proxies *proxyRing, find loginAddress, name, password string) (string, error) {
	fmt.Fprintln(os.Stderr, "Updating access token for "+name)
	token, err := postLogin(proxies.client(), find, name, password)
	if err != nil {
		fmt.Fprintf(os.Stderr, "Location: begin\nStatus code: 0\nDetails: %s\n", err)
		return "", err
	}
	fmt.Fprintln(os.Stderr, "Success!")
	return token, nil
}

func postLogin(client *http.Client, find loginAddress, name, password string) (string, error) {
	address, err := find(client)
	if err != nil {
		return "", err
	}
	response, err := client.PostForm(address, url.Values{"username": {name}, "password": {password}})
	for err == nil && response.StatusCode == http.StatusAccepted {
		response.Body.Close()
		fmt.Print("Log-in Code of " + name + ": ")
		var code string
		// At the end of input this returns at once, so the loop runs without a pause.
		fmt.Scanln(&code)
		response, err = client.PostForm(address, url.Values{"username": {name}, "code": {code}})
	}
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	var answer struct {
		Token string `json:"access_token"`
	}
	if response.StatusCode != http.StatusOK || json.NewDecoder(response.Body).Decode(&answer) != nil {
		return "", errors.New(response.Status)
	}
	return answer.Token, nil
}
