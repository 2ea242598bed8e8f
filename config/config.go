// Package config turns flags and environment variables into settings.
//
// Every program declares its settings as a struct of the groups below; the tags
// give flag, environment variable, default and help, so what --help prints is
// what the code reads. A flag wins over its variable, a variable over the
// default.
//
// What always holds: Parse never starts anything and never exits; wrong usage is
// a *UsageError, which a main function answers with exit code 2.
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

// Parse fills cli, a pointer to a struct of settings, from args and the
// environment, and prints help to out where it is asked for. The context it
// returns names the chosen command.
func Parse(cli any, name, description string, args []string, out io.Writer, options ...kong.Option) (*kong.Context, error) {
	helped := false
	options = append([]kong.Option{
		kong.Name(name),
		kong.Description(description),
		kong.Writers(out, out),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.Exit(func(int) { helped = true }),
	}, options...)
	parser, err := kong.New(cli, options...)
	if err != nil {
		return nil, fmt.Errorf("settings of %s: %w", name, err)
	}
	ctx, err := parser.Parse(args)
	if helped {
		return nil, ErrHelp
	}
	if err != nil {
		return nil, &UsageError{fmt.Errorf("%w (see %s --help)", err, name)}
	}
	if err := check(ctx); err != nil {
		return nil, err
	}
	return ctx, nil
}

// check gathers the problems of every settings group on the chosen path.
func check(ctx *kong.Context) error {
	var all []error
	for _, target := range targets(ctx) {
		if p, ok := target.(problems); ok {
			all = append(all, p.Problems()...)
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
