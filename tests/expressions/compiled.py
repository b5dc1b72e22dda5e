"""Compiles one template of a test."""

from __future__ import annotations

from interlock.errors import Problem
from interlock.expressions.environment import Environment, InvalidExpression, Scope
from interlock.expressions.template import Compiler, Escape, Template


def compile_template(
    environment: Environment, value: object, scope: Scope, *, escape: Escape = Escape.NONE, as_text: bool = False
) -> Template:
    """Compile a template in a tree, or with `as_text` in a text.

    Raises:
        InvalidExpression: with every finding.
    """
    problems: list[Problem] = []
    compiler = Compiler(environment, problems, scope)
    template = compiler.text(str(value), escape) if as_text else compiler.tree(value)
    if template is None:
        raise InvalidExpression(problems=tuple(problems))
    return template
