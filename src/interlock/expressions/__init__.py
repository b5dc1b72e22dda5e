"""Expressions: CEL and `{{ }}` templates, compiled once, checked when they are saved, evaluated within a budget.

The doors into this room:

- `environment.Environment` compiles; `check.Checker` compiles a whole automation and collects every finding;
- `context.Context` holds what an expression may read;
- `program.Program` and `template.Template` are the compiled forms; they evaluate cheap expressions directly;
- `evaluate.Evaluator` evaluates any expression, and sends an expensive one to a child process that is killed when it
  exceeds its budget.

Results are plain JSON that is recorded once. An expression is not evaluated again when a run is
replayed, because the order of a map's members differs from one process to the next.
"""
