package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"strings"
	"syscall"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/cairn-run/cairn/journal"
)

// pageSize is that of a new database, in bytes. Measured with 200 sessions,
// pages of 1 to 8 KiB give the same rate within the noise of the device.
const pageSize = 4096

// dsn is the data source name of the database file with the settings that every
// connection needs and those given.
func dsn(file string, pragmas ...string) string {
	path := filepath.ToSlash(file)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path // C:/…
	}
	q := url.Values{"_pragma": append([]string{
		fmt.Sprintf("page_size(%d)", pageSize),
		"busy_timeout(5000)", // another process may look into the file
		"journal_mode(WAL)",
		"synchronous(FULL)",
		"fullfsync(1)", // macOS: a flush that reaches the medium
		"checkpoint_fullfsync(1)",
		"wal_autocheckpoint(0)", // the writer does it
		"temp_store(MEMORY)",
		"trusted_schema(0)",
	}, pragmas...)}
	u := url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}
	return u.String()
}

// conn is the connection of the writer. It stands below database/sql, which
// would cost more than the statements do.
type conn struct {
	driver.Conn
	stmts []*stmt
}

func connect(ctx context.Context, name string) (*conn, error) {
	connector, err := sqlite.NewConnector(name)
	if err != nil {
		return nil, err
	}
	c, err := connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c}, nil
}

// close closes the statements and the connection.
func (c *conn) close() error {
	for _, s := range c.stmts {
		_ = s.Close()
	}
	c.stmts = nil
	return c.Close()
}

// stmt is a prepared statement that is used by one goroutine.
type stmt struct {
	driver.Stmt
	args []driver.NamedValue
}

func (c *conn) prepare(text string) (*stmt, error) {
	p, err := c.Prepare(text)
	if err != nil {
		return nil, fmt.Errorf("prepare %q: %w", text, err)
	}
	s := &stmt{Stmt: p}
	c.stmts = append(c.stmts, s)
	return s, nil
}

func (s *stmt) bind(args []driver.Value) []driver.NamedValue {
	s.args = s.args[:0]
	for i, v := range args {
		s.args = append(s.args, driver.NamedValue{Ordinal: i + 1, Value: v})
	}
	return s.args
}

// exec runs the statement and returns the number of rows it changed.
func (s *stmt) exec(args ...driver.Value) (int64, error) {
	r, err := s.result(args)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// insert runs the statement and returns the row number it made.
func (s *stmt) insert(args ...driver.Value) (int64, error) {
	r, err := s.result(args)
	if err != nil {
		return 0, err
	}
	return r.LastInsertId()
}

func (s *stmt) result(args []driver.Value) (driver.Result, error) {
	return s.Stmt.(driver.StmtExecContext).ExecContext(context.Background(), s.bind(args))
}

// each runs the query and calls f for every row, whose values are only valid
// during the call.
func (s *stmt) each(f func(row []driver.Value) error, args ...driver.Value) (err error) {
	rows, err := s.Stmt.(driver.StmtQueryContext).QueryContext(context.Background(), s.bind(args))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	row := make([]driver.Value, len(rows.Columns()))
	for {
		if err := rows.Next(row); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		if err := f(row); err != nil {
			return err
		}
	}
}

// one returns the first row, nil if there is none.
func (s *stmt) one(args ...driver.Value) ([]driver.Value, error) {
	var first []driver.Value
	err := s.each(func(row []driver.Value) error {
		if first == nil {
			first = append(first, row...)
		}
		return nil
	}, args...)
	return first, err
}

// code is the primary result code of an error of SQLite; 0: it is none.
func code(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code() & 0xff
	}
	return 0
}

// isFull says that there is no space. SQLite says so for ENOSPC too.
func isFull(err error) bool { return code(err) == sqlite3.SQLITE_FULL }

// full says of an error of opening that there is no space, if that is it: unlike one
// that is open, a store needs some to begin with, for the index of the WAL.
func full(err error) error {
	noIndex := false
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		noIndex = e.Code() == sqlite3.SQLITE_IOERR_SHMSIZE
	}
	if noIndex || isFull(err) || errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("%w: %w", journal.ErrFull, err)
	}
	return err
}

// isRefusal says that SQLite refused one statement and undid it, with the
// transaction still open.
func isRefusal(err error) bool {
	switch code(err) {
	case sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH:
		return true
	}
	return false
}

// isBusy says that another process holds the database file.
func isBusy(err error) bool {
	c := code(err)
	return c == sqlite3.SQLITE_BUSY || c == sqlite3.SQLITE_LOCKED
}

// isNoTransaction says that there is nothing to roll back.
func isNoTransaction(err error) bool { return code(err) == sqlite3.SQLITE_ERROR }
