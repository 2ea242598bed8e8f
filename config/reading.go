package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"strings"

	"github.com/alecthomas/kong"
)

// Sources are the settings that say where further settings are; every program
// has them.
type Sources struct {
	Config          string `env:"BUFFET_CONFIG" placeholder:"FILE" help:"Settings file: YAML or JSON with the flags' names as keys. A flag or variable wins over it."`
	TerraformOutput string `env:"TERRAFORM_OUTPUT" placeholder:"FILE" help:"What terraform output -json printed: buckets, service account, key, region and project where nothing else says them."`
}

// A reading is one look at everything that sets a program's flags. It gathers what
// is wrong instead of stopping at the first mistake.
type reading struct {
	program     string
	description string
	cli         any
	out         io.Writer
	options     []kong.Option
	lax         bool // required flags may be missing

	problems []error               // in the order found
	sources  map[*kong.Flag]string // where a value came from, for those that are not the default
	own      map[*kong.Flag]bool   // flags of one command alone, whose variables are made of their names
	places   []place               // opened at the first question
	opened   bool
	current  string // source of the value being decoded; "" on the command line
	model    *kong.Application
	helped   bool
}

// A place is somewhere that settings may stand, besides flags.
type place interface {
	// lookup gives the value for a flag and where it stands, or nil.
	lookup(path []string, flag *kong.Flag) (value any, source string, err error)
}

// run reads everything for args. The context is nil where not even the command
// could be made out.
func (r *reading) run(args []string) (*kong.Context, error) {
	var stripped []error
	last := -1 // where an unknown flag was taken out, whose value may follow
	for {
		ctx, err := r.attempt(args)
		if r.helped {
			return nil, ErrHelp
		}
		if err != nil && ctx == nil {
			return nil, fmt.Errorf("settings of %s: %w", r.program, err)
		}
		if ctx.Error != nil {
			if i := culprit(ctx.Error, args, last); i >= 0 {
				if i != last {
					stripped = append(stripped, r.hint(ctx.Error))
				}
				last = i
				args = append(append([]string{}, args[:i]...), args[i+1:]...)
				continue
			}
		}
		r.problems = append(stripped, r.problems...)
		if err != nil {
			r.problems = append(r.problems, r.hint(errors.Unwrap(err)))
		}
		if ctx.Error == nil {
			r.problems = append(r.problems, r.groups(ctx)...)
		}
		return ctx, nil
	}
}

func (r *reading) hint(err error) error { return fmt.Errorf("%w (see %s --help)", err, r.program) }

// culprit finds the argument that a trace stumbled over: an unknown flag, or what
// follows one that was taken out at last. -1: something else is wrong.
func culprit(err error, args []string, last int) int {
	message := err.Error()
	about := func(start string) bool {
		rest, ok := strings.CutPrefix(message, start)
		return ok && (rest == "" || strings.HasPrefix(rest, ", "))
	}
	if last >= 0 && last < len(args) && about("unexpected argument "+args[last]) {
		return last
	}
	for i, arg := range args {
		name, _, _ := strings.Cut(arg, "=")
		if strings.HasPrefix(name, "-") && about("unknown flag "+name) {
			return i
		}
	}
	return -1
}

// attempt parses args once with a parser of its own.
func (r *reading) attempt(args []string) (*kong.Context, error) {
	r.problems, r.sources, r.own = nil, map[*kong.Flag]string{}, map[*kong.Flag]bool{}
	r.places, r.opened, r.current = nil, false, ""
	parser, err := r.parser()
	if err != nil {
		return nil, err
	}
	ctx, err := parser.Parse(args)
	var failed *kong.ParseError
	if errors.As(err, &failed) {
		ctx = failed.Context
	}
	if ctx != nil {
		for _, p := range ctx.Path {
			if p.Flag != nil && !p.Resolved {
				r.sources[p.Flag] = "flag"
			}
		}
	}
	return ctx, err
}

