"""Expressions: CEL and `{{ }}` templates, compiled once, checked when they are saved, evaluated within a budget.

The doors into this room:

- `environment.Environment` compiles; `check.Checker` compiles a whole automation and collects every finding;
- `context.Context` holds what an expression may read;
- `program.Program` and `template.Template` are what comes out, and evaluate on the spot when that is cheap;
- `evaluate.Evaluator` evaluates anything, and sends what might be dear to a child process that is killed when it
  overruns.

Results are values of their own: plain JSON that is recorded once. Nothing here is evaluated again when a run is
replayed, because the order of a map's members differs from one process to the next.
"""
