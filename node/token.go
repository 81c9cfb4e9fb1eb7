package node

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// bearer returns the token of a data directory: the one given, else the stored
// one, else a new one that is stored for its owner alone.
func bearer(dir, given string) (token string, fresh bool, err error) {
	if given != "" {
		return given, false, nil
	}
	path := filepath.Join(dir, tokenFile)
	b, err := os.ReadFile(path)
	if err == nil {
		if token = strings.TrimSpace(string(b)); token == "" {
			return "", false, fmt.Errorf("%s is empty: remove it, and a new token is made", path)
		}
		return token, false, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", false, err
	}
	token = "cairn_" + rand.Text()
	if err := writeSecret(path, token+"\n"); err != nil {
		return "", false, fmt.Errorf("store the token: %w", err)
	}
	return token, true, nil
}

// writeSecret writes a file of mode 0600 as a whole or not at all.
func writeSecret(path, text string) (err error) {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(path + ".new") // the first error is the one to tell
		}
	}()
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
