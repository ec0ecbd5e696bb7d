// Copyright (c) 2026, the dcta.fleet authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bufio"
	"os"
	"strings"
)

// loadDotenv sets variables from a file; what the environment holds already stays. An absent file is no error.
func loadDotenv(path string) {
	file, err := os.Open(path)
	if err != nil {
		return
	}
	defer file.Close()
	known := map[string]string{}
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		name, value, ok := parseDotenvLine(lines.Text(), known)
		if !ok {
			continue
		}
		known[name] = value
		if _, set := os.LookupEnv(name); !set {
			os.Setenv(name, value)
		}
	}
}

// parseDotenvLine understands NAME=value, "export", comments and quotes. Outside single quotes "$NAME" becomes the
// value of an earlier line, or nothing: a password with a dollar needs single quotes.
func parseDotenvLine(line string, known map[string]string) (name, value string, ok bool) {
	line = strings.TrimPrefix(strings.TrimSpace(line), "export ")
	if line == "" || line[0] == '#' {
		return "", "", false
	}
	name, value, ok = strings.Cut(line, "=")
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	if !ok || name == "" {
		return "", "", false
	}
	expand := func(text string) string { return os.Expand(text, func(name string) string { return known[name] }) }
	if value != "" && (value[0] == '\'' || value[0] == '"') {
		if end := strings.IndexByte(value[1:], value[0]); end >= 0 {
			inner := value[1 : 1+end]
			if value[0] == '\'' {
				return name, inner, true
			}
			return name, expand(inner), true
		}
	}
	if comment := strings.Index(value, " #"); comment >= 0 {
		value = strings.TrimSpace(value[:comment])
	}
	return name, expand(value), true
}
