// Copyright (c) 2026, the dcta.fleet authors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// A stand-in for ChatGPT-to-API: it keeps the contract of the variant that STANDIN_PROFILE names (see profile.go)
// and nothing more.
package main

import (
	"context"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const (
	defaultAdminPassword = "TotallySecurePassword"
	hammerTime           = 60 * time.Second
)

func listenAddress(profile profile) string {
	port := os.Getenv("SERVER_PORT")
	if port == "" && profile.portFallback {
		port = os.Getenv("PORT")
	}
	return net.JoinHostPort(valueOr(os.Getenv("SERVER_HOST"), "127.0.0.1"), valueOr(port, "8080"))
}

func valueOr(value, fallback string) string {
	if value == "" {
		return fallback
	}
	return value
}

func newProgram(profile profile, clock clock) *program {
	proxies := readProxies(profile)
	return &program{
		profile:       profile,
		proxies:       proxies,
		tokens:        profile.openTokens(clock, proxies),
		service:       &service{},
		keys:          &keyRing{},
		access:        log.New(os.Stdout, "", 0),
		adminPassword: valueOr(os.Getenv("ADMIN_PASSWORD"), defaultAdminPassword),
	}
}

func main() {
	loadDotenv(".env")
	name := valueOr(os.Getenv("STANDIN_PROFILE"), "acheong08_2023_08")
	profile, ok := profiles[name]
	if !ok {
		log.Fatalf("STANDIN_PROFILE is %q: give the name of a profile of this program", name)
	}
	address := listenAddress(profile)
	// The working directory is read before the port is open: a program that panics here was never reachable.
	handler := newProgram(profile, systemClock)
	listener, err := net.Listen("tcp", address)
	if err != nil {
		// Exit status 0, as the program itself: only a probe of the port tells that it does not serve.
		log.Println(err)
		return
	}
	serve(listener, handler)
}

// serve answers until a signal comes, then refuses new connections at once and gives the open ones 60 seconds.
func serve(listener net.Listener, handler http.Handler) {
	signals := make(chan os.Signal, 8)
	// The program forks at SIGHUP and its parent ends with status 0; a service manager sees only that end.
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR2)
	signal.Ignore(syscall.SIGUSR1, syscall.SIGTSTP)
	server := &http.Server{Handler: handler, ErrorLog: log.Default()}
	log.Println(os.Getpid(), listener.Addr())
	go server.Serve(listener)
	for <-signals == syscall.SIGUSR2 {
		log.Println("SIGUSR2 counts only while stopping")
	}
	deadline, hammer := context.WithTimeout(context.Background(), hammerTime)
	defer hammer()
	go func() {
		for number := range signals {
			if number == syscall.SIGUSR2 {
				hammer()
			}
		}
	}()
	if server.Shutdown(deadline) != nil {
		log.Println("open connections are cut")
		server.Close()
	}
}
