package airline

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// Trajectory is one recorded conversation of GPT-4o with the desk and a
// simulated user.
type Trajectory struct {
	Name         string // "task-4-trial-1": a task was tried several times
	Instructions string // the system message
	// Replies are the model's answers in order.
	Replies []Reply
	// Turns are what the user said, each with the number of replies before it.
	// Every turn is answered by a reply: a last word that nothing answers is Farewell.
	Turns    []Turn
	Farewell string
	// Results are the tools' answers in the order of the calls.
	Results []Result
	// Truth is the reference's hash of the database after the actions that would
	// have been right, in TruthActions; empty: it was not recorded.
	Truth        string
	TruthActions []Call
	// Right says that the database of this trajectory ended with that hash.
	Right bool
}

// Reply is one answer of the model: text, calls or both.
type Reply struct {
	Text  string
	Calls []Call
	// Closing marks a reply that was not recorded: the recording ends with a
	// tool's result, and a model would be asked once more.
	Closing bool
}

// Call is a tool call as the model wrote it.
type Call struct {
	ID, Tool, Args string
}

// Result is a tool's answer as it was recorded.
type Result struct {
	Call
	Reply int // index of the reply that called
	Text  string
}

// Turn is one message of the user.
type Turn struct {
	Text  string
	After int // replies that were given before it
}

// closing is the text of a closing reply.
const closing = "Thank you for your patience. Goodbye."

type recordedTrajectory struct {
	Task  int `json:"task_id"`
	Trial int `json:"trial"`
	Info  struct {
		Task struct {
			Actions []struct {
				Name string          `json:"name"`
				Args json.RawMessage `json:"kwargs"`
			} `json:"actions"`
		} `json:"task"`
		Reward struct {
			Info struct {
				Right json.RawMessage `json:"r_actions"`
				Hash  string          `json:"gt_data_hash"`
			} `json:"info"`
		} `json:"reward_info"`
	} `json:"info"`
	Messages []recordedMessage `json:"traj"`
}

type recordedMessage struct {
	Role    string `json:"role"`
	Content string `json:"content"`
	CallID  string `json:"tool_call_id"`
	Calls   []struct {
		ID       string `json:"id"`
		Function struct {
			Name      string `json:"name"`
			Arguments string `json:"arguments"`
		} `json:"function"`
	} `json:"tool_calls"`
}

// Trajectories reads gpt-4o-trajectories.json of a directory.
func Trajectories(dir string) ([]Trajectory, error) {
	b, err := os.ReadFile(filepath.Join(dir, "gpt-4o-trajectories.json"))
	if err != nil {
		return nil, fmt.Errorf("airline: %w", err)
	}
	var recorded []recordedTrajectory
	if err := json.Unmarshal(b, &recorded); err != nil {
		return nil, fmt.Errorf("airline: trajectories: %w", err)
	}
	all := make([]Trajectory, 0, len(recorded))
	for _, r := range recorded {
		t, err := r.convert()
		if err != nil {
			return nil, fmt.Errorf("airline: trajectory %s: %w", t.Name, err)
		}
		all = append(all, t)
	}
	return all, nil
}

func (r recordedTrajectory) convert() (Trajectory, error) {
	right := string(r.Info.Reward.Info.Right)
	t := Trajectory{
		Name:  fmt.Sprintf("task-%d-trial-%d", r.Task, r.Trial),
		Truth: r.Info.Reward.Info.Hash, Right: right == "1.0" || right == "1" || right == "true",
	}
	for _, a := range r.Info.Task.Actions {
		t.TruthActions = append(t.TruthActions, Call{Tool: a.Name, Args: string(a.Args)})
	}
	var open []Call // calls that wait for their results
	for i, m := range r.Messages {
		if len(open) > 0 && m.Role != "tool" {
			return t, fmt.Errorf("message %d: a call has no result", i)
		}
		switch m.Role {
		case "system":
			t.Instructions = m.Content
		case "user":
			t.Turns = append(t.Turns, Turn{Text: m.Content, After: len(t.Replies)})
		case "assistant":
			reply := Reply{Text: m.Content}
			for _, c := range m.Calls {
				reply.Calls = append(reply.Calls, Call{ID: c.ID, Tool: c.Function.Name, Args: c.Function.Arguments})
			}
			open = reply.Calls
			t.Replies = append(t.Replies, reply)
		case "tool":
			if len(open) == 0 || open[0].ID != m.CallID {
				return t, fmt.Errorf("message %d: a result without its call", i)
			}
			t.Results = append(t.Results, Result{Call: open[0], Reply: len(t.Replies) - 1, Text: m.Content})
			open = open[1:]
		default:
			return t, fmt.Errorf("message %d: role %q", i, m.Role)
		}
	}
	if n := len(t.Turns); n > 0 && t.Turns[n-1].After == len(t.Replies) {
		t.Farewell = t.Turns[n-1].Text
		t.Turns = t.Turns[:n-1]
	} else if n := len(t.Replies); n > 0 && len(t.Replies[n-1].Calls) > 0 {
		t.Replies = append(t.Replies, Reply{Text: closing, Closing: true})
	}
	return t, nil
}
