// An application for a cluster: says who answers, who connected and what was asked. It is ready from
// the start, ends on SIGTERM only when every answer that was begun is given, and goes on accepting
// for a while before that, as an application has to that wants to be rolled out without an error.
package main

import (
	"context"
	"encoding/json"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// How long a pod is asked on after it was told to end: until everybody has heard of it.
const lameDuck = 5 * time.Second

func main() {
	name, _ := os.Hostname()
	server := http.Server{Addr: ":8080", Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		headers := map[string]string{}
		for key, values := range r.Header {
			headers[strings.ToLower(key)] = strings.Join(values, ", ")
		}
		headers["host"] = r.Host
		w.Header().Set("content-type", "application/json")
		// A client that goes away is no concern of ours.
		_ = json.NewEncoder(w).Encode(map[string]any{
			"pod": name, "method": r.Method, "path": r.URL.Path, "headers": headers, "peer": r.RemoteAddr,
		})
	})}
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGINT, syscall.SIGTERM)
	ended := make(chan struct{})
	go func() {
		<-end
		time.Sleep(lameDuck)
		_ = server.Shutdown(context.Background())
		close(ended)
	}()
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		log.Fatal(err)
	}
	<-ended
}
