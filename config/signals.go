package config

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// Signals gives a context that ends when the program is asked to end, by SIGTERM
// or an interrupt. Asked twice, the program ends at once, with exit code 1.
func Signals(program string) context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	asked := make(chan os.Signal, 2)
	signal.Notify(asked, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-asked
		cancel()
		<-asked
		fmt.Fprintf(os.Stderr, "%s: asked twice to end: ended at once, with work unfinished; start it again, and it is taken up\n", program)
		os.Exit(1)
	}()
	return ctx
}
