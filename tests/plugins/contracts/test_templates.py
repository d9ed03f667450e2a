"""The templates keep the contract of templates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from nexus_templates.chat import ChatTemplate
from nexus_templates.qa import Qa
from nexus_templates.rewrite import Rewrite
from nexus_templates.summarize import Summarize

from nexus_core import Template
from nexus_core.testing import TemplateContract


class TestQa(TemplateContract):
    def make(self) -> Template:
        return Qa(language="French", tone="plain", instructions="Be kind.")


class TestChat(TemplateContract):
    def make(self) -> Template:
        return ChatTemplate()


class TestSummarize(TemplateContract):
    def make(self) -> Template:
        return Summarize(words=30)


class TestRewrite(TemplateContract):
    absent: ClassVar[Mapping[str, str]] = {"items": "it rewrites the query before anything is gathered"}

    def make(self) -> Template:
        return Rewrite()