func (r *reading) parser() (*kong.Kong, error) {
	options := append([]kong.Option{
		kong.Name(r.program),
		kong.Description(r.description),
		kong.Writers(r.out, r.out),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.Exit(func(int) { r.helped = true }),
		kong.Embed(&Sources{}),
		kong.ValueFormatter(helpOf),
		kong.Resolvers(kong.ResolverFunc(r.resolve)),
	}, r.options...)
	parser, err := kong.New(r.cli, options...)
	if err != nil {
		return nil, err
	}
	r.model = parser.Model
	r.prepare(parser.Model.Node, nil)
	return parser, nil
}

// helpOf is a flag's help with its variable.
func helpOf(v *kong.Value) string {
	if v.Flag == nil || len(v.Flag.Envs) == 0 {
		return v.Help
	}
	return strings.TrimSuffix(v.Help, ".") + " ($" + strings.Join(v.Flag.Envs, ", $") + ")."
}

// prepare gives every flag a variable, and takes over from the parser what it
// would stop at: variables, choices, and values that cannot be read.
func (r *reading) prepare(node *kong.Node, path []string) {
	for _, flag := range node.Flags {
		if flag.Name == "help" {
			continue
		}
		if len(flag.Envs) == 0 {
			flag.Envs = []string{variable(append(append([]string{r.program}, path...), flag.Name))}
			r.own[flag] = len(path) > 0
		}
		flag.Mapper = &lenient{r: r, flag: flag, inner: flag.Mapper, enum: flag.Enum}
		flag.Enum, flag.Tag.Enum, flag.Tag.Envs = "", "", nil
		flag.Required = flag.Required && !r.lax
	}
	for _, child := range node.Children {
		r.prepare(child, append(append([]string{}, path...), child.Name))
	}
}

// variable is the systematic name of a flag's variable: BUFFETCTL_QUERY_LIMIT.
func variable(words []string) string {
	return strings.ToUpper(strings.ReplaceAll(strings.Join(words, "_"), "-", "_"))
}

// A lenient mapper notes what it cannot read and goes on with the default.
type lenient struct {
	r     *reading
	flag  *kong.Flag
	inner kong.Mapper
	enum  string
}

// Decode implements kong.Mapper.
func (l *lenient) Decode(ctx *kong.DecodeContext, target reflect.Value) error {
	err := l.decode(ctx, target)
	if err == nil {
		return nil
	}
	l.r.problems = append(l.r.problems, fmt.Errorf("--%s: %w%s", l.flag.Name, err, from(l.r.current)))
	if l.flag.IsCumulative() {
		return nil
	}
	target.SetZero()
	if !l.flag.HasDefault {
		return nil
	}
	token := kong.Token{Type: kong.FlagValueToken, Value: l.flag.Default}
	return l.inner.Decode(ctx.WithScanner(kong.ScanFromTokens(token)), target)
}

func (l *lenient) decode(ctx *kong.DecodeContext, target reflect.Value) error {
	if next := ctx.Scan.Peek(); !l.flag.IsBool() && !next.IsValue() {
		if !negative.MatchString(next.String()) {
			return errors.New("a value is needed") // what follows is a flag, or nothing
		}
		ctx.Scan.Pop()
		ctx.Scan.PushTyped(next.Value, kong.FlagValueToken)
	}
	if err := l.inner.Decode(ctx, target); err != nil {
		return err
	}
	return l.choice(target)
}

// negative is a number that is no flag for all its dash.
var negative = regexp.MustCompile(`^-[.0-9]`)

func (l *lenient) choice(target reflect.Value) error {
	if l.enum == "" {
		return nil
	}
	got := fmt.Sprint(target.Interface())
	choices := strings.Split(l.enum, ",")
	for _, c := range choices {
		if strings.TrimSpace(c) == got {
			return nil
		}
	}
	return fmt.Errorf("must be one of %s but got %q", strings.Join(choices, ", "), got)
}

