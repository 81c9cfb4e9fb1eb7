package node

import (
	"context"
	"sync"
	"time"

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/model"
	"github.com/cairn-run/cairn/model/openai"
)

const (
	// windowKept is how long a window is believed: the server may be started anew.
	windowKept = time.Minute
	// windowTimeout bounds one question: a step waits for it.
	windowTimeout = 2 * time.Second
	// maxWindows bounds how many models are remembered, and how many of a list are
	// asked about one by one.
	maxWindows = 64
)

// localWindows adds to what is known of a local server's models how large a window
// the server gives them: no table knows that, and it is not that of the model.
type localWindows struct {
	model.Driver
	provider *Provider

	mu    sync.Mutex
	known map[string]window
}

type window struct {
	tokens int64 // 0: it was not said
	until  time.Time
}

// Info asks the server. When it does not answer, the window is unknown.
func (l *localWindows) Info(ctx context.Context, name string) (cairn.ModelInfo, error) {
	info, err := l.Driver.Info(ctx, name)
	if err == nil && info.Window == 0 {
		info.Window = l.window(ctx, name)
	}
	return info, err
}

// List asks the server for its models, and then for those windows that it did not
// say.
func (l *localWindows) List(ctx context.Context) ([]cairn.ModelInfo, error) {
	lister, ok := l.Driver.(model.Lister)
	if !ok {
		return nil, cairn.Errorf(cairn.CodeInvalid, "%s does not list its models", l.provider.Name)
	}
	list, err := lister.List(ctx)
	if err != nil {
		return nil, err
	}
	for i := range list {
		if list[i].Window == 0 && i < maxWindows && l.provider.known.name == ollama {
			list[i].Window = l.window(ctx, list[i].Name)
		}
	}
	return list, nil
}

const ollama = "ollama"

// window is what the server said within the last minute, or says now.
func (l *localWindows) window(ctx context.Context, name string) int64 {
	now := l.provider.now()
	l.mu.Lock()
	w, ok := l.known[name]
	l.mu.Unlock()
	if ok && now.Before(w.until) {
		return w.tokens
	}
	ctx, cancel := context.WithTimeout(ctx, windowTimeout)
	defer cancel()
	w = window{tokens: l.ask(ctx, name), until: now.Add(windowKept)}
	if w.tokens == 0 {
		w.until = now.Add(windowKept / 6)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.known) >= maxWindows || l.known == nil {
		l.known = map[string]window{}
	}
	l.known[name] = w
	return w.tokens
}

func (l *localWindows) ask(ctx context.Context, name string) int64 {
	if l.provider.known.name == ollama {
		tokens, err := openai.OllamaWindow(ctx, l.provider.url, name)
		if err != nil {
			return 0 // the call itself will say what is wrong
		}
		return tokens
	}
	lister, ok := l.Driver.(model.Lister)
	if !ok {
		return 0
	}
	list, err := lister.List(ctx)
	if err != nil {
		return 0
	}
	for _, m := range list {
		if m.Name == name {
			return m.Window
		}
	}
	return 0
}
