// What cert-manager has a pod answer a challenge with, with the flags that its controller gives it.
package main

import (
	"flag"
	"log"

	"github.com/cert-manager/cert-manager/pkg/issuer/acme/http/solver"
	"github.com/go-logr/logr"
)

func main() {
	var answer solver.HTTP01Solver
	flag.IntVar(&answer.ListenPort, "listen-port", 8089, "port")
	flag.StringVar(&answer.Domain, "domain", "", "host that is asked for")
	flag.StringVar(&answer.Token, "token", "", "last part of the path")
	flag.StringVar(&answer.Key, "key", "", "the answer")
	flag.Parse()
	log.Fatal(answer.Listen(logr.Discard()))
}
