package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	_ "modernc.org/sqlite" // the driver that opens the agent's database

	"github.com/cairn-run/cairn"
	"github.com/cairn-run/cairn/examples/stage"
)

const task = "Load inbox/orders-2026-11-19.csv into shop.db."

// played is what came of it.
type played struct {
	before, broken, after counts
	rejected              []string // "line: reason"
}

// counts is what is in a database.
type counts struct{ orders, cents, rejected, loads int }

func play(ctx context.Context, s *stage.Stage, example string) (*played, error) {
	if err := s.Agent(filepath.Join(example, "pipeline.md")); err != nil {
		return nil, err
	}
	if err := s.Copy(filepath.Join(example, "load.schema.json")); err != nil {
		return nil, err
	}
	data := filepath.Join(s.Dir(), "shop")
	if err := os.CopyFS(filepath.Join(data, "inbox"), os.DirFS(filepath.Join(example, "inbox"))); err != nil {
		return nil, err
	}
	if err := create(ctx, filepath.Join(data, "shop.db"), filepath.Join(example, "schema.sql")); err != nil {
		return nil, err
	}
	s.Say("An agent loads a day's orders into a database. One row is wrong.")
	if err := s.Cairn(ctx, 0, "run", "pipeline.md", "--once", "--workspace", "shop", "--input", task); err != nil {
		return nil, err
	}
	x, err := s.Session(ctx)
	if err != nil {
		return nil, err
	}
	events, err := s.Events(ctx, x.ID)
	if err != nil {
		return nil, err
	}
	failed, completed := tell(events)

	out := &played{}
	// The database before, after the load that broke, and now.
	out.before, _, err = look(ctx, filepath.Join(data, "shop.db"))
	if err != nil {
		return nil, err
	}
	for at, to := range map[cairn.Seq]*counts{failed: &out.broken, 0: &out.after} {
		db := filepath.Join(s.Dir(), fmt.Sprintf("at-%d.db", at))
		args := []string{"files", "get", "last", "shop.db", "-o", db}
		if at > 0 {
			args = append(args, "--at", fmt.Sprint(at))
		}
		if _, err := s.Output(ctx, args...); err != nil {
			return nil, err
		}
		var rejected []string
		if *to, rejected, err = look(ctx, db); err != nil {
			return nil, err
		}
		if at == 0 {
			out.rejected = rejected
		}
	}

	s.Say("Checked, in the database itself.")
	s.Expect(failed > 0 && out.broken == out.before, "the load that broke left nothing behind: %d orders", out.broken.orders)
	s.Expect(out.after.orders == out.before.orders+11 && out.after.cents == out.before.cents+34204, "11 of 13 rows are loaded, 34204 cents (there are %d orders)", out.after.orders)
	s.Expect(out.after.rejected == 1 && strings.HasPrefix(strings.Join(out.rejected, ""), "11: "), "one row is rejected by name: %s", strings.Join(out.rejected, ""))
	s.Expect(out.after.loads == 1, "the load is recorded once")
	s.Expect(completed, "the run completed; its answer fits the schema")
	return out, s.Checked()
}

// create makes the database that the agent is given.
func create(ctx context.Context, path, schema string) (err error) {
	text, err := os.ReadFile(schema)
	if err != nil {
		return err
	}
	db, err := sql.Open("sqlite", path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	_, err = db.ExecContext(ctx, string(text))
	return err
}

// look counts what is in a database. It is opened read-only and checked.
func look(ctx context.Context, path string) (c counts, rejected []string, err error) {
	db, err := sql.Open("sqlite", "file:"+path+"?mode=ro")
	if err != nil {
		return c, nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var sound string
	if err := db.QueryRowContext(ctx, "PRAGMA integrity_check").Scan(&sound); err != nil || sound != "ok" {
		return c, nil, fmt.Errorf("%s is damaged: %s %w", path, sound, err)
	}
	err = db.QueryRowContext(ctx, `SELECT (SELECT count(*) FROM orders), (SELECT sum(cents) FROM orders),
		(SELECT count(*) FROM rejected), (SELECT count(*) FROM loads)`).Scan(&c.orders, &c.cents, &c.rejected, &c.loads)
	if err != nil {
		return c, nil, err
	}
	rows, err := db.QueryContext(ctx, "SELECT line, reason FROM rejected ORDER BY line")
	if err != nil {
		return c, nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var line int
		var reason string
		if err := rows.Scan(&line, &reason); err != nil {
			return c, nil, err
		}
		rejected = append(rejected, fmt.Sprintf("%d: %s", line, reason))
	}
	return c, rejected, rows.Err()
}

// tell finds the first load that failed, and whether the run completed.
func tell(events []cairn.Event) (failed cairn.Seq, completed bool) {
	loads := map[cairn.EffectID]bool{}
	for _, e := range events {
		switch d := e.Data.(type) {
		case cairn.ToolCallRequested:
			loads[e.Step] = d.Tool == cairn.BuiltinBash && strings.Contains(string(d.Args), "load.py")
		case cairn.ToolCallCompleted:
			if loads[e.Step] && d.Result.IsError && failed == 0 {
				failed = e.Seq
			}
		case cairn.ToolCallFailed:
			if loads[e.Step] && failed == 0 {
				failed = e.Seq
			}
		case cairn.RunCompleted:
			completed = true
		}
	}
	return failed, completed
}
