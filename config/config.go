// Package config turns flags, environment variables, a settings file and
// terraform's output into settings.
//
// Every program declares its settings as a struct of the groups below; the tags
// give flag, environment variable, default and help, so what --help prints is
// what the code reads. A flag that has no variable of its own gets one made of
// the program's, the command's and its own name: BUFFETCTL_QUERY_LIMIT. What is
// set in several places is taken from the first of them:
//
//	flag > environment variable > settings file > terraform output > default
//
// What always holds: Parse never starts anything and never exits; wrong usage is
// a *UsageError, which a main function answers with exit code 2, and which names
// every mistake at once, each with the place it was made in.
package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kong"
)

// A UsageError is a wrong flag, argument or setting: exit code 2.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }
func (e *UsageError) Unwrap() error { return e.Err }

// Usagef makes a UsageError.
func Usagef(format string, args ...any) error {
	return &UsageError{fmt.Errorf(format, args...)}
}

// ErrHelp says that help was asked for and printed: exit code 0.
var ErrHelp = errors.New("help was printed")

// A settings group that has problems is asked for all of them at once.
type problems interface{ Problems() []error }

// Parse fills cli, a pointer to a struct of settings, from args, the environment
// and the files that these name, and prints help to out where it is asked for.
// The context it returns names the chosen command.
func Parse(cli any, name, description string, args []string, out io.Writer, options ...kong.Option) (*kong.Context, error) {
	r := &reading{program: name, description: description, cli: cli, out: out, options: options}
	ctx, err := r.run(args)
	if err != nil {
		return nil, err
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	return ctx, nil
}

// err is all problems as one error, each once.
func (r *reading) err() error {
	var all []error
	seen := map[string]bool{}
	for _, err := range r.problems {
		if !seen[err.Error()] {
			seen[err.Error()] = true
			all = append(all, err)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return &UsageError{errors.Join(all...)}
}

func targets(ctx *kong.Context) []any {
	var all []any
	for _, p := range ctx.Path {
		if node := p.Node(); node != nil && node.Target.CanAddr() {
			all = append(all, node.Target.Addr().Interface())
		}
	}
	return all
}

// Exit prints err as one clear line to stderr and gives the exit code: 0 done,
// 1 failed, 2 wrong usage or settings.
func Exit(program string, err error) int {
	var usage *UsageError
	switch {
	case err == nil, errors.Is(err, ErrHelp):
		return 0
	case errors.As(err, &usage):
		for line := range strings.SplitSeq(err.Error(), "\n") {
			fmt.Fprintf(os.Stderr, "%s: %s\n", program, line)
		}
		return 2
	default:
		fmt.Fprintf(os.Stderr, "%s: %s\n", program, strings.ReplaceAll(err.Error(), "\n", "; "))
		return 1
	}
}
