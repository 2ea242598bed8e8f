package config

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// A Setting is one flag of a program and the value in effect.
type Setting struct {
	Flag     string // without dashes
	Variable string // environment variable; several are separated by commas
	Field    string // of terraform's output, "" where it has none
	Value    string
	Source   string // flag, the variable's name, FILE:LINE, FILE: OUTPUT.value.FIELD, or default
	Default  string
	Help     string
}

// Effective gives the settings that a program of Programs would run with, started
// with args in this environment, and the struct that holds them. Wrong settings
// are a *UsageError that names them all; the settings are those that would be in
// effect without the wrong ones.
func Effective(program string, args []string) ([]Setting, any, error) {
	cli, ok := Programs()[program]
	if !ok {
		return nil, nil, Usagef("program %q: its settings are not known; there are ingestor, compactor, backfill", program)
	}
	r := &reading{program: program, cli: cli, out: io.Discard, lax: true}
	if _, err := r.run(args); err != nil {
		return nil, nil, err
	}
	var all []Setting
	for _, flag := range r.model.Flags {
		if flag.Name != "help" {
			all = append(all, r.setting(flag))
		}
	}
	return all, cli, r.err()
}

// Given are the flags on the command line of ctx that a program of Programs has
// too, as arguments for it.
func Given(ctx *kong.Context, program string) []string {
	cli, ok := Programs()[program]
	if !ok {
		return nil
	}
	known := map[string]bool{}
	for _, flag := range modelOf(program, cli).Flags {
		known[flag.Name] = true
	}
	var args []string
	for _, p := range ctx.Path {
		if p.Flag != nil && !p.Resolved && known[p.Flag.Name] {
			args = append(args, "--"+p.Flag.Name+"="+text(p.Flag.Target))
		}
	}
	return args
}

func (r *reading) setting(flag *kong.Flag) Setting {
	s := Setting{
		Flag: flag.Name, Variable: strings.Join(flag.Envs, ", "), Source: r.sources[flag],
		Value: text(flag.Target), Default: flag.Default, Help: flag.Help,
	}
	if s.Source == "" {
		s.Source = "default"
	}
	if flag.IsBool() && s.Default == "" {
		s.Default = "false"
	}
	for _, v := range flag.Envs {
		if field, ok := terraformFields[v]; ok {
			s.Field = "storage_config." + field
		} else if v == "GOOGLE_CLOUD_PROJECT" {
			s.Field = "deployment_variables." + v
		}
	}
	return s
}

// text is a value as its flag takes it.
func text(v reflect.Value) string {
	switch v.Kind() {
	case reflect.Slice:
		var all []string
		for i := range v.Len() {
			all = append(all, fmt.Sprint(v.Index(i).Interface()))
		}
		return strings.Join(all, ",")
	case reflect.Map:
		var all []string
		for _, key := range v.MapKeys() {
			all = append(all, fmt.Sprintf("%v=%v", key.Interface(), v.MapIndex(key).Interface()))
		}
		slices.Sort(all)
		return strings.Join(all, ",")
	}
	return fmt.Sprint(v.Interface())
}

// Markdown describes every flag of a program, command by command, for the
// documentation: what it is called everywhere it can be set, its default and its
// meaning. It is made of what the program itself reads.
func Markdown(cli any, program string) string {
	r := &reading{program: program, cli: cli, out: io.Discard, sources: map[*kong.Flag]string{}, own: map[*kong.Flag]bool{}}
	if _, err := r.parser(); err != nil {
		return fmt.Sprintf("settings of %s: %v\n", program, err)
	}
	var b strings.Builder
	r.describe(&b, r.model.Node, program, nil)
	return b.String()
}

func (r *reading) describe(b *strings.Builder, n *kong.Node, title string, path []string) {
	var rows []Setting
	shared := false
	for _, flag := range n.Flags {
		switch {
		case flag.Name == "help":
		case len(path) > 0 && !r.own[flag]:
			shared = true // it stands among the shared settings
		default:
			rows = append(rows, r.setting(flag))
		}
	}
	if len(rows) > 0 {
		fmt.Fprintf(b, "### %s\n\n", title)
		if shared {
			fmt.Fprint(b, "Besides those of the lake, above:\n\n")
		}
		fmt.Fprint(b, "| flag and file key | variable | terraform output | default | meaning |\n|---|---|---|---|---|\n")
		for _, s := range rows {
			fmt.Fprintf(b, "| `--%s` | `%s` | %s | %s | %s |\n", s.Flag, s.Variable, code(s.Field), code(s.Default), escapeMarkdown.Replace(s.Help))
		}
		fmt.Fprintln(b)
	}
	for _, child := range n.Children {
		r.describe(b, child, title+" "+child.Name, append(append([]string{}, path...), child.Name))
	}
}

// escapeMarkdown keeps a help text from being taken for a cell's end or a tag.
var escapeMarkdown = strings.NewReplacer("|", "\\|", "<", "\\<")

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

// Problems are the mistakes that an error of Parse or Effective names.
func Problems(err error) []error {
	var usage *UsageError
	if !errors.As(err, &usage) {
		if err == nil {
			return nil
		}
		return []error{err}
	}
	if all, ok := usage.Err.(interface{ Unwrap() []error }); ok {
		return all.Unwrap()
	}
	return []error{usage.Err}
}
