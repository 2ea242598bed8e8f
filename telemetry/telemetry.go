// Package telemetry makes the logger that every part is handed.
//
// A log line is for a moment that matters to an operator (start, flush failure,
// drain, summary), never for a message. Telemetry reads outcomes, it never
// decides them: nothing on the path waits for a log line or depends on one.
package telemetry

import (
	"fmt"
	"io"
	"os"
	"strings"

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
