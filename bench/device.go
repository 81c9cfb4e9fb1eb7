package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// device is the raw device: a file that grows by one write and one flush at a
// time, as a log does.
type device struct {
	f    *os.File
	took []time.Duration
}

func openDevice(dir string) (*device, error) {
	f, err := os.Create(filepath.Join(dir, "raw"))
	if err != nil {
		return nil, err
	}
	return &device{f: f}, nil
}

// write appends b and flushes it.
func (d *device) write(b []byte) error {
	start := time.Now()
	if _, err := d.f.Write(b); err != nil {
		return err
	}
	if err := flush(d.f); err != nil {
		return err
	}
	d.took = append(d.took, time.Since(start))
	return nil
}

func (d *device) close() error { return errors.Join(d.f.Close(), os.Remove(d.f.Name())) }

// rawWrites is how many flushes give the figure of the device.
const rawWrites = 400

// deviceNow measures the raw device for a moment: milliseconds at p50 of writing
// so many bytes.
func deviceNow(dir string, bytes int) (p50 float64, err error) {
	d, err := openDevice(dir)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	b := make([]byte, bytes)
	for range rawWrites {
		if err := d.write(b); err != nil {
			return 0, err
		}
	}
	return millis(at(d.took, 0.5)), nil
}

// at is a quantile of times, which it sorts.
func at(took []time.Duration, q float64) time.Duration {
	slices.Sort(took)
	return quantile(took, q)
}

func millis(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }
