module github.com/cairn-run/cairn

go 1.26
