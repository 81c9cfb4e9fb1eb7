// Command local-model runs an agent on a model of this machine: it looks for a
// server (Ollama, llama.cpp, vLLM, LM Studio), takes the first model that it offers,
// and lets it say what a text is about. Nothing leaves the machine and nothing
// is paid. Where there is no server it says what to do, and exits with 1.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/cairn-run/cairn"
	v1 "github.com/cairn-run/cairn/api/v1"
	"github.com/cairn-run/cairn/client"
	"github.com/cairn-run/cairn/node"
)

const none = `no model server answers on this machine. Start one of these and try again:

  Ollama      install it from https://ollama.com, then: ollama pull qwen3:0.6b
  llama.cpp   llama-server -hf Qwen/Qwen3-0.6B-GGUF          (port 8080)
  LM Studio   start its server in the Developer tab           (port 1234)

Elsewhere than at its usual port: set OLLAMA_HOST, LLAMACPP_URL or VLLM_URL.
What can be reached is shown by: cairn models`

func main() {
	o := options{out: os.Stdout, getenv: os.Getenv}
	flag.StringVar(&o.agent, "agent", "examples/local-model/summary.md", "agent file")
	flag.StringVar(&o.text, "text", "README.md", "file that the model is given; its first 4,000 characters are")
	flag.StringVar(&o.model, "model", "", "provider/name; default: the first that is found")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	err := run(ctx, o)
	cancel()
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "local-model:", err)
		os.Exit(1)
	}
}

type options struct {
	agent, text, model string
	out                io.Writer
	getenv             func(string) string
}

// maxText is how much of the text the model is given, in bytes: it fits the window
// of a small model.
const maxText = 4000

func run(ctx context.Context, o options) (err error) {
	agent, err := node.ReadAgent(o.agent)
	if err != nil {
		return err
	}
	if agent.Model = o.model; agent.Model == "" {
		if agent.Model, err = find(ctx, o.getenv); err != nil {
			return err
		}
	}
	text, err := os.ReadFile(o.text)
	if err != nil {
		return err
	}
	if len(text) > maxText {
		text = text[:maxText]
	}
	dir, err := os.MkdirTemp("", "cairn-local-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	n, err := node.Open(ctx, node.Options{Dir: dir})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	if err := n.Start(ctx); err != nil {
		return err
	}
	if _, _, err := n.Apply(ctx, cairn.DefaultTenant, agent); err != nil {
		return err
	}
	s, err := n.Client().CreateSession(ctx, v1.CreateSession{
		Agent: agent.Name, Input: v1.Text(strings.ToValidUTF8(string(text), "")), Once: true,
	})
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(o.out, "%s reads %s …\n", agent.Model, o.text)
	return watch(ctx, n.Client(), s.ID, o.out)
}

// find is the first model of a server of this machine.
func find(ctx context.Context, getenv func(string) string) (string, error) {
	found, err := node.OpenProviders(node.ProviderOptions{Getenv: getenv})
	if err != nil {
		return "", err
	}
	for _, p := range found.All() {
		if !p.Local {
			continue
		}
		models, err := p.Models(ctx)
		if err != nil {
			continue // it does not run
		}
		for _, m := range models {
			if !strings.Contains(m.Name, "embed") { // such a model answers nothing
				return p.Name + "/" + m.Name, nil
			}
		}
	}
	return "", errors.New(none)
}

// watch prints what the model says while it says it, and how the run ended. What is
// said live is not kept for who comes late: the recorded answer completes it.
func watch(ctx context.Context, c *client.Client, id cairn.SessionID, out io.Writer) error {
	said := ""
	for item, err := range c.Stream(ctx, id, 0, client.UntilIdle()) {
		if err != nil {
			return err
		}
		if item.Delta != nil && item.Delta.Kind == cairn.PartText {
			said += item.Delta.Text
			_, _ = io.WriteString(out, item.Delta.Text)
		}
		if item.Event == nil {
			continue
		}
		e, err := item.Event.Cairn()
		if err != nil {
			return err
		}
		switch d := e.Data.(type) {
		case cairn.ModelCompleted:
			if rest, ok := strings.CutPrefix(cairn.TextOf(d.Answer.Content), said); ok {
				_, _ = io.WriteString(out, rest)
			}
			said = ""
		case cairn.ModelRetried:
			said = ""
			_, _ = fmt.Fprintf(out, "\nattempt %d failed (%s); the next one starts anew\n", d.Attempt, d.Error.Message)
		case cairn.RunCompleted:
			_, _ = fmt.Fprintf(out, "\n%d tokens in, %d out, %s, %s\n", d.Summary.Usage.Prompt(), d.Summary.Usage.Output, d.Summary.Cost,
				time.Duration(d.Summary.Duration).Round(time.Millisecond))
		case cairn.RunFailed:
			return &d.Error
		}
	}
	return nil
}
