package telemetry

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/term"
)

// NewLogger makes a logger that writes to w in the given format (auto, json or
// console) from the given level up. auto is console where w is a terminal and
// json elsewhere.
func NewLogger(w io.Writer, format, level string) (*zap.Logger, error) {
	least, err := zapcore.ParseLevel(level)
	if err != nil {
		return nil, fmt.Errorf("log level %q: want debug, info, warn or error", level)
	}
	encoding := zap.NewProductionEncoderConfig()
	encoding.TimeKey = "time"
	encoding.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	encoding.EncodeDuration = zapcore.StringDurationEncoder
	encoder := zapcore.NewJSONEncoder(encoding)
	if format == "console" || format == "auto" && Terminal(w) {
		encoding.EncodeTime = zapcore.TimeEncoderOfLayout("15:04:05.000")
		encoding.EncodeLevel = zapcore.CapitalLevelEncoder
		encoder = zapcore.NewConsoleEncoder(encoding)
	}
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(escaper{w})), least)), nil
}

// An escaper writes the line and paragraph separators U+2028 and U+2029 as
// escapes: zap lets them through, and some readers of logs break lines at them.
type escaper struct{ w io.Writer }

var separators = strings.NewReplacer("\u2028", `\u2028`, "\u2029", `\u2029`)

func (e escaper) Write(line []byte) (int, error) {
	if _, err := separators.WriteString(e.w, string(line)); err != nil {
		return 0, err
	}
	return len(line), nil
}

// Terminal says whether somebody may be watching w.
func Terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// With gives a log whose lines carry the trace_id and span_id of ctx's span; log
// itself where there is none.
func With(ctx context.Context, log *zap.Logger) *zap.Logger {
	span := trace.SpanContextFromContext(ctx)
	if !span.IsValid() {
		return log
	}
	return log.With(zap.Stringer("trace_id", span.TraceID()), zap.Stringer("span_id", span.SpanID()))
}
