package builtin

import "context"

// maxReaders bounds the reading calls of one session that are made at once.
const maxReaders = 16

// turns lets the calls of one session take their turns: many that read, or one that
// writes.
type turns struct {
	writer chan struct{} // holds a token while somebody writes or waits for the readers
	places chan struct{} // a token for each reader; a writer holds all
}

func newTurns() turns {
	return turns{make(chan struct{}, 1), make(chan struct{}, maxReaders)}
}

// read waits for a reader's turn. What it returns ends it.
func (t turns) read(ctx context.Context) (func(), error) {
	if err := take(ctx, t.places); err != nil {
		return nil, err
	}
	return func() { <-t.places }, nil
}

// write waits for the only turn.
func (t turns) write(ctx context.Context) (func(), error) {
	if err := take(ctx, t.writer); err != nil {
		return nil, err
	}
	for n := range maxReaders {
		if err := take(ctx, t.places); err != nil {
			t.leave(n)
			return nil, err
		}
	}
	return func() { t.leave(maxReaders) }, nil
}

// tryWrite takes the only turn if nobody has one.
func (t turns) tryWrite() (func(), bool) {
	select {
	case t.writer <- struct{}{}:
	default:
		return nil, false
	}
	for n := range maxReaders {
		select {
		case t.places <- struct{}{}:
		default:
			t.leave(n)
			return nil, false
		}
	}
	return func() { t.leave(maxReaders) }, true
}

func (t turns) leave(places int) {
	for range places {
		<-t.places
	}
	<-t.writer
}

// take puts a token into a channel that bounds something.
func take(ctx context.Context, places chan struct{}) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	select {
	case places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
