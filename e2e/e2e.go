// Package e2e runs the programs as an operator would, in processes of their own,
// against real parts, and checks the lake they leave.
//
// The tests build the commands, start what they need (an embedded Pub/Sub, a GCS
// server) and stop it. With -broker they use a Pub/Sub emulator that is running
// already, with -data captured files of real publishers:
//
//	go test ./e2e -run Captured -data DIR -broker 127.0.0.1:8085 -v
//	go test ./e2e -run Killed -broker 127.0.0.1:8085 -kills 3 -messages 20000 -v
//
// It holds nothing that a program uses.
package e2e