func from(source string) string {
	if source == "" || source == "flag" {
		return ""
	}
	return " (from " + source + ")"
}

// resolve implements kong.Resolver for the flags that the command line does not
// set: variable, file, terraform's output, in this order.
func (r *reading) resolve(ctx *kong.Context, parent *kong.Path, flag *kong.Flag) (any, error) {
	r.open(ctx)
	var path []string
	for n := parent.Node(); n != nil && n.Type != kong.ApplicationNode; n = n.Parent {
		path = append([]string{n.Name}, path...)
	}
	for _, p := range r.places {
		value, source, err := p.lookup(path, flag)
		if err != nil {
			r.problems = append(r.problems, err)
		}
		if value != nil {
			r.current, r.sources[flag] = source, source
			return value, nil
		}
	}
	return nil, nil
}

// open opens the places that the command line or the environment, and for
// terraform's output also the file, names.
func (r *reading) open(ctx *kong.Context) {
	if r.opened {
		return
	}
	r.opened = true
	r.places = []place{environment{}}
	if name, source := r.sourceFile(ctx, "config"); name != "" {
		f, problems := openFile(name, r)
		if f != nil {
			r.places = append(r.places, f)
		} else {
			problems = annotate(problems, source)
		}
		r.problems = append(r.problems, problems...)
	}
	if name, source := r.sourceFile(ctx, "terraform-output"); name != "" {
		o, problems := openOutputs(name)
		if o != nil {
			r.places = append(r.places, o)
		} else {
			problems = annotate(problems, source)
		}
		r.problems = append(r.problems, problems...)
	}
}

// sourceFile is the value of one of Sources, before the others are resolved.
func (r *reading) sourceFile(ctx *kong.Context, name string) (value, source string) {
	for _, flag := range r.model.Flags {
		if flag.Name != name {
			continue
		}
		for _, p := range ctx.Path {
			if p.Flag == flag {
				return fmt.Sprint(ctx.FlagValue(flag)), "--" + name
			}
		}
		for _, p := range r.places {
			if v, source, err := p.lookup(nil, flag); v != nil && err == nil {
				return fmt.Sprint(v), source
			}
		}
	}
	return "", ""
}

func annotate(problems []error, source string) []error {
	for i, err := range problems {
		problems[i] = fmt.Errorf("%w%s", err, from(source))
	}
	return problems
}

// environment is the variables of the process. An empty one counts as not set.
type environment struct{}

func (environment) lookup(_ []string, flag *kong.Flag) (any, string, error) {
	for _, name := range flag.Envs {
		if v := os.Getenv(name); v != "" {
			return v, name, nil
		}
	}
	return nil, "", nil
}

// groups gathers the problems of every settings group on the chosen path, with
// the place of each wrong value.
func (r *reading) groups(ctx *kong.Context) []error {
	sources := map[string]string{}
	for _, flag := range ctx.Flags() {
		sources[flag.Name] = r.sources[flag]
	}
	var all []error
	for _, target := range targets(ctx) {
		var found []error
		switch p := target.(type) {
		case inspector:
			found = p.ProblemsIn(ctx)
		case problems:
			found = p.Problems()
		}
		for _, err := range found {
			if m := aboutFlag.FindStringSubmatch(err.Error()); m != nil && !strings.Contains(err.Error(), " (from ") {
				err = fmt.Errorf("%w%s", err, from(sources[m[1]]))
			}
			all = append(all, err)
		}
	}
	return all
}

// An inspector is a command that looks at settings of other programs: what is
// wrong with them is to be said together with what is wrong with its own.
type inspector interface {
	ProblemsIn(ctx *kong.Context) []error
}

// aboutFlag is how problems begin that are about a flag's value.
var aboutFlag = regexp.MustCompile(`^--([a-z-]+)[ :=]`)
