"""Edits by line numbers, as the editor of the recordings did: an edit that brings
new mistakes into a Python file is refused and changes nothing."""

import ast
import builtins
import sys
import warnings


def mistakes(path, text):
    """What a linter would find: the syntax error, or the names nobody defines."""
    if not path.endswith(".py"):
        return []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except SyntaxError as e:
        return [f"- E999 {type(e).__name__}: {e.msg}"]
    known, used = set(dir(builtins)) | {"__file__", "__name__"}, []
    for n in ast.walk(tree):
        if isinstance(n, ast.Name):
            if isinstance(n.ctx, ast.Load):
                used.append(n.id)
            else:
                known.add(n.id)
        elif isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            known.add(n.name)
        elif isinstance(n, ast.arg):
            known.add(n.arg)
        elif isinstance(n, ast.ExceptHandler) and n.name:
            known.add(n.name)
        elif isinstance(n, (ast.Import, ast.ImportFrom)):
            for a in n.names:
                if a.name == "*":
                    return []  # anything may be defined
                known.add((a.asname or a.name).split(".")[0])
    return [f"- F821 undefined name '{u}'" for u in dict.fromkeys(used) if u not in known]


def show(path, text, first, last):
    lines = text.removesuffix("\n").split("\n")
    print(f"[File: {path} ({len(lines)} lines total)]")
    for n in range(max(first, 1), min(last, len(lines)) + 1):
        print(f"{n}:{lines[n - 1]}")


def change(path, make, first, last):
    """Writes make(text) unless it has mistakes that the text had not; shows lines first to last."""
    with open(path, encoding="utf-8") as f:
        old = f.read()
    new = make(old)
    before = mistakes(path, old)
    found = [m for m in mistakes(path, new) if m not in before]
    if found:
        print("Your proposed edit has introduced new syntax error(s).\n\nERRORS:")
        print("\n".join(found))
        print("Your changes have NOT been applied.")
        sys.exit(1)
    with open(path, "w", encoding="utf-8") as f:
        f.write(new)
    show(path, new, first, last)


def edit(path, start, end, body, first=1, last=0):
    """Replaces lines start to end by the lines of body."""

    def make(text):
        lines = text.removesuffix("\n").split("\n")
        lines[start - 1 : end] = body
        return "\n".join(lines) + "\n"

    change(path, make, first, last)


def insert(path, text, first=1, last=0):
    """Adds text at the end."""
    change(path, lambda old: old + text + "\n", first, last)


def replace(path, old, new, first=1, last=0):
    """Replaces the one place where old stands."""

    def make(text):
        if text.count(old) != 1:
            sys.exit(f"the text is there {text.count(old)} times")
        return text.replace(old, new)

    change(path, make, first, last)
